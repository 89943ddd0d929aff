"""Several runs of a sweep at a time in one process: Hydra's launcher `hydra/launcher=side_by_side`.

Small networks leave most of a GPU idle. Each run has a thread and a CUDA stream; between two steps a thread gives way
to the next, so that one at a time talks to the GPU, which works on what all of them have given it.
"""

import contextlib
import importlib
import os
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, configure_log, run_job, setup_globals
from hydra.plugins.launcher import Launcher
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig, open_dict

from gantrain.config import ConfigError
from gantrain.cuda_graphs import working_stream
from gantrain.signals import handle_signals
from gantrain.turns import Surroundings, Turns, call_it

NAME = "side_by_side"
MOST_RUNS = 256


def check_and_register(hydra: DictConfig) -> None:
    """Makes the launcher known to Hydra.

    Raises:
        ConfigError: a key that cannot be had in one process.
    """
    runs = hydra.launcher.get("runs")
    if isinstance(runs, bool) or not isinstance(runs, int) or not 1 <= runs <= MOST_RUNS:
        raise ConfigError(f"hydra.launcher.runs={runs!r} must be a whole number from 1 to {MOST_RUNS}: runs at a time")
    for key, value in (("chdir", hydra.job.chdir), ("env_set", dict(hydra.job.env_set or {}))):
        if value:
            raise ConfigError(
                f"hydra.job.{key}={value!r} is for a whole process, and hydra/launcher={NAME} has {runs} runs in one: "
                "leave it out, or use hydra/launcher=joblib"
            )
    _make_importable()
    Plugins.instance().register(SideBySide)


class SideBySide(Launcher):
    """Runs `runs` jobs at a time; the next one begins where one ends."""

    def __init__(self, runs: int) -> None:
        """Takes what hydra.launcher.runs says."""
        self.runs = runs
        self.config: DictConfig | None = None
        self.task_function: TaskFunction | None = None
        self.context: HydraContext | None = None

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """As Hydra has it."""
        self.context, self.task_function, self.config = hydra_context, task_function, config

    def launch(self, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> Sequence[JobReturn]:
        """Runs the jobs; what each returned, in their order.

        Raises:
            KeyboardInterrupt: the user has interrupted; every run was told between two steps.
        """
        setup_globals()
        assert self.config is not None
        configure_log(self.config.hydra.hydra_logging, self.config.hydra.verbose)
        Path(str(self.config.hydra.sweep.dir)).mkdir(parents=True, exist_ok=True)
        if torch.cuda.is_available():
            torch.cuda.init()  # the default generators are to be there before they are exchanged
        turns = Turns(min(self.runs, len(job_overrides)))
        before = self._surroundings()
        jobs = iter(list(enumerate(job_overrides, initial_job_idx)))
        found: dict[int, JobReturn | BaseException] = {}
        ends = [threading.Event() for _ in range(turns.count)]
        threads = [
            threading.Thread(
                target=self._work, args=(turns, self._surroundings(), jobs, found, end), name=f"run {k}", daemon=True
            )
            for k, end in enumerate(ends)
        ]
        try:
            with handle_signals():  # signals come to the main thread
                for thread in threads:
                    thread.start()
                _wait(ends, turns)
        finally:
            before.enter()
        results = [found[number] for number in sorted(found)]
        errors = [result for result in results if isinstance(result, BaseException)]
        for error in sorted(errors, key=lambda error: isinstance(error, KeyboardInterrupt)):
            raise error  # one that is none of the keyboard's has interrupted the others
        if turns.interrupted:
            raise KeyboardInterrupt
        return [result for result in results if isinstance(result, JobReturn)]

    def _work(
        self,
        turns: Turns,
        surroundings: Surroundings,
        jobs: Iterator[tuple[int, Sequence[str]]],
        found: dict[int, JobReturn | BaseException],
        end: threading.Event,
    ) -> None:
        """One job after the other, in turns with the other threads."""
        turns.take(surroundings)
        try:
            for number, overrides in jobs:
                if turns.interrupted:
                    break
                try:
                    found[number] = self._run(number, overrides)
                except BaseException as error:  # Job tells of what goes wrong in a run; this is an interruption
                    found[number] = error
                    turns.interrupted = True
        finally:
            turns.leave()
            end.set()

    def _run(self, number: int, overrides: Sequence[str]) -> JobReturn:
        assert self.config is not None
        assert self.context is not None
        assert self.task_function is not None
        config = self.context.config_loader.load_sweep_config(self.config, list(overrides))
        with open_dict(config):
            config.hydra.job.id = config.hydra.job.num = number
        call_it(f"job {number}")
        with _stream(str(config.device)):
            return run_job(
                hydra_context=self.context,
                task_function=self.task_function,
                config=config,
                job_dir_key="hydra.sweep.dir",
                job_subdir_key="hydra.sweep.subdir",
            )

    @staticmethod
    def _surroundings() -> Surroundings:
        def put_back(config: Any) -> None:
            HydraConfig.instance().cfg = config

        return Surroundings(lambda: HydraConfig.instance().cfg, put_back)


SideBySide.__module__ = "hydra_plugins.gantrain"


def _make_importable() -> None:
    """Puts the class where Hydra takes launchers from alone; the namespace is there if another plugin is installed."""
    space, _, name = SideBySide.__module__.partition(".")
    try:
        parent = importlib.import_module(space)
    except ModuleNotFoundError:
        parent = sys.modules[space] = ModuleType(space)
        parent.__path__ = []
    module = sys.modules[SideBySide.__module__] = ModuleType(SideBySide.__module__)
    for owner, attribute, value in ((module, SideBySide.__name__, SideBySide), (parent, name, module)):
        setattr(owner, attribute, value)


def _wait(ends: Sequence[threading.Event], turns: Turns) -> None:
    """Waits for all; a second Ctrl-C (the first one was heeded) is told to all of them, a third waits for none.

    Not by Thread.join: of one that is interrupted, Python takes the thread for ended.
    """
    while True:
        try:
            for end in ends:
                end.wait()
            return
        except KeyboardInterrupt:
            if turns.interrupted:
                os._exit(130)
            turns.interrupted = True


@contextlib.contextmanager
def _stream(device: str) -> Iterator[None]:
    """A CUDA stream of its own, on CUDA; a device that is not there is the job's to tell."""
    number = device.partition(":")[2] or "0"
    index = int(number) if number.isdecimal() else 0
    if device == "cpu" or not torch.cuda.is_available() or index >= torch.cuda.device_count():
        yield
        return
    place = torch.device("cuda", index)
    with torch.cuda.device(place), torch.cuda.stream(working_stream(place)):
        yield
