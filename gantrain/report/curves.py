"""Curves of metrics and scalars, one per group, over steps, real images or training seconds."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from gantrain.metrics.registry import lower_is_better
from gantrain.report.formatting import base_of, direction, named
from gantrain.report.learning_curves import MOST_POINTS, Series, cost_at, learning_curves
from gantrain.report.markup import Section, as_json, render, source
from gantrain.report.run_groups import seed_of
from gantrain.report.run_table import RunTable
from gantrain.report.styles import line_of, short_labels
from gantrain.run_io.run_reader import RunRecord

SCALARS = {
    "loss/discriminator": "discriminator's loss",
    "loss/generator": "generator's loss",
    "D/real": "D(x), on real examples",
    "D/generated": "D(G(z)), on generated examples",
    "log_ratio/real": "log r on real examples",
    "log_ratio/fake": "log r on generated examples",
}
"""Scalars of metrics.jsonl that are drawn if any run has them."""
COSTS = {"images": "cost/images", "seconds": "cost/seconds"}
MOST_SHOWN, SHOWN_OF_MORE = 12, 8
"""Number of groups visible initially; of more groups, the best are visible."""
FEWEST_POINTS, ALL_POINTS = 60, 60_000
"""With hundreds of runs each curve has fewer points, to keep the page small."""


def make_curves(table: RunTable) -> Section | None:
    """One chart of metrics with a menu, and small charts of scalars; None without rows."""
    runs = table.records
    metrics = sorted(table.metrics["metric"].unique(), key=lambda metric: base_of(metric) != table.headline)
    scalars = [name for name in SCALARS if any(run.series(name) for run in runs)]
    if not metrics and not scalars:
        return None
    most = max(FEWEST_POINTS, min(MOST_POINTS, ALL_POINTS // len(runs)))
    grids = _Grids()
    curves = {key: _curves(table, partial(_measured, key=key), grids, most, digits=12) for key in metrics}
    curves |= {name: _curves(table, partial(RunRecord.series, name=name), grids, most, digits=5) for name in scalars}
    labels = short_labels(table.groups)
    best = table.ranking[:SHOWN_OF_MORE]
    shown = set(table.ranking if len(labels) <= MOST_SHOWN else best)
    content = {
        "groups": [
            {"label": labels[k], "place": k, "shown": k in shown, **asdict(line_of(k))} for k in range(len(labels))
        ],
        "titles": {key: _title(key) for key in curves},
        "grids": grids.found,
        "curves": curves,
    }
    html = render(
        "curves.html.j2",
        content=as_json(content),
        metrics=[(key, _title(key)) for key in metrics],
        scalars=scalars,
        legend=[(k, line_of(k), labels[k], table.groups[k].label, k in shown) for k in table.ranking],
        best=best,
        seeds=any(len(group.replicates) > 1 for group in table.groups),
        has_cost={axis: any(run.series(name) for run in runs) for axis, name in COSTS.items()},
        most=most,
    )
    return Section("curves", "Curves", html, source("curves.css"), source("curves.js"))


class _Grids:
    """Grids of steps with the images and seconds at each step; equal grids are stored once."""

    def __init__(self) -> None:
        self.found: list[dict[str, list[float | None]]] = []
        self._places: dict[tuple[Any, ...], int] = {}

    def place(self, runs: Sequence[RunRecord], steps: Sequence[float]) -> int:
        """Index of the grid; images and seconds are means over the runs that reached each step."""
        key = (*(str(run.folder) for run in runs), *steps)
        if key not in self._places:
            grid: dict[str, list[float | None]] = {"steps": [_rounded(step, 7) for step in steps]}
            for axis, name in COSTS.items():
                grid[axis] = _mean_costs([series for run in runs if (series := run.series(name))], steps)
            self._places[key] = len(self.found)
            self.found.append(grid)
        return self._places[key]


def _mean_costs(series: Sequence[Series], steps: Sequence[float]) -> list[float | None]:
    import numpy as np

    if not series:
        return [None] * len(steps)
    costs = np.array([cost_at(one, steps) for one in series])
    reached = np.array([one[-1][0] for one in series])[:, None] >= np.asarray(steps)
    reached |= ~reached.any(axis=0)  # extrapolated from all runs if none reached the step
    return [_rounded(value, 6) for value in np.average(costs, axis=0, weights=reached)]


def _curves(
    table: RunTable, series_of: Callable[[RunRecord], Series], grids: _Grids, most: int, digits: int
) -> list[dict[str, Any]]:
    """For each group with the scalar: mean, standard deviation and count, and the curve of each seed."""
    found = []
    for place, group in enumerate(table.groups):
        having = [(run, series) for run in group.replicates if (series := series_of(run))]
        if not having:
            continue
        mean, own = learning_curves([series for _, series in having], most)
        runs = [
            {
                "seed": seed_of(run),
                "grid": grids.place([run], curve["step"].tolist()),
                "y": [_rounded(value, digits) for value in curve["value"]],
            }
            for (run, _), curve in zip(having, own, strict=True)
        ]
        found.append(
            {
                "group": place,
                "grid": grids.place([run for run, _ in having], mean["step"].tolist()),
                "mean": [_rounded(value, digits) for value in mean["mean"]],
                "std": [_rounded(value, digits) for value in mean["std"]],
                "count": mean["count"].tolist(),
                "runs": runs if len(having) > 1 else [],
            }
        )
    return found


def _measured(run: RunRecord, key: str) -> Series:
    return [(row["step"], row["value"]) for row in run.measured.get(key, ()) if row["value"] is not None]


def _title(key: str) -> str:
    if key in SCALARS:
        return SCALARS[key]
    return named(key) + ("" if lower_is_better(base_of(key)) is None else f", {direction(base_of(key))}")


def _rounded(value: float, digits: int) -> float | None:
    return None if math.isnan(value) else float(f"{value:.{digits}g}")
