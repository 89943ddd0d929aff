"""One attempt to train in a folder: the lock, the state, the reason for a failure, and the exit code."""

import json
import logging
import shutil
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

from omegaconf import DictConfig, OmegaConf

from gantrain.builders import resumed_config, run, with_changes
from gantrain.config import Config, to_dict
from gantrain.config.overrides import explicit_keys
from gantrain.errors import BAD_INPUT, FAILED
from gantrain.run_io import status as states
from gantrain.run_io.metrics_jsonl import METRICS, RunFolderError
from gantrain.run_io.run_folder import AROUND, HOLD, HYDRA, JOB, LOCK, REASON, TRAIN_LOG, read_content, taken
from gantrain.run_io.status import Status, mark, read_status
from gantrain.system.atomic_io import PART, replace_text
from gantrain.system.error_messages import describe_error
from gantrain.system.locks import BusyError, hold_lock
from gantrain.system.signals import StopRequested, exit_code
from gantrain.training.checkpoint import BEST, LAST, has_checkpoint
from gantrain.training.trainer import Prune

KEPT = (*HOLD, JOB, HYDRA, TRAIN_LOG)
"""Files that are kept when a run in the folder starts over."""

T = TypeVar("T")

log = logging.getLogger(__name__)


class Attempt:
    """One attempt to train in a folder.

    Attributes:
        folder: of the run.
        job: its number in a sweep; None for a single run.
        new: whether this attempt started the run in the folder; its state and a failure are then recorded there.
        resumed: whether this attempt continues an earlier run; bad input then changes nothing in the folder.
        code: exit code.
    """

    def __init__(self, folder: Path, job: int | None = None) -> None:
        """Prepares an attempt in this folder."""
        self.folder, self.job = folder, job
        self.new = self.resumed = False
        self.code = 0

    def record(self, work: Callable[[], T]) -> T | None:
        """Calls `work` with the folder's lock; turns an error into an exit code, a message, a state and error.txt.

        Returns:
            The result of `work`; None after an error.

        Raises:
            KeyboardInterrupt: in a sweep, which ends too.
            Exception: a bug in a single run.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with hold_lock(self.folder / LOCK, f"the run in {str(self.folder)!r}"):
                return work()
        except KeyboardInterrupt as interruption:
            self.code = exit_code(interruption)
            self._mark(states.INTERRUPTED)
            if self.job is not None:
                raise
            saved = "saved and ended" if isinstance(interruption, StopRequested) else "interrupted"
            log.error("%s; continue from the last checkpoint with resume=%s", saved, self.folder)
        except Exception as error:
            found = describe_error(error)
            if found is None:
                self._mark(states.FAILED)
                if self.job is None:
                    raise
                found = (FAILED, "".join(traceback.format_exception(error)))
            self.code, reason = found
            log.error("%s", reason)
            if not isinstance(error, BusyError):
                self._leave(reason)
        return None

    def start(self, config: Config | DictConfig) -> None:
        """Takes an empty folder for a new run: writes job.json, and the state `running`.

        Args:
            config: configuration of the run; unchecked in a sweep, so that a refused one is recorded too.

        Raises:
            RunFolderError: the folder contains other files.
        """
        self.check_free()
        self.new = True
        tree = to_dict(config) if isinstance(config, Config) else OmegaConf.to_container(config, resolve=True)
        replace_text(self.folder / JOB, json.dumps({"job": self.job, "config": tree}, indent=1) + "\n")
        states.write_status(self.folder, Status(state=states.RUNNING, steps=config.schedule.steps))

    def check_free(self) -> None:
        """Refuses a folder with files other than locks, temporary files and, in a sweep, Hydra's files.

        Raises:
            RunFolderError: it has such files.
        """
        own = HOLD if self.job is None else (*HOLD, HYDRA, TRAIN_LOG)
        inside = list(self.folder.iterdir()) if self.folder.is_dir() else []
        if any(path.name not in own and not path.name.endswith(PART) for path in inside):
            raise taken(self.folder)

    def train(
        self, config: Config, overrides: Sequence[str], *, prune: Prune | None = None, may_be_done: bool = False
    ) -> None:
        """Trains from the folder's newest checkpoint, or from the start if there is none.

        Args:
            config: checked; with a checkpoint, only keys that `overrides` set and that may change are used.
            overrides: overrides on the command line.
            prune: may end the run early, see `Trainer`.
            may_be_done: accept a run that has done all its steps and was killed before it recorded that.
        """
        state = None
        if not self.new or has_checkpoint(self.folder):
            explicit = explicit_keys(overrides, config)
            asked = None if has_checkpoint(self.folder) else read_content(self.folder / JOB).get("config")
            if isinstance(asked, dict) and not self.new:
                config = with_changes(self.folder, asked, explicit)
                self.resumed = True
                self.clear()
                log.info("the run ended before its first checkpoint; it starts over")
            else:
                config, state = resumed_config(self.folder, explicit, may_be_done=may_be_done)
                self.resumed = not self.new
        run(config, self.folder, state, prune=prune)
        (self.folder / REASON).unlink(missing_ok=True)

    def clear(self) -> None:
        """Removes the files of an attempt that was killed before its first checkpoint, except job.json.

        Raises:
            RunFolderError: the run has trained, and its checkpoint is gone.
        """
        rows = self.folder / METRICS
        trained = [path.name for path in self.folder.iterdir() if path.name == BEST or "damaged" in path.name]
        trained += [f"rows in {METRICS}"] if rows.is_file() and rows.stat().st_size else []
        if trained:
            raise RunFolderError(
                f"{str(self.folder)!r} has no {LAST} to continue from, and starting over would delete "
                f"{', '.join(trained)}: copy {BEST} over {LAST} if there is one, or move the folder away to train again"
            )
        for path in self.folder.iterdir():
            if path.name not in KEPT:
                shutil.rmtree(path) if path.is_dir() else path.unlink()

    def _mark(self, state: str) -> None:
        if self.new or self.resumed:
            mark(self.folder, state)

    def _leave(self, reason: str) -> None:
        """Writes error.txt and the state; a single run refused before it wrote anything leaves no folder."""
        if not (self.new or (self.resumed and self.code != BAD_INPUT)):
            return
        try:
            if self.job is None and self.code == BAD_INPUT and all(p.name in AROUND for p in self.folder.iterdir()):
                for path in self.folder.iterdir():
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
                if not self.folder.samefile(Path.cwd()):
                    self.folder.rmdir()
                return
            replace_text(self.folder / REASON, f"{reason.rstrip()}\n")
            before = read_status(self.folder)
            if before is None or before.state != states.STOPPED:
                mark(self.folder, states.FAILED)
        except OSError as error:
            log.error("the reason for the failure cannot be written to %r (%s)", str(self.folder), error)
