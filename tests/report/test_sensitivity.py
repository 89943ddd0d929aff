"""The metric against the varied numbers: what is drawn equals what the runs measured."""

import json
import re
from typing import Any

import pytest

from gantrain.report.run_table import group_runs
from gantrain.report.sensitivity import make_sensitivity
from gantrain.run_io.run_reader import RunRecord
from tests.report.made_records import record

RATES = (1e-5, 1e-4, 1e-3)


def runs_of(**changes: Any) -> list[RunRecord]:
    """Two seeds a rate: the FID falls with the rate, and is not at its best at the end."""
    return [
        record(
            f"{rate}-{seed}",
            seed=seed,
            optimizer__lr_g=rate,
            measured={"fid": {10: 10 - 1e4 * rate + seed, 20: 90.0}},
            **changes,
        )
        for rate in RATES
        for seed in range(2)
    ]


def drawn(html: str) -> list[tuple[list[dict[str, Any]], dict[str, Any]]]:
    """Traces and layout of each picture."""
    found = []
    for match in re.finditer(r'Plotly\.newPlot\(\s*"[^"]+",\s*', html):
        traces, end = json.JSONDecoder().raw_decode(html, match.end())
        layout, _ = json.JSONDecoder().raw_decode(html, re.compile(r",\s*").match(html, end).end())  # type: ignore[union-attr]
        found.append((traces, layout))
    return found


def test_points_are_runs_and_lines_join_means() -> None:
    runs = [*runs_of()[:-1], record("p", seed=1, optimizer__lr_g=1e-3, state="pruned", measured={"fid": {10: 7.0}})]
    section = make_sensitivity(group_runs(runs))
    assert section is not None
    ((line, points), layout) = drawn(section.html)[0]
    assert line["x"] == list(RATES)
    assert line["y"] == pytest.approx([10.4, 9.5, 0.0])  # of 1e-3 the seed that finished
    assert list(zip(points["x"], points["y"], strict=True)) == [
        (1e-5, pytest.approx(9.9)),
        (1e-5, pytest.approx(10.9)),
        (1e-4, 9.0),
        (1e-4, 10.0),
        (1e-3, 0.0),
        (1e-3, 7.0),
    ]
    assert points["marker"]["symbol"] == ["circle"] * 5 + ["circle-open"]
    assert points["text"][-1] == "optimizer.lr_g=0.001<br>seed 1, pruned: 7"
    assert (layout["xaxis"]["type"], layout["xaxis"]["title"]["text"]) == ("log", "optimizer.lr_g")
    assert "type" not in layout["yaxis"]  # 0 is there
    assert layout["yaxis"]["title"]["text"] == "best FID"


def test_other_keys_have_a_color_each() -> None:
    section = make_sensitivity(group_runs([*runs_of(loss__gen="alt"), *runs_of(loss__gen="kl")]))
    assert section is not None
    ((traces, _),) = drawn(section.html)
    named = {trace["name"]: trace["x"] for trace in traces if trace["mode"] == "markers"}
    assert named == {name: sorted(RATES * 2) for name in ("loss.gen=alt", "loss.gen=kl")}
    assert len({trace["marker"]["color"] for trace in traces if trace["mode"] == "markers"}) == 2


def test_two_numbers_have_two_charts_without_lines() -> None:
    runs = [
        record(str(k), optimizer__lr_g=rate, model__width=8 * k, measured={"fid": {20: 30.0 + k}})
        for k, rate in enumerate(RATES, start=1)
    ]
    section = make_sensitivity(group_runs(runs))
    assert section is not None
    pictures = drawn(section.html)
    assert [[trace["mode"] for trace in traces] for traces, _ in pictures] == [["markers"], ["markers"]]
    assert [layout["xaxis"].get("type") for _, layout in pictures] == ["log", None]
    assert pictures[1][0][0]["x"] == [8, 16, 24]


@pytest.mark.parametrize(
    "runs",
    [
        runs_of()[:4],  # two values
        [record(str(k), loss__gen=gen, measured={"fid": {20: 3.0}}) for k, gen in enumerate(("alt", "kl", "js"))],
        [record(str(k), schedule__early=k % 2 == 0, measured={"fid": {20: 3.0}}) for k in range(4)],
        [record(str(k), optimizer__lr_g=rate) for k, rate in enumerate(RATES)],  # no metric
        [
            record(str(k), optimizer__lr_g=r, measured={"fid": {20: 3.0}}, protocol={"samples": k})
            for k, r in enumerate(RATES)
        ],
    ],
)
def test_no_section_without_numbers_or_a_comparable_metric(runs: list[RunRecord]) -> None:
    assert make_sensitivity(group_runs(runs)) is None
