"""One job: what Hydra calls with a composed configuration, alone or as one of a sweep, in this process or a worker."""

import gc
import json
import shutil
import sys
import traceback
from pathlib import Path
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from gantrain.atomic_io import PART, replace_text
from gantrain.builders import resumed_config, run, with_changes
from gantrain.cli import asked_keys, register
from gantrain.config import MAY_CHANGE_ON_RESUME, ConfigError, from_omegaconf, printable
from gantrain.cuda_graphs import free_workspaces
from gantrain.errors import BAD_INPUT, FAILED, describe_error, print_error
from gantrain.locks import BusyError, hold_lock
from gantrain.objectives import ObjectiveError, make_objective
from gantrain.run_io import status as states
from gantrain.run_io.metrics_jsonl import METRICS, RunFolderError
from gantrain.run_io.run_folder import AROUND, HOLD, JOB, LOCK, REASON, read_content, taken
from gantrain.run_io.run_reader import read_run
from gantrain.run_io.status import Status, mark, read_status
from gantrain.signals import StopRequested, exit_code
from gantrain.sweeps.gpus import take_a_gpu
from gantrain.sweeps.optimization import best_value, key_of
from gantrain.sweeps.pruning import make_pruner
from gantrain.training.checkpoint import BEST, LAST, has_checkpoint

ENDED = (states.FINISHED, states.STOPPED, states.PRUNED, states.SKIPPED, states.FAILED)


class Job:
    """Trains as configured; what goes wrong is told in words and left in the run's folder, so that a sweep goes on.

    Attributes:
        codes: exit code of each job of this process, in order.
    """

    def __init__(self) -> None:
        """Registers what configs/ refers to, which a worker process does not know by itself."""
        register()
        self.codes: list[int] = []

    def __reduce__(self) -> tuple[type["Job"], tuple[()]]:
        """A worker makes its own."""
        return Job, ()

    def __call__(self, composed: DictConfig) -> float | None:
        """Runs one job; returns what an optimizing sweep reads of it, None where there is nothing to read."""
        settings = HydraConfig.get()
        folder = Path(settings.runtime.output_dir)
        words = [str(word) for word in settings.overrides.task]
        if settings.mode != RunMode.MULTIRUN:
            self.codes.append(_Attempt(folder, composed, words, None).code)
            return None
        number = int(settings.job.num)
        print(printable(f"\njob {number}: {settings.job.override_dirname}"), file=sys.stderr)
        if settings.runtime.choices.get("hydra/launcher") == "joblib":
            take_a_gpu(folder.parent)
        try:
            attempt = _Attempt(folder, composed, words, number)
            self.codes.append(attempt.code)
            return attempt.value
        finally:
            forget()


def forget() -> None:
    """Frees what a job has left in this process, so that the next one starts as in a fresh one."""
    gc.collect()
    if "torch._dynamo" in sys.modules:
        torch._dynamo.reset()  # compiled graphs hold their networks
    if torch.cuda.is_initialized():
        free_workspaces()  # of streams that the next run has no use for
        torch.cuda.empty_cache()


