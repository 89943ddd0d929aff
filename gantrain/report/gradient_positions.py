"""Where a run's generated examples stood in training, and what its objective makes of examples that stand there."""

import dataclasses
import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from gantrain.config import ConfigError, LossConfig
from gantrain.objectives import Objective
from gantrain.run_io.run_reader import RunRecord
from gantrain.theory.slopes import generator_slopes, logits_at

MOMENTS = ("start", "middle", "end")
MEASURED = "generator_weight/mean"


@dataclass(frozen=True, slots=True)
class Stand:
    """Generated examples at one moment of training, over seeds.

    Attributes:
        moment: one of `MOMENTS`.
        steps: of each seed, where its row of scalars stands.
        each: of each seed, the mean over the examples of log r as the discriminator estimates it, or of v.
        mean: of `each`.
        std: standard deviation over the examples, its mean over the seeds; None where it was not logged.
        slope: dL_G/dv of one example at `mean`.
        measured: mean of |dL_G/dv| over the generator's examples by the diagnostics nearest to these steps, within
            a tenth of what was logged, over the seeds that have any; None without.
    """

    moment: str
    steps: tuple[int, ...]
    each: tuple[float, ...]
    mean: float
    std: float | None
    slope: float
    measured: float | None


def objective_of(run: RunRecord) -> Objective | None:
    """The pair that a run was trained with; None for one that does not exist.

    The ratio's normalization is left out: it moves log r by a number that every batch has of its own.
    """
    keys = {field.name for field in dataclasses.fields(LossConfig)}
    asked = {key.removeprefix("loss."): value for key, value in run.config.items() if key.startswith("loss.")}
    try:
        objective = LossConfig(**{key: value for key, value in asked.items() if key in keys}).make()
    except (ConfigError, TypeError):
        return None
    return dataclasses.replace(objective, normalize_ratio=False)


def slopes_at(objective: Objective, x: Sequence[float]) -> list[float]:
    """dL_G/dv of generated examples at each log r, or at each v where the discriminator estimates no ratio."""
    points = torch.tensor(x, dtype=torch.float64)
    slopes: list[float] = generator_slopes(objective, logits_at(objective, points)).tolist()
    return slopes


def stands(runs: Sequence[RunRecord], objective: Objective) -> list[Stand]:
    """At the start, the middle and the end of what each run logged; [] where none logged anything."""
    name = "log_ratio/fake" if objective.has_log_ratio else "logit/fake"
    logged = [(run, series) for run in runs if (series := run.series(name))]
    found = []
    for place, moment in enumerate(MOMENTS if logged else ()):
        rows = [_nearest(series, series[0][0] + (series[-1][0] - series[0][0]) * place / 2) for _, series in logged]
        stds = [dict(run.series(f"{name}_std")).get(step) for (run, _), (step, _) in zip(logged, rows, strict=True)]
        known = [std for std in stds if std is not None]
        weights = [
            weight
            for (run, series), (step, _) in zip(logged, rows, strict=True)
            for at, weight in [_nearest(run.series(MEASURED, "diagnostic") or [(-1, math.nan)], step)]
            if at >= 0 and abs(at - step) <= (series[-1][0] - series[0][0]) / 10
        ]
        mean = statistics.fmean(value for _, value in rows)
        found.append(
            Stand(
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
