"""A whole sweep: where it lies, what it was asked, how it is taken up again, and what came of its jobs."""

import contextlib
import json
import os
import shlex
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from hydra.core.override_parser.types import Override

from gantrain.atomic_io import UnusableFolderError, replace_text
from gantrain.cli import (
    MULTIRUN_FLAGS,
    compose_config,
    compose_with_hydra,
    count_values,
    first_values,
    parse_overrides,
    quoted,
    refuse_too_many,
)
from gantrain.config import MAY_CHANGE_ON_RESUME, Config, ConfigError, from_omegaconf
from gantrain.errors import FAILED
from gantrain.locks import hold_lock
from gantrain.metrics.metric import LOWER_IS_BETTER
from gantrain.run_io import status as states
from gantrain.run_io.run_folder import CONFIG, LOCK, REASON, SWEEP
from gantrain.run_io.run_reader import BROKEN, state_of
from gantrain.run_io.status import Status, read_status
from gantrain.sweeps.gpus import GPUS, visible_gpus
from gantrain.sweeps.optimization import objective_of

RESUME = "sweep.resume"


@dataclass(frozen=True, slots=True)
class Sweep:
    """A sweep about to start.

    Attributes:
        folder: where its jobs' folders will lie.
        words: for Hydra.
        jobs: how many there will be; None where the sweeper alone knows.
        gpus: what its worker processes share out, as CUDA_VISIBLE_DEVICES names them; [] where they take none.
    """

    folder: Path
    words: list[str]
    jobs: int | None
    gpus: list[str]


def taken_up(words: list[str]) -> list[str]:
    """The words of the sweep that `sweep.resume=DIR` names, with those given now in place of its own; or `words`.

    Raises:
        ConfigError: no sweep lies there, or a word would change what is trained.
    """
    places = [word for word in words if word.startswith(f"{RESUME}=")]
    if not places:
        return words
    folder = Path(places[-1].partition("=")[2].strip("'\""))
    stored: list[str] = _stored(folder)["words"]
    flags = [word for word in stored if word.startswith("-")]
    if flags:
        raise ConfigError(
            f"{str(folder / SWEEP)!r} holds {flags[0][:80]!r}, and a sweep's words are key=value alone: take it out of "
            "the file, or begin the sweep anew in another folder"
        )
    now = [word for word in words if word not in places and word not in MULTIRUN_FLAGS]
    changed = {_key(word): word for word in now}
    for key, word in changed.items():
        free = key in MAY_CHANGE_ON_RESUME or key.startswith(("hydra.launcher.", "hydra/launcher"))
        if not free and word not in stored:
            raise ConfigError(
                f"{word} cannot be changed on {RESUME}, which goes on with the sweep's own words "
                f"({shlex.join(stored)}); may change: hydra/launcher and its keys, {', '.join(MAY_CHANGE_ON_RESUME)}"
            )
    kept = [word for word in stored if _key(word) not in (*changed, "hydra.sweep.dir")]
    if "hydra/launcher" in changed and changed["hydra/launcher"] not in stored:  # another one has other keys
        kept = [word for word in kept if not _key(word).startswith("hydra.launcher.")]
    return ["--multirun", *kept, *now, f"hydra.sweep.dir={quoted(str(folder))}", f"{RESUME}={quoted(str(folder))}"]


def _stored(folder: Path) -> dict[str, Any]:
    """A sweep's sweep.json: its words, the number of its jobs and its starts.

    Raises:
        ConfigError: it is not there, or something else.
    """
    try:
        content = json.loads((folder / SWEEP).read_text(encoding="utf-8"))
        if not (isinstance(content["words"], list) and all(isinstance(word, str) for word in content["words"])):
            raise TypeError("its words are no list of words")
        if not isinstance(content["starts"], list):
            raise TypeError("its starts are no list")
    except (OSError, ValueError, LookupError, TypeError, RecursionError) as error:
        raise ConfigError(
            f"{RESUME}={str(folder)!r} is no sweep's folder: {SWEEP} cannot be read there ({error}); give the folder "
            "that holds the jobs' folders, e.g. outputs/DATE/TIME-sweep; one run goes on with resume=RUN"
        ) from None
    return cast(dict[str, Any], content)


