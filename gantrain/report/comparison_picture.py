"""A comparison as a picture: sample grids side by side, and the course of the first figure."""

import math
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from PIL import Image

from gantrain.config import printable
from gantrain.report.comparison import BEST, ComparedFigure, Point, value_at
from gantrain.report.comparison_table import numbered
from gantrain.report.formatting import counted, direction, named, number, spread_words
from gantrain.report.learning_curves import courses
from gantrain.report.run_groups import RunGroup, seed_of
from gantrain.run_io.run_reader import RunRecord
from gantrain.theory.lines import BLACK, BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILION

MOST = 16
"""Variants in a picture."""
COLOURS = (BLUE, VERMILION, GREEN, ORANGE, PURPLE, SKY, BLACK, GREY)
STYLES = ("-", (0, (5, 2)))
LEAST_WIDTH, COURSE_INCHES = 9.0, 3.6
LETTERS_AN_INCH, LINE_INCHES, LINES_BELOW = 12, 0.17, 4
MOST_TITLED = 6
"""Variants up to which the legend has their labels; that of more has their numbers, as the table does."""
SINGLE_SEEDS = 4
"""Variants up to which every seed has a line of its own."""
LOG_FROM = 30
"""Largest over smallest value from which the axis is logarithmic."""


def shown_runs(run_groups: Sequence[RunGroup]) -> list[RunRecord | None]:
    """Of each group the run whose grid is shown: of the first seed that all have grids of, else of its own first."""
    with_grids = [{seed_of(run): run for run in run_group.replicates if run.grids} for run_group in run_groups]
    common = set.intersection(*(set(runs) for runs in with_grids if runs)) if any(with_grids) else set()
    return [runs[min(common or runs)] if runs else None for runs in with_grids]


def grid_of(run: RunRecord, point: Point, figure: ComparedFigure | None) -> tuple[int, Path]:
    """The step and the picture of the run's grid at that point of its course, or the last one before it.

    The best point is that of the first figure.
    """
    step = max(run.grids)
    if isinstance(point, int):
        step = point
    elif point == BEST and figure is not None and figure.lower_is_better is not None:
        found = value_at(run, figure.name, BEST, figure.lower_is_better)
        step = step if isinstance(found, str) else found[1]
    at = max((k for k in run.grids if k <= step), default=min(run.grids))
    return at, run.grids[at]


@dataclass(frozen=True, slots=True)
class _Layout:
    """Of the grids, in inches: side by side as many as can be read, wide ones (maps of points) fewer."""

    rows: int
    columns: int
    width: float
    height: float
    letters: int
    """Of a title's line."""


def _layout(run_groups: Sequence[RunGroup], runs: Sequence[RunRecord | None]) -> _Layout:
    shapes = [_pixels(run) for run in runs if run is not None]
    if not shapes:
        return _Layout(0, 0, LEAST_WIDTH, 0.0, 0)
    across = max(wide / high for wide, high in shapes)
    most, inches = (4, 3.4) if across < 1.5 else (2, 6.5)
    columns = min(most, len(runs))
    rows = math.ceil(len(runs) / columns)
    width = max(LEAST_WIDTH, inches * columns)
    letters = round(LETTERS_AN_INCH * width / columns)
    lines = LINES_BELOW + max(len(_title(k, run_group, letters).splitlines()) for k, run_group in enumerate(run_groups))
    height = min(width / columns, 1.3 * inches) / across + lines * LINE_INCHES
    return _Layout(rows, columns, width, rows * height, letters)


def draw(picture: Any, run_groups: Sequence[RunGroup], figure: ComparedFigure | None, point: Point) -> None:
    """Draws at most `MOST` run_groups into a matplotlib Figure of `size_of` inches.

    Args:
        picture: the Figure.
        run_groups: with the baseline first.
        figure: the first one that was compared; None without any.
        point: whose grids are shown: `last`, `best` or a step.
    """
    run_groups = run_groups[:MOST]
    runs = shown_runs(run_groups)
    layout = _layout(run_groups, runs)
    heights = [height for height in (layout.height, COURSE_INCHES * (figure is not None)) if height]
    parts = iter(picture.subfigures(len(heights), 1, height_ratios=heights, squeeze=False)[:, 0])
    if layout.rows:
        axes = next(parts).subplots(layout.rows, layout.columns, squeeze=False).flat
        for k, place in enumerate(axes):
            _clear(place)
            if k < len(run_groups):
                place.set_title(_title(k, run_groups[k], layout.letters), fontsize=9)
                _draw_grid(place, k, runs[k], figure, point)
    if figure is not None:
        _draw_course(next(parts), run_groups, figure)


