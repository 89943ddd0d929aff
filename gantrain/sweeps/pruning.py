"""Stops a run early if its metric falls behind the finished runs of its sweep, by Optuna's percentile rule."""

import logging
import warnings
from pathlib import Path

from gantrain.builders.device import make_device
from gantrain.builders.measuring import measuring_protocol
from gantrain.config import Config, ConfigError
from gantrain.metrics.registry import lower_is_better
from gantrain.run_io.run_folder import JOB
from gantrain.run_io.run_reader import read_run
from gantrain.run_io.status import FINISHED, read_status
from gantrain.sweeps.optimization import best_value, measured_values, result_key, siblings
from gantrain.training.trainer import Prune


def make_pruner(config: Config, folder: Path) -> Prune | None:
    """The function that a run calls after each measurement; None without `sweep.prune`.

    It reads the other folders of the sweep, so it works with every launcher. A run continues while its best value so
    far is among the best `sweep.prune_percentile` percent of the finished runs' values at the same step.

    Raises:
        ConfigError: Optuna is not installed, or metrics are measured only at the end.
    """
    if not config.sweep.prune:
        return None
    try:
        import optuna
    except ImportError:
        raise ConfigError(
            "sweep.prune=true needs Optuna, which is not installed: pip install 'gantrain[optuna]'"
        ) from None
    every = measuring_protocol(config, make_device(config.device)).every
    if every == 0 or every >= config.schedule.steps:
        raise ConfigError(
            f"sweep.prune=true compares runs during training, but metrics.every_steps={config.metrics.every_steps} "
            "measures only at the end: set it to, say, a tenth of schedule.steps"
        )
    key = result_key(config)
    optuna.logging.set_verbosity(logging.WARNING)
    lower = lower_is_better(key.rpartition("_")[0])
    pruner = optuna.pruners.PercentilePruner(
        config.sweep.prune_percentile,
        n_startup_trials=config.sweep.prune_after,
        n_warmup_steps=round(config.sweep.prune_from * config.schedule.steps),
    )
    own: dict[int, float] = {}

    def prune(step: int, metrics: dict[str, float]) -> str | None:
        own.update({**measured_values(read_run(folder), key), step: metrics[key]})
        study = optuna.create_study(direction="minimize" if lower else "maximize", pruner=pruner)
        compared = 0
        for place in siblings(folder):
            status = read_status(place)
            if status is None or status.state != FINISHED or not (place / JOB).is_file():
                continue
            run = read_run(place)
            value = best_value(run, key)
            if value is not None:
                compared += 1
                with warnings.catch_warnings():  # create_trial is marked as experimental in Optuna 2
                    warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
                    trial = optuna.trial.create_trial(value=value, intermediate_values=measured_values(run, key))
                    study.add_trial(trial)
        trial = study.ask()
        for at, value in sorted(own.items()):
            trial.report(value, at)
        if not trial.should_prune():
            return None
        best = min(own.values()) if lower else max(own.values())
        return (
            f"{key}, at best {best:.4g} until step {step}, is not among the best "
            f"{config.sweep.prune_percentile:g} % of the {compared} finished runs there"
        )

    return prune