class _Attempt:
    """One try of one job, with its exit code and, in a sweep, the value of its figure.

    Attributes:
        mine: whether what lies in the folder is this job's, so that a reason may be left there.
        begun: whether a sweep has begun a job in the folder before.
        resumed: whether it goes on with a run by itself; a refusal leaves nothing in that.
    """

    def __init__(self, folder: Path, composed: DictConfig, words: list[str], number: int | None) -> None:
        self.folder, self.composed, self.words, self.number = folder, composed, words, number
        free = all(p.name in HOLD or p.name.endswith(PART) for p in folder.iterdir())
        self.mine = free and composed.resume is None  # what is in it before a job begins is not its own
        self.begun = number is not None and (folder / JOB).is_file()
        self.resumed = False
        self.code: int = 0
        self.value: float | None = None
        try:
            if not (self.mine or self.begun or composed.resume is not None):
                raise taken(folder)
            with hold_lock(folder / LOCK, f"the run in {str(folder)!r}"):
                self._train()
        except KeyboardInterrupt as interruption:
            self.code = exit_code(interruption)
            self._mark(states.INTERRUPTED)
            if number is not None:
                raise
            saved = "saved and ended" if isinstance(interruption, StopRequested) else "interrupted"
            print_error(f"{saved}; go on from the last checkpoint with resume={folder}")
        except Exception as error:
            found = describe_error(error)
            if found is None:
                self._mark(states.FAILED)
                if number is None:
                    raise
                found = (FAILED, "".join(traceback.format_exception(error)))
            self.code, reason = found
            print_error(reason)
            if not isinstance(error, BusyError):
                self._leave(reason)

    def _train(self) -> None:
        if self.begun:
            self._check_asked()
            self.mine = True
            if self._is_over():
                return
            mark(self.folder, states.RUNNING)
        elif self.mine:
            self._write_job()
        try:
            config = from_omegaconf(self.composed)
        except ConfigError as error:
            if self._may_be_skipped():
                print(printable(f"skipped: {error}"), file=sys.stderr)
                replace_text(self.folder / REASON, f"{error}\n")
                states.write_status(self.folder, Status(state=states.SKIPPED))
                return
            raise
        state = None
        prune = make_pruner(config, self.folder) if self.number is not None else None
        key = key_of(config) if self.number is not None and config.metric_names else None
        unsaved = self._asked_without_checkpoint() if config.resume is not None else None
        if unsaved is not None:
            config = with_changes(self.folder, unsaved, asked_keys(self.words, config))
            self.resumed = True
            self._clear()
            print("it was ended before its first checkpoint, and begins anew", file=sys.stderr)
        elif config.resume is not None:
            config, state = resumed_config(self.folder, asked_keys(self.words, config))
            self.resumed = True
        elif self.begun and has_checkpoint(self.folder):
            config, state = resumed_config(self.folder, asked_keys(self.words, config), may_be_done=True)
        elif self.begun:
            self._clear()
        run(config, self.folder, state, prune=prune)
        (self.folder / REASON).unlink(missing_ok=True)
        if key is not None:
            self.value = best_value(read_run(self.folder), key)
            mark(self.folder, read_run(self.folder).status.state, value=self.value)

    def _check_asked(self) -> None:
        """Refuses a folder in which another job was begun.

        Raises:
            ConfigError: it was.
            RunFolderError: its job.json is damaged.
        """
        asked = read_content(self.folder / JOB).get("overrides")
        if not isinstance(asked, list):
            raise RunFolderError(
                f"{str(self.folder / JOB)!r} is damaged, and only it says whether this run is the sweep's: move the "
                f"folder away to train the job anew; the run goes on by itself with resume={self.folder}"
            )
        differ = sorted(set(_what_is_trained(asked)) ^ set(_what_is_trained(self.words)))
        if differ:
            raise ConfigError(
                f"{str(self.folder)!r} holds a run of other values ({', '.join(differ)}): the sweep asks otherwise "
                "than when it began; a search has to be seeded to be taken up, see hydra.sweeper.sampler.seed"
            )

    def _is_over(self) -> bool:
        """Whether a job that was begun earlier is to be kept as it is."""
        before = read_status(self.folder) or Status(state=states.RUNNING)
        sweep = self.composed.sweep
        longer = before.state == states.FINISHED and self.composed.schedule.steps > before.steps
        again = before.state in (states.FAILED, states.STOPPED) and sweep.retry
        if before.state not in ENDED or longer or again:
            return False
        print(f"kept: {before.state} at step {before.step}", file=sys.stderr)
        if before.state in (states.FINISHED, states.PRUNED):
            config = from_omegaconf(self.composed)
            self.value = best_value(read_run(self.folder), key_of(config)) if config.metric_names else None
        self.code = FAILED if before.state in (states.FAILED, states.STOPPED) else 0
        return True

    def _may_be_skipped(self) -> bool:
        if self.composed.sweep.invalid_pairs != "skip":
            return False
        try:
            make_objective(**{str(key): value for key, value in self.composed.loss.items()})
        except ObjectiveError:
            return True
        return False

    def _write_job(self) -> None:
        """job.json: what was asked for, which a refused job has no other place for; and that it is under way."""
        asked = OmegaConf.to_container(self.composed, resolve=True)
        content = {"job": self.number, "overrides": self.words, "config": asked}
        replace_text(self.folder / JOB, json.dumps(content, indent=1) + "\n")
        states.write_status(self.folder, Status(state=states.RUNNING, steps=self.composed.schedule.steps))

    def _asked_without_checkpoint(self) -> dict[str, Any] | None:
        """The configuration of a run that has no checkpoint to go on from; None where it has one, or none is told."""
        asked = None if has_checkpoint(self.folder) else read_content(self.folder / JOB).get("config")
        return asked if isinstance(asked, dict) else None

    def _clear(self) -> None:
        """Removes what a job left that was killed before its first checkpoint; what it was asked for stays.

        Raises:
            RunFolderError: it has trained, and its checkpoint is gone.
        """
        rows = self.folder / METRICS
        trained = [path.name for path in self.folder.iterdir() if path.name == BEST or "damaged" in path.name]
        trained += [f"rows in {METRICS}"] if rows.is_file() and rows.stat().st_size else []
        if trained:
            raise RunFolderError(
                f"{str(self.folder)!r} has no {LAST} to go on from, and {', '.join(trained)} that a new start would "
                f"overwrite: copy {BEST} over {LAST} where there is one, or move the folder away to train anew"
            )
        for inside in self.folder.iterdir():
            if inside.name not in (*HOLD, JOB):
                shutil.rmtree(inside) if inside.is_dir() else inside.unlink()

    def _mark(self, state: str) -> None:
        if self.mine or self.resumed:
            mark(self.folder, state)

    def _leave(self, reason: str) -> None:
        """error.txt and the state in this job's own folder; one with nothing else in it goes, unless a sweep's."""
        if not (self.mine or (self.resumed and self.code != BAD_INPUT)):
            return
        try:
            if self.number is None and self.code == BAD_INPUT and all(p.name in AROUND for p in self.folder.iterdir()):
                for inside in self.folder.iterdir():
                    inside.unlink()
                if not self.folder.samefile(Path.cwd()):
                    self.folder.rmdir()
                return
            replace_text(self.folder / REASON, f"{reason.rstrip()}\n")
            before = read_status(self.folder)
            if before is None or before.state != states.STOPPED:
                mark(self.folder, states.FAILED)
        except OSError as error:
            print_error(f"and the reason cannot be left in {str(self.folder)!r} ({error})")


def _what_is_trained(words: list[str]) -> list[str]:
    return [word for word in words if word.partition("=")[0] not in MAY_CHANGE_ON_RESUME]