def size_of(run_groups: Sequence[RunGroup], figure: ComparedFigure | None) -> tuple[float, float] | None:
    """Of the picture in inches; None where there is nothing to show."""
    layout = _layout(run_groups[:MOST], shown_runs(run_groups[:MOST]))
    height = layout.height + COURSE_INCHES * (figure is not None)
    return (layout.width, height) if height else None


def _clear(place: Any) -> None:
    place.set_xticks([])
    place.set_yticks([])
    place.grid(visible=False)
    for edge in place.spines.values():
        edge.set_visible(False)


def _draw_grid(place: Any, k: int, run: RunRecord | None, figure: ComparedFigure | None, point: Point) -> None:
    from matplotlib.image import imread

    if run is None:
        place.text(0.5, 0.5, "no grid", ha="center", va="center", color=GREY)
        return
    step, path = grid_of(run, point, figure)
    try:
        place.imshow(imread(path), interpolation="antialiased")
    except (OSError, SyntaxError):  # a run on its way may be writing it
        place.text(0.5, 0.5, "this grid cannot be read", ha="center", va="center", color=GREY)
    place.set_xlabel(printable("\n".join([f"seed {seed_of(run)}, step {step:,}", *_below(k, run, figure)])), fontsize=9)


def _pixels(run: RunRecord) -> tuple[int, int]:
    """Width and height of its first grid; equal where that cannot be read."""
    try:
        with Image.open(run.grids[min(run.grids)]) as picture:
            return picture.size
    except OSError:
        return 1, 1


def _below(k: int, run: RunRecord, figure: ComparedFigure | None) -> list[str]:
    """The first figure of this run, and over the run_group's seeds."""
    if figure is None:
        return []
    point, readings = next(iter(figure.readings.items()))
    found = value_at(run, figure.name, point, figure.lower_is_better)
    own = found if isinstance(found, str) else f"{number(found[0])} at step {found[1]:,}"
    count = len(readings[k].values)
    of_all = f"{spread_words(readings[k].spread)} over {counted(count, 'seed')}" if count else "no seed has a value"
    return [f"{named(figure.name)}: {own}", of_all]


def _draw_course(part: Any, run_groups: Sequence[RunGroup], figure: ComparedFigure) -> None:
    axes = part.subplots()
    seen: list[float] = []
    spreads, titled = False, len(run_groups) <= MOST_TITLED
    for k, run_group in enumerate(run_groups):
        look = {"color": COLOURS[k % len(COLOURS)], "linestyle": STYLES[k // len(COLOURS) % len(STYLES)]}
        measured = [_course(run, figure.name) for run in run_group.replicates]
        if not any(measured):
            continue
        mean, own = courses(measured)
        steps, means, stds = mean.steps, mean.values, [std or 0.0 for std in mean.stds]
        axes.plot(
            steps, means, linewidth=2, marker=".", label=_title(k, run_group, 26) if titled else numbered(k), **look
        )
        if any(stds):
            spreads = True
            lows = [mean - std for mean, std in zip(means, stds, strict=True)]
            highs = [mean + std for mean, std in zip(means, stds, strict=True)]
            axes.fill_between(steps, lows, highs, color=look["color"], alpha=0.15, linewidth=0)
        if len(run_groups) <= SINGLE_SEEDS and len(own) > 1:
            for course in own:
                axes.plot(course.steps, course.values, linewidth=0.7, alpha=0.6, **look)
        seen += [value for course in own for value in course.values]
    if seen and min(seen) > 0 and max(seen) > LOG_FROM * min(seen):
        axes.set_yscale("log")
    axes.set_xlabel("generator steps")
    axes.set_ylabel(printable(f"{named(figure.name)}\n{direction(figure.lower_is_better)}"))
    lines = ", thin: single seeds" if len(run_groups) <= SINGLE_SEEDS else ""
    axes.set_title(f"mean over seeds{', band: ± 1 standard deviation' + lines if spreads else ''}", fontsize=9)
    axes.legend(
        loc="upper left",
        bbox_to_anchor=(1.01, 1.0),
        frameon=False,
        fontsize=8,
        ncols=1 if titled else 2,
        title=None if titled else "group",
    )


def _course(run: RunRecord, name: str) -> list[tuple[int, float]]:
    return [
        (row["step"], row["value"])
        for row in run.measured.get(name, ())
        if row["value"] is not None and math.isfinite(row["value"])
    ]


def _title(k: int, run_group: RunGroup, width: int) -> str:
    return "\n".join(textwrap.wrap(printable(f"{numbered(k)}  {run_group.label}"), width, break_on_hyphens=False))
