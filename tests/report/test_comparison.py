"""Figures of run_groups read over their seeds, what is missing told, and everything held against the first."""

import io
import math

import pytest
from rich.console import Console
from scipy.special import stdtr

from gantrain.config import ConfigError
from gantrain.report.comparison import ComparedFigure, Reading, common_steps, compare_figure, figures_of
from gantrain.report.comparison_notes import notes
from gantrain.report.comparison_table import figure_table, overview, point_words
from gantrain.report.formatting import spread_words
from gantrain.report.run_groups import RunGroup, group_runs
from gantrain.report.significance import Difference
from gantrain.run_io.run_reader import RunRecord
from tests.report.made_records import record


def over_seeds(gen: str, *courses: dict[int, float | None], figure: str = "modes", **more: object) -> list[RunRecord]:
    """A run a course, of seeds from 0."""
    return [
        record(f"{gen}-{seed}", loss__gen=gen, seed=seed, measured={figure: course}, **more)  # type: ignore[arg-type]
        for seed, course in enumerate(courses)
    ]


def text_of(*parts: object) -> str:
    file = io.StringIO()
    Console(file=file, width=200, markup=False, highlight=False).print(*parts, sep="\n")
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines())


ALT = over_seeds("alt", {10: 5.0, 20: 4.0}, {10: 6.0, 20: 6.0}, {10: 1.0, 20: 8.0})
KL = over_seeds("kl", {10: 1.0, 20: 1.0}, {10: 9.0, 20: 2.0}, {10: 3.0, 20: 3.0})


def test_last_and_best_over_the_seeds() -> None:
    figure = compare_figure("modes_ema", group_runs([*ALT, *KL]), "last")
    assert figure.lower_is_better is False
    assert {point: [reading.values for reading in row] for point, row in figure.readings.items()} == {
        "last": [{0: 4.0, 1: 6.0, 2: 8.0}, {0: 1.0, 1: 2.0, 2: 3.0}],
        "best": [{0: 5.0, 1: 6.0, 2: 8.0}, {0: 1.0, 1: 9.0, 2: 3.0}],
    }
    assert figure.readings["best"][1].steps == {0: 10, 1: 10, 2: 10}  # the first of equals, as in training
    last, best = figure.readings["last"][1], figure.readings["best"][1]
    assert last.difference is not None
    assert last.difference.value == pytest.approx(-4)
    # variances 4 and 1: error √(5/3), degrees of freedom (5/3)² / ((4/3)²/2 + (1/3)²/2)
    freedom = 50 / 17
    p = 2 * float(stdtr(freedom, -4 / math.sqrt(5 / 3)))
    assert last.difference.p == pytest.approx(p)
    assert best.difference is not None
    assert best.difference.p is not None
    assert best.difference.p > p
    assert last.p_holm == pytest.approx(2 * p)  # two comparisons are printed: the smaller p counts twice
    assert best.p_holm == pytest.approx(max(best.difference.p, 2 * p))
    assert figure.readings["last"][0].difference is None


def test_the_lower_the_better_where_that_is_so() -> None:
    runs = [
        *over_seeds("alt", {10: 5.0, 20: 7.0}, {10: 6.0, 20: 7.5}, figure="fid"),
        *over_seeds("kl", {10: 2.0, 20: 1.0}, {10: 1.5, 20: 1.5}, figure="fid"),
    ]
    figure = compare_figure("fid_ema", group_runs(runs), "best")
    assert [reading.values for reading in figure.readings["best"]] == [{0: 5.0, 1: 6.0}, {0: 1.0, 1: 1.5}]
    assert list(figure.readings) == ["best"]
    shown = text_of(figure_table(figure, group_runs(runs)))
    assert "lower is better" in shown
    assert " 100%" in shown


def test_a_figure_that_only_describes_has_no_best() -> None:
    runs = [
        *over_seeds("alt", {10: 5.0, 20: 7.0}, figure="train_distance"),
        *over_seeds("kl", {20: 1.0}, figure="train_distance"),
    ]
    for step in ("last", "best"):
        assert list(compare_figure("train_distance_ema", group_runs(runs), step).readings) == ["last"]


def test_a_best_that_is_the_last_is_not_tested_twice() -> None:
    once = [*over_seeds("alt", {20: 5.0}, {20: 6.0}), *over_seeds("kl", {20: 7.0}, {20: 9.0})]
    rising = [*over_seeds("alt", {10: 4.0, 20: 5.0}, {20: 6.0}), *over_seeds("kl", {20: 7.0}, {10: 9.0, 20: 9.0})]
    for runs in (once, rising):
        figure = compare_figure("modes_ema", group_runs(runs), "last")
        assert list(figure.readings) == ["last"]
        reading = figure.readings["last"][1]
        assert reading.difference is not None
        assert reading.p_holm == reading.difference.p
    lost = [*once, record("n", loss__gen="kl", seed=2, measured={"modes": {10: 7.0, 20: None}})]
    assert list(compare_figure("modes_ema", group_runs(lost), "last").readings) == ["last", "best"]


