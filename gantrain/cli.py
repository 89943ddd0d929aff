"""The command line: trains by default, or runs a command.

A single run: check the arguments, compose with Hydra, check the `Config`, and train in the run's folder through
`attempt`, each once. A sweep (`gantrain.sweeps`) does the same for each of its jobs.
"""

import contextlib
import copy
import difflib
import importlib
import logging
import os
import sys
import time
from argparse import Namespace
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.override_parser.types import Override
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from gantrain.commands import COMMANDS
from gantrain.config import Config, ConfigError, from_omegaconf
from gantrain.config.checks import check_overrides
from gantrain.config.compose import compose, parse_flags, readable_errors, run_hydra, run_job
from gantrain.config.overrides import first_values, key_of, parse_overrides, quoted, with_literal_resume
from gantrain.errors import FAILED, GantrainError
from gantrain.system.distributed import destroy_process_group, process_group, torchrun_world_size
from gantrain.system.error_messages import describe_error, hide_file_errors_of_threads
from gantrain.system.logs import log_to_console
from gantrain.system.signals import StopRequested, exit_code, ignore_late_interrupts

if TYPE_CHECKING:
    from gantrain.system.distributed import Processes

MULTIRUN_FLAGS = ("-m", "--multirun")
SWEEP_RESUME = "sweep.resume"
PATIENCE = 10.0
"""Seconds that other processes wait for the first one to report an error that all share."""

log = logging.getLogger(__name__)


def main() -> None:
    """Exits with 0, 1 (a run failed), 2 (bad input), 75 (asked to end, can continue) or 130 (interrupted)."""
    words = sys.argv[1:]
    log_to_console()
    hide_file_errors_of_threads()
    ignore_late_interrupts()
    try:
        processes = torchrun_world_size(os.environ)
        if processes > 1:
            sys.exit(_train_with_torchrun(words, processes))
        elif words and words[0] in COMMANDS:
            run_command(words[0], words[1:])
        else:
            sys.exit(train(words))
    except KeyboardInterrupt as interruption:
        log.error("interrupted; all files are complete")
        sys.exit(exit_code(interruption))
    except BrokenPipeError:  # the reader of stdout has exited, e.g. `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # otherwise Python prints an error at exit
        sys.exit(FAILED)
    except Exception as error:
        found = describe_error(error)
        if found is None:
            raise
        code, reason = found
        log.error("%s", reason)
        sys.exit(code)


def run_command(name: str, words: Sequence[str]) -> None:
    """Runs `python -m gantrain NAME key=value ...`."""
    from gantrain.commands.options import parse_words

    module = importlib.import_module(f"gantrain.commands.{name}")
    module.run(parse_words(module.Options, name, list(words)))


def train(words: Sequence[str], processes: int = 1) -> int:
    """Trains one run or a sweep, or handles a flag such as --help; returns the exit code.

    Args:
        words: arguments of the command line.
        processes: number of torchrun's processes.

    Raises:
        GantrainError: bad input; no folder has been created.
    """
    check_first_word(words)
    words = with_literal_resume(list(words))
    if any(key_of(word) == SWEEP_RESUME for word in words):
        from gantrain.sweeps.driver import resumed_words

        words = resumed_words(words)
    words.sort(key=lambda word: word not in MULTIRUN_FLAGS)  # Hydra's parser requires flags first
    flags = parse_flags(words)
    if flags.help:  # Hydra's own help takes 1.5 s to list the groups
        print(compose(first_values(parse_overrides(flags.overrides)), with_hydra=True, flags=flags).hydra.help.template)
        return 0
    if flags.hydra_help or flags.cfg or flags.info or flags.shell_completion:
        run_hydra(words, lambda _: None)
        return 0
    if flags.experimental_rerun is not None:
        raise ConfigError("--experimental-rerun is not supported: continue a run with resume=RUN")
    words = [*flags.overrides, *_search_path(flags)]
    overrides = parse_overrides(words)
    check_overrides(overrides)
    several = [str(override.input_line) for override in overrides if override.is_sweep_override()]
    may_be_sweep = flags.multirun or any(o.key_or_group in ("experiment", "hydra.mode") for o in overrides)
    if several and not may_be_sweep:
        raise _several_values_error(several[0])
    composed = compose(first_values(overrides), with_hydra=True, flags=flags)
    if flags.multirun or composed.hydra.mode == RunMode.MULTIRUN:
        if processes > 1:
            raise _not_for_torchrun("the jobs of a sweep need", processes)
        if flags.config_path or flags.config_name:
            raise ConfigError("a sweep uses configs/config.yaml: put your own experiment into a --config-dir instead")
        from gantrain.sweeps.driver import run_sweep

        return run_sweep(words, overrides, composed)
    if several:
        raise _several_values_error(several[0])
    return _train_once(composed, words, overrides)


