"""Runs or resumes a sweep, and summarizes its jobs."""

import contextlib
import json
import logging
import os
import shlex
import sys
import time
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig

from gantrain.config import MAY_CHANGE_ON_RESUME, Config, ConfigError, from_omegaconf
from gantrain.config.compose import compose, run_hydra
from gantrain.config.overrides import first_values, key_of, quoted
from gantrain.errors import FAILED
from gantrain.metrics.registry import lower_is_better, value_specs
from gantrain.run_io import status as states
from gantrain.run_io.run_folder import CONFIG, HOLD, LOCK, REASON, SWEEP
from gantrain.run_io.run_reader import BROKEN, state_of
from gantrain.run_io.status import Status, read_status
from gantrain.sweeps.gpus import GPUS, visible_gpus
from gantrain.sweeps.job import Job
from gantrain.sweeps.optimization import objective_of
from gantrain.sweeps.values import check_values, count_jobs
from gantrain.system.atomic_io import UnusableFolderError, replace_text
from gantrain.system.error_messages import describe_error
from gantrain.system.locks import hold_lock
from gantrain.system.logs import log_to_console
from gantrain.system.signals import exit_code

RESUME = "sweep.resume"
ENDED_WELL = (states.FINISHED, states.PRUNED, states.SKIPPED)

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sweep:
    """A planned sweep.

    Attributes:
        folder: parent of its jobs' folders.
        overrides: overrides for Hydra.
        jobs: number of jobs; None if only the sweeper knows it.
        gpus: GPUs shared by its worker processes, as in CUDA_VISIBLE_DEVICES; may be empty.
    """

    folder: Path
    overrides: list[str]
    jobs: int | None
    gpus: list[str]


def run_sweep(words: list[str], overrides: Sequence[Override], composed: DictConfig) -> int:
    """Runs all jobs and prints a summary; returns the exit code.

    Args:
        words: `key=value` arguments of the command line.
        overrides: the same, parsed.
        composed: configuration of the first job, with Hydra's keys.

    Raises:
        GantrainError: bad input; no folder has been created.
    """
    if any(override.key_or_group == "resume" for override in overrides):
        raise ConfigError("resume continues one run and cannot be part of a sweep; leave out --multirun")
    sweep = plan_sweep(words, overrides, composed)
    check_values(overrides, composed)
    job = Job()
    broken = 0
    with locked(sweep, words):
        try:
            run_hydra(["--multirun", *sweep.overrides], job)
        except KeyboardInterrupt as interruption:
            broken = exit_code(interruption)
        except Exception as error:  # raised by a launcher; jobs report their own errors
            found = describe_error(error)
            if found is None:
                traceback.print_exception(error)
            else:
                log.error("%s", found[1])
            broken = found[0] if found else FAILED
        log_to_console()  # the last job's train.log is complete
        code, text = summarize(sweep)
        log.info("\n%s", text)
    return broken or code or FAILED * any(job.codes)


def resumed_words(words: Sequence[str]) -> list[str]:
    """The stored words of the sweep in `sweep.resume`, with this command line's overrides applied.

    Raises:
        ConfigError: the folder contains no sweep, or a word would change the training.
    """
    places = [word for word in words if key_of(word) == RESUME]
    folder = Path(places[-1].partition("=")[2].strip("'\""))
    stored: list[str] = _read_sweep(folder)["words"]
    now = [word for word in words if word not in places and not word.startswith("-")]
    changed = {key_of(word): word for word in now}
    for key, word in changed.items():
        free = key in MAY_CHANGE_ON_RESUME or key.startswith(("hydra.launcher.", "hydra/launcher"))
        if not free and word not in stored:
            raise ConfigError(
                f"{word} cannot be changed on {RESUME}, which continues with the sweep's own values "
                f"({shlex.join(stored)}); may change: hydra/launcher and its keys, {', '.join(MAY_CHANGE_ON_RESUME)}"
            )
    kept = [word for word in stored if key_of(word) not in (*changed, "hydra.sweep.dir")]
    if "hydra/launcher" in changed and changed["hydra/launcher"] not in stored:  # another launcher has other keys
        kept = [word for word in kept if not key_of(word).startswith("hydra.launcher.")]
    place = quoted(str(folder))
    return ["--multirun", *kept, *now, f"hydra.sweep.dir={place}", f"{RESUME}={place}"]


