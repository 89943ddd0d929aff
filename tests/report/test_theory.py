"""Theory beside the runs: curves against closed forms, and where the runs stood against what they logged."""

import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gantrain.report import theory
from gantrain.report.markup import Section
from gantrain.report.run_table import group_runs
from gantrain.report.theory import make_theory
from gantrain.run_io.run_reader import find_runs, read_run
from tests.written_runs import write_run


def section_of(place: Path) -> Section | None:
    return make_theory(group_runs([read_run(folder) for folder in find_runs([place])]))


def section_at(place: Path) -> Section:
    section = section_of(place)
    assert section is not None
    return section


def pictures(section: Section) -> dict[str, list[list[dict[str, Any]]]]:
    """The traces of each picture, by the run_group's label."""
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
    """Mean and standard deviation of each cell; the mean alone where no other was logged."""
    return [[float(word) for word in cell.split(" ± ")] for cell in words]


def add_rows(run: Path, *rows: dict[str, Any]) -> None:
    with (run / "metrics.jsonl").open("a") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def diagnostics(of_step: dict[int, float]) -> list[dict[str, Any]]:
    return [{"step": step, "kind": "diagnostic", "generator_weight/mean": value} for step, value in of_step.items()]


def test_curves_are_the_closed_forms(tmp_path: Path) -> None:
    for gen in ("alt", "minimax", "kl", "rkl"):
        write_run(tmp_path / gen, f"loss.gen={gen}", steps=100, every=50, grids=0)
    drawn = {label: curve(found[0]) for label, found in pictures(section_at(tmp_path)).items()}
    x = drawn["loss.gen=alt"][0]
    assert (x[0], x[-1], len(x)) == (-8, 8, 201)
    sigmoid = 1 / (1 + np.exp(-x))
    slopes = {"alt": sigmoid - 1, "minimax": -sigmoid, "kl": np.exp(x) * (x + 1), "rkl": -np.ones_like(x)}
    for gen, slope in slopes.items():
        _, weight, sign = drawn[f"loss.gen={gen}"]
        zero = np.abs(slope) < 1e-12  # kl's at log r = -1 exactly
        np.testing.assert_allclose(weight[~zero], np.abs(slope[~zero]), rtol=1e-4)
        np.testing.assert_array_equal(sign[~zero], np.sign(slope[~zero]))