def test_long_labels_give_way_to_values() -> None:
    def names(*runs: RunRecord) -> str:
        return text_of(figure_table(compare_figure("modes_ema", group_runs(runs), "last"), group_runs(runs)))

    runs = [record(loss__gen=gen, loss__rule=rule, measured={"modes": {20: 1.0}}) for gen, rule in (("kl", "exact"),)]
    assert "1 made" in names(*runs)
    longer = record(loss__gen="hellinger", loss__rule="exact, as in the paper", measured={"modes": {20: 1.0}})
    assert "1 kl, exact" in names(*runs, longer)
    assert "loss.rule=" not in names(*runs, longer)


def test_a_step_reads_also_what_did_not_finish() -> None:
    failed = record("f", loss__gen="kl", seed=3, measured={"modes": {10: 2.0}}, state="failed", step=12)
    early = record("e", loss__gen="kl", seed=4, measured={"modes": {}}, state="running", step=9)
    run_groups = group_runs([*ALT, *KL, failed, early])
    reading = compare_figure("modes_ema", run_groups, 10).readings[10][1]
    assert reading.values == {0: 1.0, 1: 9.0, 2: 3.0, 3: 2.0}
    assert reading.missing == {4: "running at step 9"}
    assert common_steps(run_groups, "modes_ema") == [10]
    last = compare_figure("modes_ema", run_groups, "last").readings["last"][1]
    assert last.missing == {3: "failed at step 12", 4: "running at step 9"}


def test_what_is_missing_is_counted_and_said() -> None:
    runs = [
        *ALT,
        *KL,
        record("n", loss__gen="kl", seed=3, measured={"modes": {10: 5.0, 20: None}}),
        record("i", loss__gen="kl", seed=4, measured={"modes": {10: math.inf, 20: math.inf}}),
        record("f", loss__gen="kl", seed=5, state="failed", step=12, reason="the loss is not finite\nmore"),
        record("m", loss__gen="kl", seed=6),
    ]
    run_groups = group_runs(runs)
    figure = compare_figure("modes_ema", run_groups, "last")
    last, best = figure.readings["last"][1], figure.readings["best"][1]
    assert last.values == {0: 1.0, 1: 2.0, 2: 3.0}
    assert last.missing == {3: "not finite", 4: "not finite", 5: "failed at step 12", 6: "not measured"}
    assert best.missing == {4: "not finite", 5: "failed at step 12", 6: "not measured"}
    assert best.values[3] == 5.0
    assert "3 of 7" in text_of(figure_table(figure, run_groups))
    said = "\n".join(notes([figure], run_groups, common_steps(run_groups, "modes_ema")))
    assert "2: 2 of 7 not finite: modes (EMA) (seed 3, 4)" in said
    assert "2: 1 of 7 failed at step 12 (seed 5): the loss is not finite" in said
    assert "2: 1 of 7 not measured: modes (EMA) (seed 6)" in said
    assert "favor a group that loses its worst seeds" in said
    assert "step=" not in said  # the failed one measured nothing: no step would show it


def test_a_step_that_unfinished_runs_reached_is_named() -> None:
    run_groups = group_runs(
        [*ALT, record("r", loss__gen="kl", measured={"modes": {10: 2.0}}, state="running", step=15)]
    )
    figure = compare_figure("modes_ema", run_groups, "last")
    said = "\n".join(notes([figure], run_groups, common_steps(run_groups, "modes_ema")))
    assert "has done so at step 10: step=10 compares those that did not finish as well" in said


def test_a_variant_without_any_value_is_shown() -> None:
    refused = record("r", loss__disc="hinge", loss__gen="kl", state="failed", step=0, reason="gen='kl' does not work")
    run_groups = group_runs([*ALT, refused])
    figure = compare_figure("modes_ema", run_groups, "last")
    reading = figure.readings["last"][1]
    assert (reading.values, reading.difference, reading.spread) == ({}, None, None)
    shown = text_of(figure_table(figure, run_groups))
    assert "0 of 1" in shown
    (backwards, *_) = compare_figure("modes_ema", group_runs([refused, *ALT]), "last").readings["last"][1:]
    assert backwards.difference is None


def test_a_single_seed_is_told_how_to_get_more() -> None:
    run_groups = group_runs([*ALT, KL[0]])
    figure = compare_figure("modes_ema", run_groups, "last")
    reading = figure.readings["last"][1]
    assert reading.difference is not None
    assert (reading.difference.value, reading.difference.p, reading.p_holm) == (-5.0, None, None)
    assert reading.verdict(False) == ""
    assert spread_words(reading.spread) == "1"
    said = "\n".join(notes([figure], run_groups, []))
    assert "No significance can be told of a group with one seed (2): -m seed=0,1,2,3,4" in said
    assert "Welch" not in said


def test_variants_without_spread_are_no_error() -> None:
    runs = [*over_seeds("alt", {20: 1000.0}, {20: 1000.0}), *over_seeds("kl", {20: 1000.0}, {20: 1000.0})]
    run_groups = group_runs(runs)
    figure = compare_figure("modes_ema", run_groups, "last")
    shown = text_of(figure_table(figure, run_groups), *notes([figure], run_groups, [20]))
    assert "1,000 ± 0" in shown
    assert "neither group varies over its seeds there is no test: modes (EMA)" in shown


