"""The summary's sentences: which group was best, and whether the difference is significant."""

import html
import re

import pytest
from scipy import stats

from gantrain.report.run_table import group_runs
from gantrain.report.summary import make_summary
from tests.report.made_records import record


def answer(**fids: tuple[float, ...]) -> str:
    """The lead over groups of `loss.gen` with these FIDs, one per seed."""
    runs = [
        record(f"{gen}{seed}", loss__gen=gen, seed=seed, measured={"fid": {20: fid}})
        for gen, of_seeds in fids.items()
        for seed, fid in enumerate(of_seeds)
    ]
    lead = re.search(r'<p class="lead">(.*?)</p>', make_summary(group_runs(runs)).html, re.DOTALL)
    assert lead is not None
    return html.unescape(lead[1])


def test_two_standard_errors_are_not_significant_with_two_seeds() -> None:
    """3 ± 0.8 exceeds two standard errors, but p is 0.06."""
    alt, kl = (30.0, 31.0), (33.2, 34.5)
    gap, error = 33.85 - 30.5, ((0.5 + 1.3**2 / 2) / 2) ** 0.5
    p = stats.ttest_ind(alt, kl, equal_var=False).pvalue
    assert gap > 2 * error
    assert p > 0.05
    assert "it does not differ significantly from kl." in answer(alt=alt, kl=kl)
    assert "corrected" not in answer(alt=alt, kl=kl)


def test_significant_and_insignificant_differences_are_separated() -> None:
    fids = {"alt": (30.0, 31.0, 32.0), "kl": (60.0, 61.0, 63.0), "rkl": (30.5, 31.5, 33.5), "js": (90.0,)}
    assert stats.ttest_ind(fids["alt"], fids["kl"], equal_var=False).pvalue * 2 < 0.05
    assert stats.ttest_ind(fids["alt"], fids["rkl"], equal_var=False).pvalue > 0.05
    said = answer(**fids)
    assert "By Welch's t-test over seeds, p corrected for 2 comparisons (Holm), it is better than kl, and it " in said
    assert "does not differ significantly from rkl; 1 other cannot be tested (too few seeds)." in said


@pytest.mark.parametrize("seeds", [1, 2])
def test_without_seeds_or_variation_nothing_is_tested(seeds: int) -> None:
    said = answer(alt=(30.0,) * seeds, kl=(40.0,) * seeds)
    assert "Differences cannot be tested" in said
    assert "10 above." in said
    assert "Welch" not in said


def test_many_groups_are_counted_and_not_all_named() -> None:
    others = {gen: (60.0, 61.0, 63.0) for gen in ("kl", "rkl", "js", "hellinger", "pearson", "neyman", "jeffreys")}
    said = answer(alt=(30.0, 31.0, 32.0), **others)
    assert "it is better than kl, rkl, js, hellinger, pearson and 2 more." in said


def test_an_unfinished_leader_is_marked() -> None:
    runs = [
        record("a", loss__gen="alt", measured={"fid": {20: 40.0}}),
        record("b", loss__gen="kl", measured={"fid": {10: 30.0}}, state="running", step=10),
    ]
    said = make_summary(group_runs(runs)).html
    assert "loss.gen=kl reached the best FID: 30 (only seed 0, running)." in said