def is_sweep(words: list[str]) -> bool:
    """Whether these words ask for one, by a flag or by an experiment that is one."""
    if any(word in MULTIRUN_FLAGS for word in words):
        return True
    experiments = [word for word in words if _key(word) == "experiment"]
    if not experiments or any(word.startswith("-") for word in words):
        return False
    try:
        return str(compose_with_hydra(first_values(experiments)).hydra.mode).endswith("MULTIRUN")
    except ConfigError:
        return False  # the check of the whole command line says what is wrong


def prepare(words: list[str]) -> Sweep:
    """What Hydra is told for a sweep.

    Raises:
        ConfigError: a value that no job could have, or a figure that an optimizing sweep cannot read.
    """
    resumed = any(word.startswith(f"{RESUME}=") for word in words)
    words = [word for word in words if word not in MULTIRUN_FLAGS and not word.startswith(f"{RESUME}=")]
    overrides = parse_overrides(words)
    composed = compose_with_hydra(first_values(words))
    hydra = composed.hydra
    launcher = str(hydra.runtime.choices["hydra/launcher"])
    given = {_key(word) for word in words}
    params = dict(hydra.sweeper.params or {})
    subdir = next((word.partition("=")[2].strip("'\"") for word in words if _key(word) == "hydra.sweep.subdir"), "jobs")
    if not subdir or Path(subdir).name != subdir:
        raise ConfigError(
            f"hydra.sweep.subdir={subdir!r} is no folder directly in the sweep's, where resume and reports look for "
            "jobs; leave it out, or write it without /, e.g. '${hydra.job.num}'"
        )
    told = list(words)
    if "hydra.sweep.dir" not in given:
        told.append(f"hydra.sweep.dir={quoted(str(hydra.sweep.dir))}")
    swept = {o.get_key_element() for o in overrides if o.is_sweep_override()} | set(params)
    fixed = [_key(word) for word in words if _key(word) not in swept and not _key(word).startswith("hydra")]
    told.append(f"hydra.job.config.override_dirname.exclude_keys=[{','.join(fixed)}]")
    optimizes = "optuna" in str(hydra.sweeper._target_)
    if optimizes:  # which figure does not depend on the pair, and the first one may not exist
        config = from_omegaconf(compose_config(first_values([w for w in words if not _key(w).startswith("loss")])))
        told += _for_optuna(config, hydra.sweeper, given)
    device = str(composed.device)
    gpus = visible_gpus() if launcher == "joblib" and device in ("auto", "cuda") else []
    if launcher == "joblib" and "hydra.launcher.n_jobs" not in given:
        cores = 1 if device.startswith("cuda:") else os.cpu_count() or 1
        told.append(f"hydra.launcher.n_jobs={len(gpus) or cores}")
    folder = Path(str(hydra.sweep.dir))
    if (folder / CONFIG).is_file():
        raise UnusableFolderError(
            f"hydra.sweep.dir={str(folder)!r} holds a run, and a run's folder holds no others: choose another folder"
        )
    if not resumed and (folder / SWEEP).is_file():
        raise UnusableFolderError(
            f"{str(folder)!r} holds a sweep, and nothing is overwritten: go on with it by {RESUME}={folder}, or choose "
            "another folder with hydra.sweep.dir=..."
        )
    jobs = int(hydra.sweeper.n_trials) if optimizes else _count(overrides, params)
    return Sweep(folder, told, jobs, gpus)


@contextlib.contextmanager
def under_way(sweep: Sweep, words: list[str]) -> Iterator[None]:
    """Writes down what was asked, keeps a second process out of the sweep, and gives workers their GPUs.

    Raises:
        BusyError: the sweep is under way already.
        UnusableFolderError: its folder cannot be made.
    """
    try:
        sweep.folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnusableFolderError(f"hydra.sweep.dir={str(sweep.folder)!r} cannot be made ({error})") from None
    with hold_lock(sweep.folder / LOCK, f"the sweep in {str(sweep.folder)!r}"):
        file = sweep.folder / SWEEP
        content: dict[str, Any] = {"words": [], "jobs": sweep.jobs, "starts": []}
        if file.is_file():
            content = _stored(sweep.folder)
        passing = (RESUME, "sweep.retry", *MULTIRUN_FLAGS)  # what was said for one start alone
        content["words"] = [word for word in words if _key(word) not in passing]
        content["starts"].append({"time": time.strftime("%Y-%m-%dT%H:%M:%S%z"), "command": sys.argv})
        replace_text(file, json.dumps(content, indent=1) + "\n")
        os.environ[GPUS] = ",".join(sweep.gpus)
        yield


