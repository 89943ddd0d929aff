"""The figure that an optimizing sweep reads of each run: its name, which way is better, and its best over the run."""

import math
from pathlib import Path

from gantrain.config import Config, ConfigError
from gantrain.metrics.metric import LOWER_IS_BETTER
from gantrain.run_io.charts import figures_of
from gantrain.run_io.run_reader import RunRecord

FIRST_CHOICES = ("fid", "kl", "modes", "kid")


def objective_of(config: Config) -> str:
    """The figure that `sweep.objective` names.

    Raises:
        ConfigError: these runs do not measure it.
    """
    known = figures_of(config)
    name = config.sweep.objective
    if name == "auto":
        name = next((choice for choice in (*FIRST_CHOICES, *known) if choice in known), name)
    if name not in known:
        listed = f"choose one of [{', '.join(known)}]" if known else "set metrics.names, which is empty"
        raise ConfigError(
            f"sweep.objective={config.sweep.objective!r} is not measured with "
            f"metrics.names={list(config.metric_names)}: {listed}"
        )
    return name


def key_of(config: Config) -> str:
    """The figure with the first network that is measured, as runs call it: `fid_ema`."""
    return f"{objective_of(config)}_{config.metrics.networks[0]}"


def course(run: RunRecord, key: str) -> dict[int, float]:
    """What a run has measured of a figure, by step; what was not finite is left out."""
    rows = run.measured.get(key, [])
    return {row["step"]: row["value"] for row in rows if row["value"] is not None and math.isfinite(row["value"])}


def best_value(run: RunRecord, key: str) -> float | None:
    """The best of a figure over a run, None where it was not measured."""
    values = course(run, key).values()
    if not values:
        return None
    return min(values) if LOWER_IS_BETTER[key.rpartition("_")[0]] else max(values)


def siblings(folder: Path) -> list[Path]:
    """The folders beside a job's in its sweep."""
    return sorted(place for place in folder.parent.iterdir() if place.is_dir() and place != folder)