def _read_sweep(folder: Path) -> dict[str, Any]:
    """A sweep's sweep.json: `words`, `jobs` and `starts`.

    Raises:
        ConfigError: it is missing or damaged.
    """
    try:
        content = json.loads((folder / SWEEP).read_text(encoding="utf-8"))
        words = content["words"]
        if not (isinstance(words, list) and all(isinstance(word, str) and word[:1] != "-" for word in words)):
            raise TypeError("words is not a list of key=value")
        if not isinstance(content["starts"], list):
            raise TypeError("starts is not a list")
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise ConfigError(
            f"{RESUME}={str(folder)!r} is not the folder of a sweep: its {SWEEP} cannot be read ({error}); give the "
            "folder that contains the jobs' folders, e.g. outputs/DATE/TIME-sweep; resume=RUN continues a single run"
        ) from None
    return cast(dict[str, Any], content)


def plan_sweep(words: Sequence[str], overrides: Sequence[Override], composed: DictConfig) -> Sweep:
    """The sweep's folder, its number of jobs, and the settings that Hydra needs for it.

    Raises:
        ConfigError: an invalid value, or a metric that an optimizing sweep cannot read.
    """
    hydra = composed.hydra
    resumed = any(key_of(word) == RESUME for word in words)
    words = [word for word in words if key_of(word) != RESUME]
    given = {key_of(word) for word in words}
    params = dict(hydra.sweeper.params or {})
    subdir = next(
        (word.partition("=")[2].strip("'\"") for word in words if key_of(word) == "hydra.sweep.subdir"), "jobs"
    )
    if not subdir or Path(subdir).name != subdir:
        raise ConfigError(
            f"hydra.sweep.subdir={subdir!r} is not directly in the sweep's folder, where resume and reports look for "
            "jobs; leave it out, or use a name without /, e.g. '${hydra.job.num}'"
        )
    folder = Path(str(hydra.sweep.dir))
    settings = [] if "hydra.sweep.dir" in given else [f"hydra.sweep.dir={quoted(str(folder))}"]
    swept = {o.get_key_element() for o in overrides if o.is_sweep_override()} | set(params)
    fixed = [key for key in map(key_of, words) if key not in swept and not key.startswith("hydra")]
    settings.append(f"hydra.job.config.override_dirname.exclude_keys=[{','.join(fixed)}]")
    optimizes = "optuna" in str(hydra.sweeper._target_)
    if optimizes:
        # The metric does not depend on the pair of objectives, and the first pair may not exist.
        config = from_omegaconf(compose([w for w in first_values(overrides) if not key_of(w).startswith("loss")]))
        settings += _optuna_settings(config, hydra.sweeper, given)
    gpus: list[str] = []
    if hydra.runtime.choices["hydra/launcher"] == "joblib":
        device = str(composed.device)
        gpus = visible_gpus() if device in ("auto", "cuda") else []
        if "hydra.launcher.n_jobs" not in given:
            cores = 1 if device.startswith("cuda:") else os.cpu_count() or 1
            settings.append(f"hydra.launcher.n_jobs={len(gpus) or cores}")
    if (folder / CONFIG).is_file():
        raise UnusableFolderError(
            f"hydra.sweep.dir={str(folder)!r} contains a run, which cannot contain others: choose another folder"
        )
    if not resumed and (folder / SWEEP).is_file():
        raise UnusableFolderError(
            f"{str(folder)!r} contains a sweep and will not be overwritten: continue with {RESUME}={folder}, or choose "
            "another folder with hydra.sweep.dir=..."
        )
    if not resumed and folder.is_dir() and any(inside.name not in HOLD for inside in folder.iterdir()):
        raise UnusableFolderError(f"{str(folder)!r} is not empty and will not be overwritten: choose another folder")
    jobs = int(hydra.sweeper.n_trials) if optimizes else count_jobs(overrides, params)
    return Sweep(folder, [*words, *settings], jobs, gpus)


