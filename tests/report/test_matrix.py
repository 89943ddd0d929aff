"""Generators by discriminators: the metrics against those of the runs, and the marks."""

import re
import statistics
from html.parser import HTMLParser
from typing import Any

import pytest

from gantrain.objectives import ObjectiveError, make_objective
from gantrain.report.matrix import make_matrix
from gantrain.report.run_table import group_runs
from gantrain.run_io.run_reader import RunRecord
from tests.report.made_records import record

Cells = dict[tuple[str, str], dict[str, str]]


class Map(HTMLParser):
    """The cells of each map by generator and discriminator: class, title, and text and background of each metric."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.maps: list[Cells] = []
        self.choices: dict[str, list[str]] = {}
        self._cell: dict[str, str] = {}
        self._metric = "words"
        self._menu: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = {key: value or "" for key, value in attributes}
        if tag == "table":
            self.maps.append({})
        elif tag == "td":
            self._cell, self._metric = {"class": given.get("class", ""), "title": given.get("title", "")}, "words"
            if "data-gen" in given:
                self.maps[-1][given["data-gen"], given["data-disc"]] = self._cell
        elif tag == "div" and "data-metric" in given and self._cell:
            self._metric = given["data-metric"]
            self._cell[f"{self._metric} style"] = given.get("style", "")
        elif tag == "select":
            self._menu = self.choices.setdefault(given["id"], [])
        elif tag == "option":
            self._menu.append(given["value"])

    def handle_endtag(self, tag: str) -> None:
        if tag == "td":
            self._cell = {}

    def handle_data(self, data: str) -> None:
        if self._cell and data.strip():
            self._cell[self._metric] = f"{self._cell.get(self._metric, '')} {data.strip()}".strip()


def map_of(*runs: RunRecord) -> Map:
    section = make_matrix(group_runs(runs))
    assert section is not None
    return Map(section.html)


def lightness(style: str) -> float:
    found = re.search(r"rgb\((\d+),(\d+),(\d+)\)", style)
    assert found is not None, style
    return sum(weight * int(part) for weight, part in zip((0.2126, 0.7152, 0.0722), found.groups(), strict=True))


def trained(disc: str = "gan", gen: str = "alt", seed: int = 0, fid: float = 30.0, **more: Any) -> RunRecord:
    """A run whose FID ends at this value, and was 100 lower before; its coverage is 1 - FID / 100."""
    measured = {"fid": {10: fid - 100, 20: fid}, "coverage": {10: 2 - fid / 100, 20: 1 - fid / 100}}
    name = f"{disc}-{gen}-{seed}-{fid}"
    return record(name, loss__disc=disc, loss__gen=gen, seed=seed, measured=measured, **more)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def cells() -> Cells:
    """Two seeds of three pairs, one of a fourth, and a failed run."""
    fids = {("gan", "alt"): (20.0, 23.0), ("gan", "kl"): (60.0, 70.0), ("js", "alt"): (30.0, 31.5)}
    runs = [trained(*pair, seed, fid) for pair, of_pair in fids.items() for seed, fid in enumerate(of_pair)]
    failed = trained("gan", "kl", 2, 999.0, state="failed", reason="step 7: the loss is not finite\nmore")
    found = map_of(*runs, trained("hinge", "linear", 0, 40.0), failed)
    assert found.choices["matrix-metric"] == ["fid best", "fid last", "coverage best", "coverage last"]
    (cells,) = found.maps
    return cells


def test_cells_have_mean_and_deviation_over_the_seeds_that_finished(cells: Cells) -> None:
    assert cells["alt", "gan"]["fid last"] == f"21.5 ± {statistics.stdev([20, 23]):.1f} 2 seeds"
    assert cells["alt", "js"]["fid last"] == f"30.8 ± {statistics.stdev([30, 31.5]):.1f} 2 seeds"
    assert cells["kl", "gan"]["fid last"] == f"65.0 ± {statistics.stdev([60, 70]):.1f} 2 seeds ✕ 1 failed"
    assert cells["kl", "gan"]["title"] == "step 7: the loss is not finite"
    assert cells["linear", "hinge"]["fid last"] == "40 1 seed"
    assert cells["alt", "gan"]["fid best"].startswith("-78.5 ± ")
    mean, std = statistics.fmean([0.8, 0.77]), statistics.stdev([0.8, 0.77])
    assert cells["alt", "gan"]["coverage last"].startswith(f"{mean:.3f} ± {std:.3f}")


def test_darker_is_better_for_both_directions(cells: Cells) -> None:
    best_first = [("alt", "gan"), ("alt", "js"), ("linear", "hinge"), ("kl", "gan")]
    for metric in ("fid last", "coverage last"):
        light = [lightness(cells[pair][f"{metric} style"]) for pair in best_first]
        assert light == sorted(set(light)), metric
    assert "color:#fff" in cells["alt", "gan"]["fid last style"]
    assert "color:#000" in cells["kl", "gan"]["fid last style"]


def test_pairs_that_do_not_exist_have_their_reason_and_others_are_not_run(cells: Cells) -> None:
    assert set(cells) == {(gen, disc) for gen in ("kl", "alt", "linear") for disc in ("gan", "js", "hinge")}
    kinds = {pair: cell["class"].split()[0] for pair, cell in cells.items()}
    assert kinds["kl", "js"] == "matrix-absent"
    assert cells["kl", "js"]["words"] == "not run"
    refused = {pair for pair, kind in kinds.items() if kind == "matrix-refused"}
    assert refused == {("kl", "hinge"), ("alt", "hinge"), ("linear", "gan"), ("linear", "js")}
    for gen, disc in refused:
        with pytest.raises(ObjectiveError) as error:
            make_objective(disc, gen)
        assert cells[gen, disc]["title"] == str(error.value)


def test_auto_is_in_the_row_of_the_objective_it_selects() -> None:
    runs = [trained(gen="auto", fid=10.0), trained(seed=1, fid=14.0), trained(fid=10.0)]
    assert make_matrix(group_runs(runs)) is None
    (found,) = map_of(*runs, trained(gen="kl")).maps
    assert set(found) == {("alt", "gan"), ("kl", "gan")}
    assert found["alt", "gan"]["fid last"] == "12.0 ± 2.8 2 seeds"  # seed 0 counts once


def test_orders_of_alpha_are_separate_pairs() -> None:
    (found,) = map_of(*(trained(gen="alpha", fid=10 * order, loss__alpha_gen=order) for order in (0.3, 3.0))).maps
    assert {pair: cell["fid last"] for pair, cell in found.items()} == {
        ("alpha=0.3", "gan"): "3 1 seed",
        ("alpha=3", "gan"): "30 1 seed",
    }


def test_other_keys_have_a_matrix_per_combination_on_one_scale() -> None:
    runs = [
        trained(gen=gen, fid=base + more, loss__rule=rule)
        for rule, base in (("poole", 10.0), ("exact", 50.0))
        for gen, more in (("kl", 0.0), ("js", 5.0))
    ]
    runs.append(trained(fid=30.0, loss__rule="poole"))
    section = make_matrix(group_runs(runs))
    assert section is not None
    found = Map(section.html)
    assert len(found.choices["matrix-others"]) == len(found.maps) == 2
    of_rule = dict(zip(re.findall(r"<h3>(.*?)</h3>", section.html), found.maps, strict=True))
    assert {pair: cell["fid last"] for pair, cell in of_rule["loss.rule=poole"].items()} == {
        ("kl", "gan"): "10 1 seed",
        ("js", "gan"): "15 1 seed",
        ("alt", "gan"): "30 1 seed",
    }
    assert of_rule["loss.rule=exact"]["kl", "gan"]["fid last"] == "50 1 seed"
    assert "rule='exact'" in of_rule["loss.rule=exact"]["alt", "gan"]["title"]
    light = [lightness(of_rule[f"loss.rule={rule}"]["kl", "gan"]["fid last style"]) for rule in ("poole", "exact")]
    assert light[0] < light[1]


def test_refused_jobs_failed_pairs_and_lost_configurations() -> None:
    refused = record("r", loss__disc="hinge", loss__gen="kl", state="failed", reason="does not work with hinge")
    lost = record("lost", config={}, overrides=("data=nonesuch",), state="failed", reason="it was lost")
    section = make_matrix(group_runs([trained(), trained(gen="kl", state="failed"), refused, lost]))
    assert section is not None
    (found,) = Map(section.html).maps
    assert found["kl", "hinge"]["class"] == "matrix-refused"
    assert found["kl", "gan"]["fid last"] == "✕ failed"
    assert found["kl", "gan"]["fid last style"] == ""
    assert "matrix-trouble" in found["kl", "gan"]["class"]
    assert "it was lost" not in section.html


def test_a_single_pair_has_no_matrix() -> None:
    assert make_matrix(group_runs([trained(model__width=width) for width in (4, 5)])) is None