def test_the_run_stands_where_it_logged(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", "loss.gen=alt", steps=1000, every=100, grids=0)
    add_rows(run, *diagnostics({100: 0.625, 700: 0.5, 990: 0.25}))
    section = section_at(tmp_path)
    (numbers,) = Numbers(section.html).rows
    # -0.5 - step / 1000 of the writer, at its first row, the middle one and the last; its deviation is 0.7
    assert numbers["step"] == ["100", "500", "1,000"]
    assert values(numbers["log r, generated"]) == [[-0.6, 0.7], [-1, 0.7], [-1.5, 0.7]]
    expected = [1 / (1 + math.exp(-distance)) for distance in (0.6, 1.0, 1.5)]
    np.testing.assert_allclose([float(word) for word in numbers["weight there, by theory"]], expected, rtol=2e-3)
    assert numbers["mean weight, measured"][1] == "–"  # 700 is no measurement of step 500
    assert values(numbers["mean weight, measured"][::2]) == [[0.625], [0.25]]
    on_curve, measured = next(iter(pictures(section).values()))
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


def test_seeds_are_averaged_and_marked_each(tmp_path: Path) -> None:
    for seed in (0, 1):
        run = write_run(tmp_path / str(seed), "loss.gen=kl", f"seed={seed}", steps=300, every=100, grids=0)
        rows = [json.loads(row) for row in (run / "metrics.jsonl").read_text().splitlines()]
        for row in rows:
            if "log_ratio/fake" in row:
                row |= {"log_ratio/fake": -2.0 - 4 * seed, "log_ratio/fake_std": 1.0 + seed}
        (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        add_rows(run, *diagnostics({300: 0.1 + 0.2 * seed}))
    section = section_at(tmp_path)
    (numbers,) = Numbers(section.html).rows
    assert values(numbers["log r, generated"]) == [[-4, 1.5]] * 3
    assert float(numbers["weight there, by theory"][2]) == pytest.approx(3 * math.exp(-4), rel=1e-2)
    assert numbers["mean weight, measured"][:2] == ["–", "–"]
    assert float(numbers["mean weight, measured"][2]) == pytest.approx(0.2)
    ((on_curve, measured),) = pictures(section).values()
    ticks = [trace["x"] for trace in on_curve if trace.get("marker", {}).get("symbol") == "line-ns"]
    assert ticks == [[-2.0, -6.0]] * 3
    assert [trace["y"] for trace in measured] == [[0.1], [0.3]]


def test_where_the_weight_vanishes_the_numbers_are_marked(tmp_path: Path) -> None:
    for gen in ("alt", "kl"):
        run = write_run(tmp_path / gen, f"loss.gen={gen}", steps=200, every=100, grids=0)
        text = (run / "metrics.jsonl").read_text().replace('"log_ratio/fake": -1.5', '"log_ratio/fake": -12.0')
        (run / "metrics.jsonl").write_text(text)
    panels = section_at(tmp_path).html.split("<article")[1:]
    marked = [re.findall(r'<td class="n theory-vanishes">([^<]+)</td>', panel) for panel in panels]
    assert marked[0] == []
    # r log r pushes by r (log r + 1): by nothing at -1, where the run starts, and hardly at -12
    assert [float(word) for word in marked[1]] == [0, 0, pytest.approx(11 * math.exp(-12), rel=1e-2)]


def test_a_bound_on_the_ratio_leaves_exactly_nothing_beyond(tmp_path: Path) -> None:
    write_run(tmp_path / "0", "loss.gen=kl", "loss.max_log_ratio=3", steps=200, every=100, grids=0)
    ((on_curve, *_),) = pictures(section_at(tmp_path)).values()
    x, _, sign = curve(on_curve)
    assert set(np.abs(x[sign == 0]).round(2)) == {round(0.08 * k, 2) for k in range(38, 101)}


def test_without_a_ratio_the_curve_is_over_v(tmp_path: Path) -> None:
    run = write_run(tmp_path / "0", "loss=hinge", "loss.gen=hinge_ns", steps=200, every=100, grids=0)
    add_rows(run, *({"step": step, "kind": "train", "logit/fake": -0.5} for step in (100, 200)))
    section = section_at(tmp_path)
    ((on_curve,),) = pictures(section).values()
    x, weight, sign = curve(on_curve)
    np.testing.assert_array_equal(sign[x < 0.99], -1)  # the loss max(0, 1 - v) pushes by 1 up to v = 1
    np.testing.assert_array_equal(weight[x < 0.99], 1.0)
    np.testing.assert_array_equal(sign[x > 1.01], 0)
    (numbers,) = Numbers(section.html).rows
    assert values(numbers["v, generated"]) == [[-0.5]] * 3
    assert "estimate no ratio" in section.html
    assert "No weight was measured" in section.html


def test_a_normalized_ratio_stands_for_a_mean_of_one(tmp_path: Path) -> None:
    write_run(tmp_path / "0", "loss.gen=kl", "loss.normalize_ratio=true", steps=200, every=100, grids=0)
    section = section_at(tmp_path)
    ((on_curve,),) = pictures(section).values()
    x, weight, _ = curve(on_curve)
    np.testing.assert_allclose(weight, np.abs(np.exp(x) * (x + 1)), rtol=1e-3, atol=1e-5)
    assert "mean ratio" in section.html


def test_pairs_that_do_not_exist_and_runs_without_rows_have_no_panel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tree = {"loss": {"disc": "hinge", "gen": "kl"}, "seed": 0}
    (tmp_path / "refused").mkdir()
    (tmp_path / "refused" / "job.json").write_text(json.dumps({"job": 0, "overrides": [], "config": tree}))
    assert section_of(tmp_path) is None
    for gen in ("alt", "kl"):
        write_run(tmp_path / gen, f"loss.gen={gen}", steps=20, every=10, grids=0)
    (tmp_path / "kl" / "metrics.jsonl").write_text("")
    (label,) = pictures(section_at(tmp_path))
    assert "loss.gen=alt" in label
    write_run(tmp_path / "rkl", "loss.gen=rkl", steps=20, every=10, grids=0)
    monkeypatch.setattr(theory, "MOST_PANELS", 1)
    section = section_at(tmp_path)
    assert len(pictures(section)) == 1
    assert "shows the other 1" in section.html


def test_a_moved_folder_gives_the_same_numbers(tmp_path: Path) -> None:
    write_run(tmp_path / "here" / "0", steps=20, every=10, grids=0)
    before = pictures(section_at(tmp_path / "here"))
    (tmp_path / "here").rename(tmp_path / "there")
    assert pictures(section_at(tmp_path / "there")) == before
