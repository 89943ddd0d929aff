"""Curves over training steps: each run's, and their mean and standard deviation over seeds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

MOST_POINTS = 300
"""Points of a curve; longer ones are averaged over equal ranges of steps."""

Series = Sequence[tuple[int, float]]


def learning_curves(runs: Sequence[Series], most_points: int = MOST_POINTS) -> tuple[pd.DataFrame, list[pd.DataFrame]]:
    """The mean over the runs that have a value at a step, and each run's own curve.

    Returns:
        A frame with step, mean, std (sample standard deviation; NaN for one run) and count; and for each run a frame
        with step and value.
    """
    import pandas as pd

    rows = pd.DataFrame(
        [(k, step, value) for k, series in enumerate(runs) for step, value in series], columns=["run", "step", "value"]
    )
    width = (rows["step"].max() + 1) / most_points if rows["step"].nunique() > most_points else 1
    rows["bin"] = (rows["step"] / width).astype("int64")
    binned = rows.groupby(["run", "bin"])[["step", "value"]].mean()
    by_bin = binned.groupby("bin")
    mean = by_bin["value"].agg(["mean", "std", "count"]).assign(step=by_bin["step"].mean())
    return mean, [binned.loc[k] for k in range(len(runs))]


def cost_at(series: Series, steps: Sequence[float]) -> list[float]:
    """Interpolates a cumulative cost at steps: linear between rows, 0 at step 0, at the mean rate after the last."""
    import numpy as np

    known, costs = np.array([(0, 0.0), *series]).T
    beyond = np.asarray(steps) / known[-1] * costs[-1]
    costs_at: list[float] = np.where(np.asarray(steps) > known[-1], beyond, np.interp(steps, known, costs)).tolist()
    return costs_at
