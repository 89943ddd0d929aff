"""One job of a sweep, which Hydra's launcher calls with a composed configuration in this process or a worker."""

import gc
import logging
import sys
from pathlib import Path
from typing import Any, cast

import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from gantrain.builders.attempt import Attempt
from gantrain.config import MAY_CHANGE_ON_RESUME, ConfigError, as_word, flatten, from_omegaconf
from gantrain.config.compose import register
from gantrain.errors import FAILED
from gantrain.objectives import ObjectiveError, make_objective
from gantrain.run_io import status as states
from gantrain.run_io.metrics_jsonl import RunFolderError
from gantrain.run_io.run_folder import JOB, REASON, read_content
from gantrain.run_io.run_reader import read_run
from gantrain.run_io.status import Status, mark, read_status
from gantrain.sweeps.gpus import take_a_gpu
from gantrain.sweeps.optimization import best_value, result_key
from gantrain.sweeps.pruning import make_pruner
from gantrain.system.atomic_io import replace_text
from gantrain.system.cuda_graphs import free_workspaces
from gantrain.training.checkpoint import has_checkpoint

ENDED = (states.FINISHED, states.STOPPED, states.PRUNED, states.SKIPPED, states.FAILED)

log = logging.getLogger(__name__)


class Job:
    """Trains one configuration; errors are recorded in the run's folder, and the sweep continues.

    Attributes:
        codes: exit code of each job of this process, in order.
    """

    def __init__(self) -> None:
        """Registers schema and resolvers, which a worker process has not done yet."""
        register()
        self.codes: list[int] = []

    def __reduce__(self) -> tuple[type["Job"], tuple[()]]:
        """A worker process creates its own."""
        return Job, ()

    def __call__(self, composed: DictConfig) -> float | None:
        """Runs the job; returns the metric that an optimizing sweeper reads, None without one."""
        settings = HydraConfig.get()
        folder = Path(settings.runtime.output_dir)
        overrides = [str(word) for word in settings.overrides.task]
        number = int(settings.job.num)
        log.info("job %d: %s", number, settings.job.override_dirname)
        if settings.runtime.choices.get("hydra/launcher") == "joblib":
            take_a_gpu(folder.parent)
        attempt = Attempt(folder, number)
        try:
            value = attempt.record(lambda: _train(attempt, composed, overrides))
            self.codes.append(attempt.code)
            return value
        finally:
            free_memory()


def free_memory() -> None:
    """Frees the memory of a job, so that the next one starts as in a new process."""
    gc.collect()
    if "torch._dynamo" in sys.modules:
        torch._dynamo.reset()  # compiled graphs keep references to their networks
    if torch.cuda.is_initialized():
        free_workspaces()  # workspaces of streams that the next run does not use
        torch.cuda.empty_cache()


def _train(attempt: Attempt, composed: DictConfig, overrides: list[str]) -> float | None:
    """Starts, continues, keeps or skips the job; returns its best value of the sweep's metric."""
    folder = attempt.folder
    started_before = (folder / JOB).is_file()
    if started_before:
        _check_same_job(folder, composed)
        attempt.new = True
        if _is_over(folder, composed):
            return _keep(attempt, composed)
        mark(folder, states.RUNNING)
    else:
        attempt.start(composed)
    try:
        config = from_omegaconf(composed)
    except ConfigError as error:
        if not _is_skipped(composed):
            raise
        log.info("skipped: %s", error)
        replace_text(folder / REASON, f"{error}\n")
        states.write_status(folder, Status(state=states.SKIPPED))
        return None
    if started_before and not has_checkpoint(folder):
        attempt.clear()
    key = result_key(config) if config.metric_names else None
    attempt.train(config, overrides, prune=make_pruner(config, folder), may_be_done=True)
    if key is None:
        return None
    record = read_run(folder)
    value = best_value(record, key)
    mark(folder, record.status.state, value=value)
    return value


def _check_same_job(folder: Path, composed: DictConfig) -> None:
    """Refuses a folder in which a job with other values was started.

    Raises:
        ConfigError: the values differ.
        RunFolderError: its job.json is damaged.
    """
    started = read_content(folder / JOB).get("config")
    if not isinstance(started, dict):
        raise RunFolderError(
            f"{str(folder / JOB)!r} is damaged, so the run cannot be matched to this sweep's job: move the "
            f"folder away to train the job again, or continue only this run with resume={folder}"
        )
    before, now = (
        {key: as_word(value) for key, value in flatten(tree).items() if key not in MAY_CHANGE_ON_RESUME}
        for tree in (started, cast(dict[str, Any], OmegaConf.to_container(composed, resolve=True)))
    )
    differ = [
        f"{key}={before.get(key)}, now {now.get(key)}" for key in {**before, **now} if before.get(key) != now.get(key)
    ]
    if differ:
        raise ConfigError(
            f"{str(folder)!r} contains a run with other values ({'; '.join(differ)}): the sweep's values have changed "
            "since it started; a search needs a seed to be resumed, see hydra.sweeper.sampler.seed"
        )


def _is_over(folder: Path, composed: DictConfig) -> bool:
    """Whether to keep a job that was started earlier unchanged."""
    before = read_status(folder) or Status(state=states.RUNNING)
    longer = before.state == states.FINISHED and composed.schedule.steps > before.steps
    again = before.state in (states.FAILED, states.STOPPED) and composed.sweep.retry
    return before.state in ENDED and not longer and not again


def _keep(attempt: Attempt, composed: DictConfig) -> float | None:
    before = read_status(attempt.folder)
    assert before is not None
    log.info("kept: %s at step %d", before.state, before.step)
    attempt.code = FAILED if before.state in (states.FAILED, states.STOPPED) else 0
    if before.state in (states.FINISHED, states.PRUNED):
        config = from_omegaconf(composed)
        return best_value(read_run(attempt.folder), result_key(config)) if config.metric_names else None
    return None


def _is_skipped(composed: DictConfig) -> bool:
    """Whether the pair of objectives does not exist and `sweep.invalid_pairs` is `skip`."""
    if composed.sweep.invalid_pairs != "skip":
        return False
    try:
        make_objective(**{str(key): value for key, value in composed.loss.items()})
    except ObjectiveError:
        return True
    return False
