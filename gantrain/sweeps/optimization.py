"""The metric that an optimizing sweep reads from each run, and its best value over the run."""

import math
from pathlib import Path

from gantrain.config import Config, ConfigError
from gantrain.metrics.registry import lower_is_better
from gantrain.run_io.run_reader import RunRecord


def objective_of(config: Config) -> str:
    """The metric that `sweep.objective` names.

    Raises:
        ConfigError: the runs do not measure the metric.
    """
    known = config.value_names
    name = config.sweep.objective
    if name == "auto" and known:
        name = known[0]
    if name not in known:
        listed = f"choose one of [{', '.join(known)}]" if known else "set metrics.names, which is empty"
        raise ConfigError(
            f"sweep.objective={config.sweep.objective!r} is not measured with "
            f"metrics.names={list(config.metric_names)}: {listed}"
        )
    return name


def result_key(config: Config) -> str:
    """The metric with the first network that is measured, e.g. `fid_ema`."""
    return f"{objective_of(config)}_{config.metrics.networks[0]}"


def measured_values(run: RunRecord, key: str) -> dict[int, float]:
    """The finite values of a metric by step."""
    rows = run.measured.get(key, [])
    return {row["step"]: row["value"] for row in rows if row["value"] is not None and math.isfinite(row["value"])}


def best_value(run: RunRecord, key: str) -> float | None:
    """The best value of a metric over a run; None if it was not measured."""
    values = measured_values(run, key).values()
    if not values:
        return None
    return min(values) if lower_is_better(key.rpartition("_")[0]) else max(values)


def siblings(folder: Path) -> list[Path]:
    """The other folders of a job's sweep."""
    return sorted(place for place in folder.parent.iterdir() if place.is_dir() and place != folder)
