"""Theory and runs: curves against closed forms, and positions against what the runs logged."""

import json
import math
import re
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from gantrain.report import theory
from gantrain.report.markup import Section
from gantrain.report.run_table import group_runs
from gantrain.report.theory import make_theory
from gantrain.run_io.run_reader import RunRecord
from tests.report.made_records import record


def charts(section: Section) -> dict[str, list[list[dict[str, Any]]]]:
    """The traces of each chart, by the group's label."""
    found: dict[str, list[list[dict[str, Any]]]] = {}
    for panel in section.html.split("<article")[1:]:
        label = re.search(r"<h3>(.*?)</h3>", panel)
        assert label is not None
        starts = [match.end() for match in re.finditer(r'Plotly\.newPlot\(\s*"[^"]+",\s*', panel)]
        found[label[1]] = [json.JSONDecoder().raw_decode(panel, start)[0] for start in starts]
    return found


class Numbers(HTMLParser):
    """The tables' rows by their head, a list a panel."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.rows: list[dict[str, list[str]]] = []
        self._cell: str | None = None
        self._head = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag == "table":
            self.rows.append({})
        self._cell = tag if tag in ("th", "td") else None
        if self._cell == "td":
            self.rows[-1].setdefault(self._head, []).append("")

    def handle_data(self, data: str) -> None:
        if self._cell == "th":
            self._head = data
        elif self._cell == "td":
            self.rows[-1][self._head][-1] += data

    def handle_endtag(self, tag: str) -> None:
        self._cell = None


def curve(traces: list[dict[str, Any]]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """x, weight and sign of the slope, of the lines together; only what is drawn."""
    points = [
        (x, y, {"pushes v up": -1, "pushes v down": 1, "exactly 0": 0}[trace["name"]])
        for trace in traces
        if "name" in trace
        for x, y in zip(trace["x"], trace["y"], strict=True)
        if y is not None
    ]
    x, y, sign = (np.array(column) for column in zip(*sorted(points), strict=True))
    return x, y, sign


def values(words: list[str]) -> list[list[float]]:
    """Mean and standard deviation of each cell; only the mean if no deviation was logged."""
    return [[float(word) for word in cell.split(" ± ")] for cell in words]


def trained(
    gen: str = "alt",
    seed: int = 0,
    fake: tuple[float, ...] = (-0.6, -1.0, -1.5),
    std: float = 0.7,
    measured: dict[int, float] | None = None,
    scalar: str = "log_ratio/fake",
    **config: Any,
) -> RunRecord:
    """A run that logged the mean and deviation of log r (or v) at steps 100, 500 and 1000, and diagnostics."""
    rows = [
        {"step": step, "kind": "train", scalar: value, f"{scalar}_std": std}
        for step, value in zip((100, 500, 1000), fake, strict=True)
    ]
    weights = [{"step": s, "kind": "diagnostic", "generator_weight/mean": w} for s, w in (measured or {}).items()]
    return record(f"{gen}-{seed}", loss__gen=gen, seed=seed, rows=(*rows, *weights), **config)


def section_of(*runs: RunRecord) -> Section:
    section = make_theory(group_runs(runs))
    assert section is not None
    return section


def test_curves_equal_the_closed_forms() -> None:
    section = section_of(*(trained(gen) for gen in ("alt", "minimax", "kl", "rkl")))
    drawn = {label: curve(found[0]) for label, found in charts(section).items()}
    x = drawn["loss.gen=alt"][0]
    assert (x[0], x[-1], len(x)) == (-8, 8, 201)
    sigmoid = 1 / (1 + np.exp(-x))
    slopes = {"alt": sigmoid - 1, "minimax": -sigmoid, "kl": np.exp(x) * (x + 1), "rkl": -np.ones_like(x)}
    for gen, slope in slopes.items():
        _, weight, sign = drawn[f"loss.gen={gen}"]
        zero = np.abs(slope) < 1e-12  # kl's at log r = -1 exactly
        np.testing.assert_allclose(weight[~zero], np.abs(slope[~zero]), rtol=1e-4)
        np.testing.assert_array_equal(sign[~zero], np.sign(slope[~zero]))


def test_positions_are_what_the_run_logged() -> None:
    section = section_of(trained(measured={100: 0.625, 700: 0.5, 990: 0.25}))
    (numbers,) = Numbers(section.html).rows
    assert numbers["step"] == ["100", "500", "1,000"]
    assert values(numbers["log r, generated"]) == [[-0.6, 0.7], [-1, 0.7], [-1.5, 0.7]]
    expected = [1 / (1 + math.exp(-distance)) for distance in (0.6, 1.0, 1.5)]
    np.testing.assert_allclose([float(word) for word in numbers["weight there, by theory"]], expected, rtol=2e-3)
    assert numbers["mean weight, measured"][1] == "–"  # 700 is too far from step 500
    assert values(numbers["mean weight, measured"][::2]) == [[0.625], [0.25]]
    on_curve, measured = next(iter(charts(section).values()))
    marks = [trace for trace in on_curve if "name" not in trace and trace["yaxis"] == "y"]
    assert [trace["x"] for trace in marks] == [[-0.6], [-1.0], [-1.5]]
    np.testing.assert_allclose([trace["y"][0] for trace in marks], expected, rtol=1e-4)
    spans = [trace for trace in on_curve if trace.get("yaxis") == "y2"]
    assert [(trace["y"], trace["x"], trace["error_x"]["array"]) for trace in spans] == [
        (["start"], [-0.6], [0.7]),
        (["middle"], [-1.0], [0.7]),
        (["end"], [-1.5], [0.7]),
    ]
    assert (measured[0]["x"], measured[0]["y"]) == ([100, 700, 990], [0.625, 0.5, 0.25])


def test_seeds_are_averaged_and_marked() -> None:
    runs = [
        trained("kl", seed, fake=(-2.0 - 4 * seed,) * 3, std=1.0 + seed, measured={1000: 0.1 + 0.2 * seed})
        for seed in (0, 1)
    ]
    section = section_of(*runs)
    (numbers,) = Numbers(section.html).rows
    assert values(numbers["log r, generated"]) == [[-4, 1.5]] * 3
    assert float(numbers["weight there, by theory"][2]) == pytest.approx(3 * math.exp(-4), rel=1e-2)
    assert numbers["mean weight, measured"][:2] == ["–", "–"]
    assert float(numbers["mean weight, measured"][2]) == pytest.approx(0.2)
    ((on_curve, measured),) = charts(section).values()
    ticks = [trace["x"] for trace in on_curve if trace.get("marker", {}).get("symbol") == "line-ns"]
    assert ticks == [[-2.0, -6.0]] * 3
    assert [trace["y"] for trace in measured] == [[0.1], [pytest.approx(0.3)]]


def test_vanishing_weights_are_marked() -> None:
    section = section_of(trained("alt"), trained("kl", fake=(-1.0, -1.0, -12.0)))
    panels = section.html.split("<article")[1:]
    marked = [re.findall(r'<td class="n theory-vanishes">([^<]+)</td>', panel) for panel in panels]
    assert marked[0] == []
    # the gradient of r log r is r (log r + 1): 0 at log r = -1, and small at -12
    assert [float(word) for word in marked[1]] == [0, 0, pytest.approx(11 * math.exp(-12), rel=1e-2)]


def test_beyond_the_bound_on_the_ratio_the_weight_is_exactly_0() -> None:
    ((on_curve, *_),) = charts(section_of(trained("kl", loss__max_log_ratio=3.0))).values()
    x, _, sign = curve(on_curve)
    assert set(np.abs(x[sign == 0]).round(2)) == {round(0.08 * k, 2) for k in range(38, 101)}


def test_without_a_ratio_the_curve_is_over_v() -> None:
    section = section_of(trained("hinge_ns", fake=(-0.5,) * 3, scalar="logit/fake", loss__disc="hinge"))
    ((on_curve,),) = charts(section).values()
    x, weight, sign = curve(on_curve)
    np.testing.assert_array_equal(sign[x < 0.99], -1)  # max(0, 1 - v) has slope -1 up to v = 1
    np.testing.assert_array_equal(weight[x < 0.99], 1.0)
    np.testing.assert_array_equal(sign[x > 1.01], 0)
    (numbers,) = Numbers(section.html).rows
    assert values(numbers["v, generated"]) == [[-0.5, 0.7]] * 3
    assert "estimate no ratio" in section.html
    assert "No weight was measured" in section.html


def test_a_normalized_ratio_is_drawn_for_a_mean_of_one() -> None:
    section = section_of(trained("kl", loss__normalize_ratio=True))
    ((on_curve,),) = charts(section).values()
    x, weight, _ = curve(on_curve)
    np.testing.assert_allclose(weight, np.abs(np.exp(x) * (x + 1)), rtol=1e-3, atol=1e-5)
    assert "mean ratio" in section.html


def test_pairs_that_do_not_exist_and_runs_without_rows_have_no_panel(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing = [record("refused", loss__disc="hinge", loss__gen="kl"), record("empty", loss__gen="js")]
    assert make_theory(group_runs(nothing)) is None
    (label,) = charts(section_of(*nothing, trained()))
    assert "loss.gen=alt" in label
    monkeypatch.setattr(theory, "MOST_PANELS", 1)
    section = section_of(trained(), trained("rkl"))
    assert len(charts(section)) == 1
    assert "shows the other 1" in section.html