def test_different_protocols_are_not_compared() -> None:
    kl = over_seeds("kl", {20: 1.0}, {20: 2.0}, protocol={"samples": 100})
    run_groups = group_runs([*ALT, *kl])
    figure = compare_figure("modes_ema", run_groups, "last")
    assert figure.readings == {}
    assert figure.differs == {"samples": {"50": [0], "100": [1]}}
    shown = text_of(figure_table(figure, run_groups), *notes([figure], run_groups, []))
    assert "not compared" in shown
    assert "samples: 50 of 1 loss.gen=alt; 100 of 2 loss.gen=kl" in shown
    assert "Welch" not in shown


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
def test_what_makes_another_protocol(first: dict[str, object], second: dict[str, object], differs: list[str]) -> None:
    runs = [*over_seeds("alt", {20: 1.0}, protocol=first), *over_seeds("kl", {20: 1.0}, protocol=second)]
    assert list(compare_figure("modes_ema", group_runs(runs), "last").differs) == differs


def test_other_data_are_another_protocol() -> None:
    runs = [*over_seeds("alt", {20: 1.0}), *over_seeds("kl", {20: 1.0}, data__name="ring")]
    assert compare_figure("modes_ema", group_runs(runs), "last").differs == {"data.name": {"digits": [0], "ring": [1]}}


def test_seeds_of_one_variant_measured_differently_are_not_averaged() -> None:
    runs = [*ALT[:1], record("other", seed=1, measured={"modes": {20: 1.0}}, protocol={"precision": "tf32"})]
    assert compare_figure("modes_ema", group_runs(runs), "last").differs == {"precision": {"none": [0], "tf32": [0]}}


def test_figures_are_chosen_by_name_with_or_without_their_network() -> None:
    measured = {"fid": {20: 1.0}, "modes": {20: 2.0}}
    run_groups = group_runs([record(measured=measured)])
    assert figures_of(run_groups, None) == ["fid_ema", "modes_ema"]
    assert figures_of(run_groups, ["modes", "fid_ema"]) == ["modes_ema", "fid_ema"]
    with pytest.raises(ConfigError, match=r"figures=kid: no run measured it; choose from \[fid, modes, fid_ema"):
        figures_of(run_groups, ["kid"])
    with pytest.raises(ConfigError, match="none of these runs has measured"):
        figures_of(group_runs([record()]), None)


def test_looks_and_repeats_are_minded() -> None:
    often = over_seeds("kl", {5: 1.0, 10: 2.0, 20: 3.0}, {5: 1.0, 10: 3.0, 20: 3.5})
    again = record("again", seed=2, measured={"modes": {10: 1.0, 20: 8.0}})
    run_groups = group_runs([*ALT, again, *often])
    figure = compare_figure("modes_ema", run_groups, "last")
    assert len(figure.readings["last"][0].values) == 3
    said = "\n".join(notes([figure], run_groups, [10, 20]))
    assert "chosen from 2 to 3 measurements" in said
    assert "1 has 1 run more of seeds that are there already" in said


def test_the_overview_has_a_column_a_variant_and_a_row_where_there_are_many() -> None:
    few = text_of(overview(group_runs([*ALT, *KL])))
    assert "6 runs, 2 groups; 7 keys in common" in few
    assert [line.split() for line in few.splitlines() if "loss.gen" in line] == [["loss.gen", "alt", "kl"]]
    assert any(line.split()[:1] == ["states"] and "3 finished" in line for line in few.splitlines())
    many = text_of(overview(group_runs([record(schedule__steps=steps) for steps in range(1, 9)])))
    assert any(line.split() == ["8", "8", "1", "0", "1", "finished"] for line in many.splitlines())


@pytest.mark.parametrize(
    ("p_holm", "value", "lower", "word"),
    [
        (0.04, 1.0, False, "better"),
        (0.04, 1.0, True, "worse"),
        (0.04, -1.0, True, "better"),
        (0.04, -1.0, None, "lower"),
        (0.06, 1.0, False, "not told apart"),
    ],
)
def test_verdicts(p_holm: float, value: float, lower: bool | None, word: str) -> None:
    difference = Difference(value, (value - 1, value + 1), 0.01, 4.0, 0.5)
    assert Reading({0: 1.0}, {0: 20}, {}, difference, p_holm).verdict(lower) == word


def test_a_point_is_told_with_its_steps() -> None:
    assert point_words("best", [Reading({}, {0: 1500, 1: 500}, {})]) == "best, step 500 to 1,500"


def test_a_variant_is_named_by_its_values_even_in_brackets() -> None:
    runs = [record(data__means=means, seed=0, measured={"modes": {20: 1.0}}) for means in ([[0, 1]], [[1, 0]])]
    run_groups: list[RunGroup] = group_runs(runs)
    figure = ComparedFigure("modes_ema", False, {}, {}, compare_figure("modes_ema", run_groups[:1], "last").readings)
    assert "data.means=[[0,1]]" in text_of(figure_table(figure, run_groups[:1]))
