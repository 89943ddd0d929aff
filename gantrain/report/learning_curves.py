"""Curves over training: each run's, and their mean and standard deviation over seeds."""

import statistics
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass

MOST_POINTS = 300
"""Of a curve; longer ones become means over equal ranges of steps."""

Series = Sequence[tuple[int, float]]


@dataclass(frozen=True, slots=True)
class Course:
    """A curve over steps.

    Attributes:
        steps: where its points stand; the mean of those that were put together.
        values: there.
        stds: sample standard deviations over seeds, None at a step that one seed alone has; [] for one run's curve.
        counts: seeds at each step; [] for one run's curve.
    """

    steps: list[float]
    values: list[float]
    stds: list[float | None]
    counts: list[int]


def courses(runs: Sequence[Series], most_points: int = MOST_POINTS) -> tuple[Course, list[Course]]:
    """The mean over the runs that have a value at a step, and each run's own curve, on the same steps."""
    steps = {step for series in runs for step, _ in series}
    width = (max(steps) + 1) / most_points if len(steps) > most_points else None
    binned = [_binned(series, width) for series in runs]
    bins = sorted({place for of_run in binned for place in of_run})
    points = [[of_run[place] for of_run in binned if place in of_run] for place in bins]
    mean = Course(
        [statistics.fmean(step for step, _ in at) for at in points],
        [statistics.fmean(value for _, value in at) for at in points],
        [statistics.stdev([value for _, value in at]) if len(at) > 1 else None for at in points],
        [len(at) for at in points],
    )
    own = [Course([p[0] for p in of_run.values()], [p[1] for p in of_run.values()], [], []) for of_run in binned]
    return mean, own


def cost_at(series: Series, step: float) -> float | None:
    """A growing scalar at a step, linearly between its rows, from 0 at step 0, and on at the same rate beyond the last.

    None without rows.
    """
    if not series:
        return None
    if step > series[-1][0]:
        return series[-1][1] * step / series[-1][0]
    place = bisect_left(series, step, key=lambda pair: pair[0])
    right_step, right = series[place]
    left_step, left = series[place - 1] if place else (0, 0.0)
    share = (step - left_step) / (right_step - left_step) if right_step > left_step else 1.0
    return left + share * (right - left)


def _binned(series: Series, width: float | None) -> dict[int, tuple[float, float]]:
    """Step and value by bin: each step its own without a width, else means over the bin."""
    if width is None:
        return {step: (float(step), value) for step, value in sorted(series)}
    bins: dict[int, list[tuple[int, float]]] = {}
    for step, value in sorted(series):
        bins.setdefault(int(step / width), []).append((step, value))
    return {
        place: (statistics.fmean(step for step, _ in of_bin), statistics.fmean(value for _, value in of_bin))
        for place, of_bin in bins.items()
    }
