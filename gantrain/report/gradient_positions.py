"""Log-ratios of generated samples during training, and the generator's gradient at those values."""

import dataclasses
import inspect
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from gantrain.objectives import Objective, make_objective
from gantrain.run_io.run_reader import RunRecord
from gantrain.theory.slopes import generator_slopes, logits_at

MOMENTS = ("start", "middle", "end")
MEASURED = "generator_weight/mean"


@dataclass(frozen=True, slots=True)
class GradientPosition:
    """Generated samples at one moment of training, over seeds.

    Attributes:
        moment: one of `MOMENTS`.
        steps: for each seed, the step of the row of scalars.
        each: for each seed, the mean over samples of the discriminator's log r, or of v.
        mean: of `each`.
        std: standard deviation over the samples, averaged over seeds; None if it was not logged.
        slope: dL_G/dv of one sample at `mean`.
        measured: mean |dL_G/dv| over a batch from the diagnostics nearest to these steps, within a tenth of the logged
            range, averaged over seeds; None without diagnostics.
    """

    moment: str
    steps: tuple[int, ...]
    each: tuple[float, ...]
    mean: float
    std: float | None
    slope: float
    measured: float | None


def objective_of(config: Mapping[str, Any]) -> Objective:
    """The objective of a flat configuration, without the normalization of the ratio, which differs for each batch.

    Raises:
        ObjectiveError: the pair does not exist.
        TypeError: a key of the pair is missing.
    """
    keys = {key: f"loss.{key}" for key in inspect.signature(make_objective).parameters}
    objective = make_objective(**{key: config[name] for key, name in keys.items() if name in config})
    return dataclasses.replace(objective, normalize_ratio=False)


def slopes_at(objective: Objective, x: Sequence[float]) -> list[float]:
    """dL_G/dv of generated samples at each log r, or at each v if the discriminator estimates no ratio."""
    points = torch.tensor(x, dtype=torch.float64)
    slopes: list[float] = generator_slopes(objective, logits_at(objective, points)).tolist()
    return slopes


def gradient_positions(runs: Sequence[RunRecord], objective: Objective) -> list[GradientPosition]:
    """Positions at the first, middle and last row of scalars of each run; [] if no run logged scalars."""
    name = "log_ratio/fake" if objective.has_log_ratio else "logit/fake"
    logged = [(run, series) for run in runs if (series := run.series(name))]
    found = []
    for place, moment in enumerate(MOMENTS if logged else ()):
        rows = [_nearest(series, series[0][0] + (series[-1][0] - series[0][0]) * place / 2) for _, series in logged]
        stds, weights = [], []
        for (run, series), (step, _) in zip(logged, rows, strict=True):
            stds.append(dict(run.series(f"{name}_std")).get(step))
            at, weight = _nearest(run.series(MEASURED, "diagnostic") or [(-1, math.nan)], step)
            if at >= 0 and abs(at - step) <= (series[-1][0] - series[0][0]) / 10:
                weights.append(weight)
        known = [std for std in stds if std is not None]
        mean = statistics.fmean(value for _, value in rows)
        found.append(
            GradientPosition(
                moment,
                tuple(step for step, _ in rows),
                tuple(value for _, value in rows),
                mean,
                statistics.fmean(known) if known else None,
                slopes_at(objective, [mean])[0],
                statistics.fmean(weights) if weights else None,
            )
        )
    return found


def _nearest(series: Sequence[tuple[int, float]], step: float) -> tuple[int, float]:
    return min(series, key=lambda row: (abs(row[0] - step), row[0]))
