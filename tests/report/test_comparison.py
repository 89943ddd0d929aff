"""The comparison in the terminal: values over seeds, what is missing and why, and tests against the first group."""

import io
import math

import pytest
from rich.console import Console
from scipy.special import stdtr

from gantrain.options import ConfigError
from gantrain.report.comparison import (
    Compared,
    Point,
    choose_metrics,
    compare,
    comparison_table,
    differing_protocols,
    notes,
)
from gantrain.report.run_table import group_runs
from gantrain.report.significance import Difference
from gantrain.run_io.run_reader import RunRecord
from tests.report.made_records import record

Course = dict[int, float | None]


def over_seeds(gen: str, *courses: Course, metric: str = "modes", **more: object) -> list[RunRecord]:
    """A run per course, with seeds from 0."""
    return [
        record(f"{gen}-{seed}", loss__gen=gen, seed=seed, measured={metric: course}, **more)  # type: ignore[arg-type]
        for seed, course in enumerate(courses)
    ]


def compared(runs: list[RunRecord], metric: str = "modes_ema", step: Point = "last") -> dict[Point, list[Compared]]:
    """By point, the groups in order."""
    found: dict[Point, list[Compared]] = {}
    for row in compare(group_runs(runs), metric, step):
        found.setdefault(row.point, []).append(row)
    return found


def text_of(runs: list[RunRecord], metric: str = "modes_ema") -> str:
    """What the terminal shows, table and notes."""
    table, file = group_runs(runs), io.StringIO()
    rows = compare(table, metric, "last")
    console = Console(file=file, width=200, markup=False, highlight=False)
    console.print(comparison_table(table, metric, rows), *notes(table, {metric: rows}), sep="\n")
    return file.getvalue()


ALT = over_seeds("alt", {10: 5.0, 20: 4.0}, {10: 6.0, 20: 6.0}, {10: 1.0, 20: 8.0})
KL = over_seeds("kl", {10: 1.0, 20: 1.0}, {10: 9.0, 20: 2.0}, {10: 3.0, 20: 3.0})


def test_last_and_best_are_tested_over_seeds() -> None:
    found = compared([*ALT, *KL])
    assert {point: [row.values for row in rows] for point, rows in found.items()} == {
        "last": [{0: 4.0, 1: 6.0, 2: 8.0}, {0: 1.0, 1: 2.0, 2: 3.0}],
        "best": [{0: 5.0, 1: 6.0, 2: 8.0}, {0: 1.0, 1: 9.0, 2: 3.0}],
    }
    assert found["best"][1].steps == {10}  # the first of equal values, as in training
    last, best = found["last"][1], found["best"][1]
    assert last.difference is not None
    assert best.difference is not None
    assert best.difference.p is not None
    assert last.difference.value == pytest.approx(-4)
    # variances 4 and 1: error √(5/3), degrees of freedom (5/3)² / ((4/3)²/2 + (1/3)²/2)
    p = 2 * float(stdtr(50 / 17, -4 / math.sqrt(5 / 3)))
    assert last.difference.p == pytest.approx(p)
    assert best.difference.p > p
    assert last.p_holm == pytest.approx(2 * p)  # of two comparisons the smaller p is doubled
    assert best.p_holm == pytest.approx(max(best.difference.p, 2 * p))
    assert found["last"][0].difference is None


def test_directions() -> None:
    courses: dict[str, tuple[Course, ...]] = {
        "alt": ({10: 5.0, 20: 7.0}, {10: 6.0, 20: 7.5}),
        "kl": ({10: 2.0, 20: 1.0}, {10: 1.5, 20: 1.5}),
    }
    fids = [run for gen, of_gen in courses.items() for run in over_seeds(gen, *of_gen, metric="fid")]
    found = compared(fids, "fid_ema", "best")
    assert {point: [row.values for row in rows] for point, rows in found.items()} == {
        "best": [{0: 5.0, 1: 6.0}, {0: 1.0, 1: 1.5}]
    }
    shown = text_of(fids, "fid_ema")
    assert "lower is better" in shown
    assert " 100%" in shown
    distances = [run for gen, of_gen in courses.items() for run in over_seeds(gen, *of_gen, metric="train_distance")]
    for step in ("last", "best"):  # this metric has no direction, so no best
        assert list(compared(distances, "train_distance_ema", step)) == ["last"]