def summary(sweep: Sweep) -> tuple[int, str]:
    """Exit code and words: how many jobs came to what end, and of those that failed which and why."""
    found: dict[Path, Status] = {}
    for place in sorted(sweep.folder.iterdir()):
        status = read_status(place) if place.is_dir() else None
        if status is not None:
            found[place] = status
    ends = {place: state_of(status) for place, status in found.items()}
    counts = Counter(ends.values())
    missing = 0 if sweep.jobs is None else sweep.jobs - len(found)
    done = counts[states.FINISHED] + counts[states.PRUNED] + counts[states.SKIPPED]
    words = ", ".join(f"{counts[end]} {end}" for end in (*states.STATES, BROKEN) if counts[end])
    lines = [f"\n{len(found)} of {sweep.jobs or len(found)} jobs: {words or 'none begun'}"]
    for place, end in ends.items():
        if end not in (states.FINISHED, states.PRUNED, states.SKIPPED):
            reason = (
                (place / REASON).read_text(encoding="utf-8", errors="replace") if (place / REASON).is_file() else ""
            )
            last = reason.strip().splitlines()[-1:] or [f"at step {found[place].step} of {found[place].steps}"]
            lines.append(f"  {end}: {place}: {last[0][:300]}")
    unfinished = missing > 0 or any(end in (BROKEN, states.INTERRUPTED, states.RUNNING) for end in ends.values())
    if unfinished:
        again = f"python -m gantrain {RESUME}={shlex.quote(str(sweep.folder))}"
        lines.append(f"  {max(missing, 0)} not begun; go on with {again}")
    lines += _best(found)
    lines.append(f"  report       python -m gantrain report {shlex.quote(str(sweep.folder))}")
    lines.append(f"  TensorBoard  tensorboard --logdir {shlex.quote(str(sweep.folder))}")
    return (0 if done == len(found) and missing <= 0 else FAILED), "\n".join(lines)


def _best(found: dict[Path, Status]) -> list[str]:
    """The best of the finished jobs by the figure that chooses their checkpoints; [] where that is not one figure."""
    reached = {place: status.best for place, status in found.items() if status.state == states.FINISHED and status.best}
    names = {best["name"] for best in reached.values()}
    if len(names) != 1 or len(reached) < 2 or not names <= set(LOWER_IS_BETTER):
        return []
    sign = 1 if LOWER_IS_BETTER[names.pop()] else -1
    place, best = min(reached.items(), key=lambda item: sign * item[1]["value"])
    return [f"  best         {place.name}: {best['headline']} {best['value']:.5g} at step {best['step']}"]


def _for_optuna(config: Config, sweeper: Any, given: set[str]) -> list[str]:
    """What the figure asked for decides, where it is not said otherwise."""
    name = objective_of(config)
    right = "minimize" if LOWER_IS_BETTER[name] else "maximize"
    asked = str(sweeper.direction).rpartition(".")[2]
    told = []
    if "hydra.sweeper.direction" not in given:
        told.append(f"hydra.sweeper.direction={right}")
    elif asked != right:
        raise ConfigError(f"hydra.sweeper.direction={asked} is the wrong way for sweep.objective={name}; use {right}")
    if "seed" in sweeper.sampler and sweeper.sampler.seed is None:
        told.append(f"hydra.sweeper.sampler.seed={config.seed}")  # the same trials again when it is taken up
    if "hydra.sweeper.max_failure_rate" not in given:
        told.append("hydra.sweeper.max_failure_rate=1.0")  # a run that fails is no reason to stop
    return told


def _count(overrides: list[Override], params: dict[str, str]) -> int | None:
    """Jobs of Hydra's own sweeper: the product of what is swept, a command line's word before a configuration's."""
    by_key = {o.get_key_element(): o for o in parse_overrides([f"{key}={value}" for key, value in params.items()])}
    by_key |= {override.get_key_element(): override for override in overrides}
    count = 1
    for override in by_key.values():
        if override.is_sweep_override():
            if not override.is_discrete_sweep():
                return None
            count *= count_values(override)
    refuse_too_many("the sweep", count)
    return count


def _key(word: str) -> str:
    return word.partition("=")[0].lstrip("+~")
