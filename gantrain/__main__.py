"""The command line: `python -m gantrain key=value ...` trains, `python -m gantrain COMMAND ...` does the rest."""

import contextlib
import difflib
import importlib
import os
import sys
import time
import traceback
from collections.abc import Iterator

import hydra
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from gantrain.builders import run_worker
from gantrain.cli import (
    CONFIGS,
    MULTIRUN_FLAGS,
    check_command_line,
    explain,
    register,
    remember_defaults,
    with_literal_resume,
)
from gantrain.commands import COMMANDS
from gantrain.commands.options import parse_words
from gantrain.config import ConfigError
from gantrain.distributed import Processes, destroy_process_group, process_group, torchrun_world_size
from gantrain.errors import FAILED, describe_error, hide_file_errors_of_threads, print_error
from gantrain.signals import StopRequested, exit_code, ignore_late_interrupts
from gantrain.sweeps.driver import RESUME, Sweep, is_sweep, prepare, summary, taken_up, under_way
from gantrain.sweeps.job import Job
from gantrain.training.nan_guard import NotFiniteError
from gantrain.training.trainer import StoppedByDoctorError

PATIENCE = 10.0
"""Seconds that the first process has to tell of an error that all have."""
FULL_ERROR = "HYDRA_FULL_ERROR"


def main() -> None:
    """Entry point; exits with 0, 1 (a run failed), 2 (bad input), 75 (asked to end, can go on) or 130 (interrupted)."""
    words = sys.argv[1:]
    hide_file_errors_of_threads()
    ignore_late_interrupts()
    try:
        if torchrun_world_size(os.environ) > 1:
            sys.exit(_train_together(words, torchrun_world_size(os.environ)))
        elif words and words[0] in COMMANDS:
            _command(words[0], words[1:])
        else:
            sys.exit(_train(words))
    except KeyboardInterrupt as interruption:
        print_error("interrupted; what is written is whole")
        sys.exit(exit_code(interruption))
    except BrokenPipeError:  # `| head` has read enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains of it at its end
        sys.exit(FAILED)
    except Exception as error:
        found = describe_error(error)
        if found is None:
            raise
        code, reason = found
        print_error(reason)
        sys.exit(code)


def _train_together(words: list[str], count: int) -> int:
    """Trains one run in the processes that torchrun has started; the exit code.

    Raises:
        ConfigError: the words ask for something else than one run.
    """
    command = bool(words) and words[0] in COMMANDS
    if command or any(word.startswith(f"{RESUME}=") for word in words) or is_sweep(words):
        what = f"{words[0]} is" if command else "a sweep's jobs are"
        raise ConfigError(
            f"torchrun has started {count} processes for one run, and {what} done by one: leave torchrun out; several "
            "GPUs take a sweep's jobs with hydra/launcher=joblib"
        )
    with process_group() as processes:
        code = _train(words) if processes.is_main else _run_worker(processes)
        if code == 0:
            destroy_process_group()
        return code


def _run_worker(processes: Processes) -> int:
    """What a process does that is not the first; the exit code. What all would say, the first one says alone.

    torchrun ends all processes when one ends with an error, so that an end which all of them come to is left for the
    first one to write down and to tell.
    """
    try:
        with _muted():
            run_worker()
    except KeyboardInterrupt as interruption:
        return 0 if isinstance(interruption, StopRequested) else exit_code(interruption)
    except (NotFiniteError, StoppedByDoctorError):
        return 0
    except Exception as error:
        found = describe_error(error)
        if found is None:
            raise
        time.sleep(PATIENCE)  # where the first process has the same error, this one is ended before it tells
        code, reason = found
        print_error(f"process {processes.rank}: {reason}")
        return code
    return 0


@contextlib.contextmanager
def _muted() -> Iterator[None]:
    """What all processes would say is said by the first one alone."""
    with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere), contextlib.redirect_stderr(nowhere):
        yield


def _train(words: list[str]) -> int:
    """Trains once or many times; the exit code."""
    register()
    _check_first_word(words)
    words = with_literal_resume(taken_up(words))
    if "--help" in words:
        remember_defaults()
    many = is_sweep(words)
    # Hydra's parser stops at a flag between overrides, so that flags go first.
    words = [*MULTIRUN_FLAGS[-1:] * many, *(word for word in words if word not in MULTIRUN_FLAGS)]
    shows = next((word for word in words if word.partition("=")[0] in ("--cfg", "-c", "--info", "-i")), None)
    if many and shows is not None:
        raise ConfigError(f"{shows} shows the configuration of one run, not of a sweep: leave out {MULTIRUN_FLAGS[-1]}")
    check_command_line(words)
    job = Job()
    if not many or any(word.startswith("-") for word in words[1:]):  # --cfg and the like are Hydra's to answer
        _run_hydra(words, job)
        return next((code for code in job.codes if code), 0)
    sweep = prepare(words)
    with under_way(sweep, words):
        return _sweep(sweep, job)


def _sweep(sweep: Sweep, job: Job) -> int:
    """Runs a sweep's jobs and tells what came of them; the exit code."""
    broken = 0
    try:
        _run_hydra(["--multirun", *sweep.words], job)
    except KeyboardInterrupt as interruption:
        broken = exit_code(interruption)
    except Exception as error:  # of a launcher: jobs tell their own
        found = describe_error(error)
        if found is None:
            traceback.print_exception(error)
        else:
            print_error(found[1])
        broken = found[0] if found else FAILED
    code, words = summary(sweep)
    print(words, file=sys.stderr)
    return broken or code or FAILED * any(job.codes)


def _run_hydra(words: list[str], job: Job) -> None:
    """Has Hydra read the words and call the job.

    Raises:
        ConfigError: what Hydra cannot read or compose.
    """
    sys.argv[1:] = words
    try:
        with _errors_of_hydra():
            hydra.main(config_path=str(CONFIGS), config_name="config", version_base="1.3")(job)()
    except (HydraException, OmegaConfBaseException) as error:  # of its own keys, which no schema of ours covers
        raise ConfigError(explain(error)) from None


@contextlib.contextmanager
def _errors_of_hydra() -> Iterator[None]:
    """Has Hydra raise its errors, which it would print in many lines before it exits."""
    before = os.environ.get(FULL_ERROR)
    os.environ[FULL_ERROR] = "1"
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(FULL_ERROR, None)
        else:
            os.environ[FULL_ERROR] = before


def _check_first_word(words: list[str]) -> None:
    """Refuses a word that is neither a command nor key=value, which Hydra would answer in its own way."""
    if words and "=" not in words[0] and not words[0].startswith(("-", "~", "+")):
        near = difflib.get_close_matches(words[0], COMMANDS, n=1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise ConfigError(
            f"{words[0]!r} is no command and no key=value; {hint}training takes key=value words alone; "
            f"the commands are {', '.join(COMMANDS)}"
        )


def _command(name: str, arguments: list[str]) -> None:
    module = importlib.import_module(f"gantrain.commands.{name}")
    module.run(parse_words(module.Options, name, arguments))


if __name__ == "__main__":
    main()
