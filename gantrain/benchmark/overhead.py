"""What a run's logging and diagnostics cost at the intervals that a long run has by default."""

import contextlib
import dataclasses
import io
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from gantrain.benchmark.building import LOG_EVERY, make_config
from gantrain.benchmark.cells import SWEPT
from gantrain.benchmark.rows import Row
from gantrain.benchmark.session import Session
from gantrain.benchmark.timing import paired_ratio, release, spread_of
from gantrain.builders import build_trainer, load_data
from gantrain.run_io.run_folder import RunFolder
from gantrain.training.trainer import Trainer

BLOCK = "overhead"
WITH, WITHOUT = "with logging and diagnostics", "without"
NEVER = 10**9


class _Run:
    """A trainer that goes on by a number of steps at a time, in a folder of its own."""

    def __init__(self, session: Session, words: Sequence[str], stack: ExitStack) -> None:
        self._steps = session.scale.overhead_steps
        contest = SWEPT[session.scale.cells]
        quiet = ["metrics=none", f"log.grids_every_steps={NEVER}", f"log.checkpoint_every_steps={NEVER}"]
        quiet += ["log.grid_images=4", f"schedule.steps={self._steps}"]
        # the digits are embedded, and have the held-out examples that the diagnostics look at
        config = make_config(session, [*contest.overrides, "data=digits", *quiet, *words])
        self._trainer: Trainer = build_trainer(config, load_data(config, "train"), [], session.device)
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        self._folder = RunFolder(folder / "run", self._trainer.config, session.device.type)
        stack.callback(self._folder.close)
        self.go_on()

    def go_on(self) -> float:
        """Seconds of training that the next steps take; grids and the checkpoint at their end are no part of it."""
        trainer = self._trainer
        trainer.plan = dataclasses.replace(trainer.plan, steps=trainer.step + self._steps)
        with contextlib.redirect_stderr(io.StringIO()):
            trainer.fit(self._folder)
        return trainer.seconds


def run(session: Session) -> None:
    """One contest."""
    session.attempt(BLOCK, SWEPT[session.scale.cells].name, 30, partial(_contest, session))


def _contest(session: Session) -> list[Row]:
    steps = session.scale.overhead_steps
    usual = min(LOG_EVERY, steps)
    seconds: dict[str, list[float]] = {WITH: [], WITHOUT: []}
    with ExitStack() as stack:
        runs = {
            WITH: _Run(session, [f"log.every_steps={usual}"], stack),
            WITHOUT: _Run(session, [f"log.every_steps={NEVER}", "log.diagnostics_every_steps=0"], stack),
        }
        for number in range(session.rounds):
            for name in (WITH, WITHOUT) if number % 2 else (WITHOUT, WITH):
                seconds[name].append(runs[name].go_on() / steps)
        runs.clear()
    release(session.device)
    contest = SWEPT[session.scale.cells].name
    rows = [
        Row(block=BLOCK, contest=contest, cell=name, microseconds=spread_of(taken).scaled(1e6), against=WITHOUT)
        for name, taken in seconds.items()
    ]
    ratio = paired_ratio(seconds[WITH], seconds[WITHOUT])
    rows[0].ratios = {WITHOUT: ratio}
    rows[0].figures = {"percent": 100 * (1 / ratio.median - 1)}
    return rows