@contextlib.contextmanager
def locked(sweep: Sweep, words: Sequence[str]) -> Iterator[None]:
    """Holds the sweep's lock, writes sweep.json, and sets the workers' GPUs in the environment.

    Raises:
        BusyError: another process runs the sweep.
        UnusableFolderError: the folder cannot be created.
    """
    try:
        sweep.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnusableFolderError(f"hydra.sweep.dir={str(sweep.folder)!r} cannot be created ({error})") from None
    with hold_lock(sweep.folder / LOCK, f"the sweep in {str(sweep.folder)!r}"):
        file = sweep.folder / SWEEP
        content: dict[str, Any] = {"words": [], "jobs": sweep.jobs, "starts": []}
        if file.is_file():
            content = _read_sweep(sweep.folder)
        content["words"] = [
            word for word in words if key_of(word) not in (RESUME, "sweep.retry")
        ]  # they apply to one start only
        content["starts"].append({"time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "command": sys.argv})
        replace_text(file, json.dumps(content, indent=1) + "\n")
        os.environ[GPUS] = ",".join(sweep.gpus)
        yield


def summarize(sweep: Sweep) -> tuple[int, str]:
    """Exit code and text: the number of jobs in each state, and the reasons of failed jobs."""
    found: dict[Path, Status] = {}
    for place in sorted(sweep.folder.iterdir()):
        status = read_status(place) if place.is_dir() else None
        if status is not None:
            found[place] = status
    ends = {place: state_of(status) for place, status in found.items()}
    counts = Counter(ends.values())
    missing = 0 if sweep.jobs is None else max(0, sweep.jobs - len(found))
    by_end = ", ".join(f"{counts[end]} {end}" for end in (*states.STATES, BROKEN) if counts[end])
    lines = [f"{len(found)} of {sweep.jobs or len(found)} jobs: {by_end or 'none started'}"]
    for place, end in ends.items():
        if end not in ENDED_WELL:
            lines.append(f"  {end}: {place}: {_reason(place, found[place])[:300]}")
    if missing or any(end in (BROKEN, states.INTERRUPTED, states.RUNNING) for end in ends.values()):
        again = f"python -m gantrain {RESUME}={shlex.quote(str(sweep.folder))}"
        lines.append(f"  {missing} not started; continue with {again}")
    lines += _best(found)
    lines.append(f"  report       python -m gantrain report {shlex.quote(str(sweep.folder))}")
    lines.append(f"  TensorBoard  tensorboard --logdir {shlex.quote(str(sweep.folder))}")
    failed = missing or any(end not in ENDED_WELL for end in ends.values())
    return (FAILED if failed else 0), "\n".join(lines)


def _reason(folder: Path, status: Status) -> str:
    """The last line of a job's error.txt, or the step that it reached."""
    with contextlib.suppress(OSError):
        lines = (folder / REASON).read_text(encoding="utf-8", errors="replace").strip().splitlines()
        if lines:
            return lines[-1]
    return f"at step {status.step} of {status.steps}"


def _best(found: dict[Path, Status]) -> list[str]:
    """The best of the finished jobs by the metric that selects checkpoints; [] if that differs between jobs."""
    best = {place: status.best for place, status in found.items() if status.state == states.FINISHED and status.best}
    names = {reached["name"] for reached in best.values()}
    if len(names) != 1 or len(best) < 2 or not names <= set(value_specs()):
        return []
    sign = 1 if lower_is_better(names.pop()) else -1
    place, reached = min(best.items(), key=lambda item: sign * item[1]["value"])
    return [f"  best         {place.name}: {reached['headline']} {reached['value']:.5g} at step {reached['step']}"]


def _optuna_settings(config: Config, sweeper: Any, given: set[str]) -> list[str]:
    """Optuna's settings that follow from the metric, unless given."""
    name = objective_of(config)
    right = "minimize" if lower_is_better(name) else "maximize"
    direction = str(sweeper.direction).rpartition(".")[2]
    settings = []
    if "hydra.sweeper.direction" not in given:
        settings.append(f"hydra.sweeper.direction={right}")
    elif direction != right:
        raise ConfigError(f"hydra.sweeper.direction={direction} is wrong for sweep.objective={name}; use {right}")
    if "seed" in sweeper.sampler and sweeper.sampler.seed is None:
        settings.append(f"hydra.sweeper.sampler.seed={config.seed}")  # the same trials when the sweep is resumed
    if "hydra.sweeper.max_failure_rate" not in given:
        settings.append("hydra.sweeper.max_failure_rate=1.0")  # failed runs do not end the search
    return settings
