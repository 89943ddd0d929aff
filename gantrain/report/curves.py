"""Figures and scalars over training, a line a run_group: over steps, real images or training seconds."""

import json
import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from gantrain.metrics.metric import LOWER_IS_BETTER
from gantrain.report.formatting import base_of, direction, named
from gantrain.report.learning_curves import MOST_POINTS, Course, Series, cost_at, courses
from gantrain.report.markup import render, source
from gantrain.report.outcomes import headline
from gantrain.report.run_groups import RunGroup, seed_of
from gantrain.report.section import Section
from gantrain.report.styles import line_of, short_labels
from gantrain.report.table import ranking
from gantrain.run_io.run_reader import RunRecord

SCALARS = {
    "loss/discriminator": "discriminator's loss",
    "loss/generator": "generator's loss",
    "D/real": "D(x), on real examples",
    "D/generated": "D(G(z)), on generated ones",
    "log_ratio/real": "log r on real examples",
    "log_ratio/fake": "log r on generated ones",
}
"""Of metrics.jsonl's rows of kind `train`; those that no run has are left out."""
COSTS = {"images": "cost/images", "seconds": "cost/seconds"}
MOST_SHOWN = 12
"""Groups drawn at first; with more, the best few."""
SHOWN_OF_MORE = 8
FEWEST_POINTS, ALL_POINTS = 60, 60_000
"""Of hundreds of runs each curve has fewer points, so that the page stays small."""


def make_curves(run_groups: list[RunGroup]) -> Section | None:
    """The measured figures in one picture with a menu, the scalars in small ones; None where there are no rows."""
    runs = [run for run_group in run_groups for run in run_group.runs]
    figures = dict.fromkeys(key for run in runs for key in run.measured)
    first = headline(runs)
    figures = dict.fromkeys(sorted(figures, key=lambda key: base_of(key) != first))
    scalars = [name for name in SCALARS if any(run.series(name) for run in runs)]
    if not figures and not scalars:
        return None
    most = max(FEWEST_POINTS, min(MOST_POINTS, ALL_POINTS // len(runs)))
    grids = _Grids()
    of_key: dict[str, list[dict[str, Any]]] = {}
    for key in figures:
        of_key[key] = _curves(run_groups, partial(_measured, key=key), grids, most, digits=12)
    for name in scalars:
        of_key[name] = _curves(run_groups, partial(RunRecord.series, name=name), grids, most, digits=5)
    ranked = ranking(run_groups)
    labels = short_labels(run_groups)
    shown = set(ranked if len(ranked) <= MOST_SHOWN else ranked[:SHOWN_OF_MORE])
    content = {
        "groups": [
            {"label": labels[k], "place": k, "shown": k in shown, **asdict(line_of(k))} for k in range(len(run_groups))
        ],
        "titles": {key: _title(key) for key in of_key},
        "grids": grids.found,
        "curves": of_key,
    }
    html = render(
        "curves.html.j2",
        content=json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c"),
        metrics=[(key, _title(key)) for key in figures],
        scalars=[(name, SCALARS[name]) for name in scalars],
        legend=[(k, line_of(k), labels[k], run_groups[k].label, k in shown) for k in ranked],
        best=ranked[:SHOWN_OF_MORE],
        seeds=any(len(run_group.replicates) > 1 for run_group in run_groups),
        has_cost={axis: any(run.series(name) for run in runs) for axis, name in COSTS.items()},
        most=most,
    )
    return Section("curves", "Curves", html, source("curves.css"), source("curves.js"))


class _Grids:
    """Steps with the images and seconds there, each set once, since a run's scalars share theirs."""

    def __init__(self) -> None:
        self.found: list[dict[str, list[float | None]]] = []
        self._places: dict[tuple[int, ...] | tuple[Any, ...], int] = {}
        self._costs: dict[str, dict[str, Series]] = {}

    def place(self, runs: Sequence[RunRecord], course: Course) -> int:
        """Number of the course's grid; images and seconds are means over the runs that have come that far."""
        key = (*(str(run.folder) for run in runs), *course.steps)
        if key not in self._places:
            grid: dict[str, list[float | None]] = {"steps": [_rounded(step, 7) for step in course.steps]}
            for axis, name in COSTS.items():
                costs = [self._cost(run, name) for run in runs]
                grid[axis] = [_mean_cost(costs, step) for step in course.steps]
            self._places[key] = len(self.found)
            self.found.append(grid)
        return self._places[key]

    def _cost(self, run: RunRecord, name: str) -> Series:
        of_run = self._costs.setdefault(str(run.folder), {})
        if name not in of_run:
            of_run[name] = run.series(name)
        return of_run[name]


def _mean_cost(costs: Sequence[Series], step: float) -> float | None:
    reached = [series for series in costs if series and series[-1][0] >= step] or [series for series in costs if series]
    values = [value for series in reached if (value := cost_at(series, step)) is not None]
    return _rounded(statistics.fmean(values), 6) if values else None


def _curves(
    run_groups: Sequence[RunGroup], of_run: Callable[[RunRecord], Series], grids: _Grids, most: int, digits: int
) -> list[dict[str, Any]]:
    """For each run_group that has the scalar: mean, standard deviation and count, and each seed's own curve."""
    found = []
    for place, run_group in enumerate(run_groups):
        having = [(run, series) for run in run_group.replicates if (series := of_run(run))]
        if not having:
            continue
        mean, own = courses([series for _, series in having], most)
        found.append(
            {
                "group": place,
                "grid": grids.place([run for run, _ in having], mean),
                "mean": [_rounded(value, digits) for value in mean.values],
                "std": [None if std is None else _rounded(std, digits) for std in mean.stds],
                "count": mean.counts,
                "runs": [
                    {
                        "seed": seed_of(run),
                        "grid": grids.place([run], course),
                        "y": [_rounded(value, digits) for value in course.values],
                    }
                    for (run, _), course in zip(having, own, strict=True)
                ]
                if len(having) > 1
                else [],
            }
        )
    return found


def _measured(run: RunRecord, key: str) -> Series:
    rows = run.measured.get(key, ())
    return [(row["step"], row["value"]) for row in rows if row["value"] is not None]


def _title(key: str) -> str:
    if key in SCALARS:
        return SCALARS[key]
    lower = LOWER_IS_BETTER.get(base_of(key))
    return named(key) + ("" if lower is None else f", {direction(lower)}")


def _rounded(value: float, digits: int) -> float:
    return float(f"{value:.{digits}g}")