def test_a_best_value_equal_to_the_last_is_not_tested_twice() -> None:
    rising = [*over_seeds("alt", {10: 4.0, 20: 5.0}, {20: 6.0}), *over_seeds("kl", {20: 7.0}, {10: 9.0, 20: 9.0})]
    found = compared(rising)
    assert list(found) == ["last"]
    difference = found["last"][1].difference
    assert difference is not None
    assert found["last"][1].p_holm == difference.p
    lost = record("n", loss__gen="kl", seed=2, measured={"modes": {10: 7.0, 20: None}})
    assert list(compared([*rising, lost])) == ["last", "best"]


def test_a_step_compares_unfinished_runs_too() -> None:
    failed = record("f", loss__gen="kl", seed=3, measured={"modes": {10: 2.0}}, state="failed", step=12)
    early = record("e", loss__gen="kl", seed=4, measured={"modes": {}}, state="running", step=9)
    row = compared([*ALT, *KL, failed, early], step=10)[10][1]
    assert row.values == {0: 1.0, 1: 9.0, 2: 3.0, 3: 2.0}
    assert row.missing == {4: "running at step 9"}
    assert compared([*ALT, *KL, failed])["last"][1].missing == {3: "failed at step 12"}


def test_missing_values_are_counted_with_their_reasons() -> None:
    runs = [
        *ALT,
        *KL,
        record("n", loss__gen="kl", seed=3, measured={"modes": {10: 5.0, 20: None}}),
        record("i", loss__gen="kl", seed=4, measured={"modes": {10: None, 20: None}}),
        record("f", loss__gen="kl", seed=5, state="failed", step=12, reason="the loss is not finite\nmore"),
        record("m", loss__gen="kl", seed=6),
    ]
    found = compared(runs)
    assert found["last"][1].values == {0: 1.0, 1: 2.0, 2: 3.0}
    assert found["last"][1].missing == {3: "not finite", 4: "not finite", 5: "failed at step 12", 6: "not measured"}
    assert found["best"][1].missing == {4: "not finite", 5: "failed at step 12", 6: "not measured"}
    assert found["best"][1].values[3] == 5.0
    shown = text_of(runs)
    assert "3 of 7" in shown
    assert "2: 2 of 7 not finite: modes (EMA) (seed 3, 4)" in shown
    assert "2: 1 of 7 failed at step 12 (seed 5): the loss is not finite" in shown
    assert "2: 1 of 7 not measured: modes (EMA) (seed 6)" in shown
    assert "favors groups whose worst seeds are missing" in shown


@pytest.mark.parametrize("order", [1, -1])
def test_a_group_without_values_is_shown_without_a_difference(order: int) -> None:
    refused = record("r", loss__disc="hinge", loss__gen="kl", state="failed", step=0, reason="gen='kl' does not work")
    runs = [*ALT, refused][::order]
    assert [row.difference for row in compared(runs)["last"]] == [None, None]
    assert "0 of 1" in text_of(runs)


def test_without_seeds_or_variation_nothing_is_tested() -> None:
    (_, row) = compared([*ALT, KL[0]])["last"]
    assert row.difference is not None
    assert (row.difference.value, row.difference.p, row.p_holm, row.verdict(False)) == (-5.0, None, None, "")
    shown = text_of([*ALT, KL[0]])
    assert "No significance without several seeds (group 2): -m seed=0,1,2,3,4" in shown
    assert "Welch" not in shown
    constant = [*over_seeds("alt", {20: 1000.0}, {20: 1000.0}), *over_seeds("kl", {20: 1000.0}, {20: 1000.0})]
    assert "1,000 ± 0" in text_of(constant)
    assert "Welch" not in text_of(constant)