def check_first_word(words: Sequence[str]) -> None:
    """Refuses a first word that is neither a command nor key=value."""
    if words and "=" not in words[0] and not words[0].startswith(("-", "~", "+")):
        near = difflib.get_close_matches(words[0], COMMANDS, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise ConfigError(
            f"unknown command {words[0]!r}; {hint}training accepts only key=value; commands are {', '.join(COMMANDS)}"
        )


def _train_once(composed: DictConfig, words: list[str], overrides: list[Override]) -> int:
    """Checks the configuration of a single run, then trains in its folder; returns the exit code."""
    config = checked(composed, words)
    if config.resume is not None and any(override.key_or_group == "hydra.run.dir" for override in overrides):
        raise ConfigError("resume continues in the run's own folder; leave out hydra.run.dir")
    with readable_errors(words):
        folder = Path(str(composed.hydra.run.dir)).absolute()
    from gantrain.builders.attempt import Attempt  # takes seconds to import

    attempt = Attempt(folder)
    if config.resume is None:
        attempt.check_free()
    task_words = [str(word) for word in composed.hydra.overrides.task]

    def work() -> None:
        if config.resume is None:
            attempt.start(config)
        run_job(composed, lambda: attempt.train(config, task_words), resumed=config.resume is not None)

    attempt.record(work)
    return attempt.code


def checked(composed: DictConfig, words: Sequence[str]) -> Config:
    """The configuration without Hydra's own keys, checked.

    Raises:
        ConfigError: a value out of range, a combination that does not work, or no run to resume.
    """
    task = copy.deepcopy(composed)
    with open_dict(task):
        del task["hydra"]
    with readable_errors(words):
        OmegaConf.resolve(task)
    resume = task.get("resume")
    if resume is not None and not (resume and os.path.isdir(resume)):
        raise ConfigError(f"resume={resume!r} is not a folder; give the folder of a run, e.g. outputs/DATE/TIME-NAME")
    return from_omegaconf(task)


def _search_path(flags: Namespace) -> list[str]:
    """--config-dir as an override, so that it also applies to jobs in other processes and resumed sweeps."""
    return [f"hydra.searchpath=[{quoted(os.path.abspath(flags.config_dir))}]"] if flags.config_dir is not None else []


def _several_values_error(word: str) -> ConfigError:
    return ConfigError(f"{word} gives several values: add -m to train with each, or write a list as key=[A,B]")


def _not_for_torchrun(what: str, processes: int) -> ConfigError:
    return ConfigError(
        f"torchrun has started {processes} processes, but {what} only one: leave out torchrun; a sweep "
        "uses several GPUs with hydra/launcher=joblib"
    )


def _train_with_torchrun(words: list[str], count: int) -> int:
    """Trains one run in the processes that torchrun has started; returns the exit code."""
    if words and words[0] in COMMANDS:
        raise _not_for_torchrun(f"{words[0]} needs", count)
    with process_group() as processes:
        code = train(words, count) if processes.is_main else _run_worker(processes)
        if code == 0:
            destroy_process_group()
        return code


def _run_worker(processes: "Processes") -> int:
    """Trains in a process other than the first one, which writes files and reports errors; returns the exit code.

    torchrun kills all processes when one exits with an error, so the first process reports errors that all share.
    """
    from gantrain.builders import run_worker

    try:
        with _silent():
            run_worker()
    except KeyboardInterrupt as interruption:
        return 0 if isinstance(interruption, StopRequested) else exit_code(interruption)
    except Exception as error:
        if isinstance(error, GantrainError) and error.exit_code == FAILED:
            return 0
        found = describe_error(error)
        if found is None:
            raise
        time.sleep(PATIENCE)  # if the first process has the same error, torchrun kills this one while it waits
        code, reason = found
        log.error("process %d: %s", processes.rank, reason)
        return code
    return 0


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        yield