@pytest.mark.parametrize(
    ("first", "second", "differs"),
    [
        ({"weights": "a"}, {"weights": "b"}, ["weights"]),
        ({"reference": "cifar10 train"}, {}, ["reference"]),
        ({"weights": "a", "weights_origin": "here"}, {"weights": "a", "weights_origin": "there"}, []),
        ({"real": 0.1, "kid_std": 0.2}, {"real": 0.3, "kid_std": 0.4}, []),
        ({"within": 0.1 + 0.2}, {"within": 0.3}, []),
    ],
)
def test_differences_that_make_another_protocol(
    first: dict[str, object], second: dict[str, object], differs: list[str]
) -> None:
    runs = [*over_seeds("alt", {20: 1.0}, protocol=first), *over_seeds("kl", {20: 1.0}, protocol=second)]
    assert list(differing_protocols(group_runs(runs), "modes_ema")) == differs


def test_different_protocols_are_not_compared() -> None:
    runs = [*ALT, *over_seeds("kl", {20: 1.0}, {20: 2.0}, protocol={"samples": 100})]
    assert compared(runs) == {}
    assert differing_protocols(group_runs(runs), "modes_ema") == {"samples": {"50": [0], "100": [1]}}
    shown = text_of(runs)
    assert "not compared" in shown
    assert "samples: 50 of 1  loss.gen=alt; 100 of 2  loss.gen=kl" in shown
    other_data = [*over_seeds("alt", {20: 1.0}), *over_seeds("kl", {20: 1.0}, data__name="ring")]
    assert differing_protocols(group_runs(other_data), "modes_ema") == {"data.name": {"digits": [0], "ring": [1]}}
    of_one_group = [ALT[0], record("other", seed=1, measured={"modes": {20: 1.0}}, protocol={"precision": "tf32"})]
    assert differing_protocols(group_runs(of_one_group), "modes_ema") == {"precision": {"absent": [0], "tf32": [0]}}


def test_metrics_are_chosen_by_name_with_or_without_their_network() -> None:
    table = group_runs([record(measured={"fid": {20: 1.0}, "modes": {20: 2.0}})])
    assert choose_metrics(table, None) == ["fid_ema"]
    assert choose_metrics(table, ["modes", "fid_ema"]) == ["modes_ema", "fid_ema"]
    assert choose_metrics(table, ["all"]) == ["fid_ema", "modes_ema"]
    with pytest.raises(
        ConfigError, match=r"metrics=kid was not measured by any run; choose from \[fid, modes, fid_ema"
    ):
        choose_metrics(table, ["kid"])
    assert choose_metrics(group_runs([record()]), None) == []


def test_repeated_seeds_and_more_measurements_are_noted() -> None:
    often = over_seeds("kl", {5: 1.0, 10: 2.0, 20: 3.0}, {5: 1.0, 10: 3.0, 20: 3.5})
    again = record("again", seed=2, measured={"modes": {10: 1.0, 20: 8.0}})
    assert len(compared([*ALT, again, *often])["last"][0].values) == 3
    shown = text_of([*ALT, again, *often])
    assert "the best of 2 to 3 measurements" in shown
    assert "1: 1 run with a repeated seed" in shown


@pytest.mark.parametrize(
    ("p_holm", "value", "lower", "word"),
    [
        (0.04, 1.0, False, "better"),
        (0.04, 1.0, True, "worse"),
        (0.04, -1.0, True, "better"),
        (0.04, -1.0, None, "lower"),
        (0.06, 1.0, False, "not significant"),
    ],
)
def test_verdicts(p_holm: float, value: float, lower: bool | None, word: str) -> None:
    difference = Difference(value, (value - 1, value + 1), 0.01, 4.0, 0.5)
    assert Compared(1, "last", {0: 1.0}, {20}, {}, difference, p_holm).verdict(lower) == word
