"""The command line: `python -m gantrain key=value ...` trains, `python -m gantrain COMMAND ...` does the rest."""

import contextlib
import difflib
import importlib
import sys
from pathlib import Path

import hydra
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from gantrain.builders import USER_ERRORS, resumed_config, run
from gantrain.commandline import CONFIGS, MULTIRUN_FLAGS, asked_keys, check_command_line, register, remember_defaults
from gantrain.commands import COMMANDS
from gantrain.commands.words import parse_words
from gantrain.config import ConfigError, from_omegaconf
from gantrain.training.trainer import NotFiniteError, StoppedByDoctorError

BAD_INPUT, FAILED, INTERRUPTED = 2, 1, 130
REASON = "error.txt"

_jobs: list[tuple[str, int]] = []
"""Run folder and exit code of each job of this process."""


@hydra.main(config_path=str(CONFIGS), config_name="config", version_base="1.3")
def _job(composed: DictConfig) -> None:
    """One run; what goes wrong is told in words, so that the rest of a sweep goes on."""
    settings = HydraConfig.get()
    folder = Path(settings.runtime.output_dir)
    sweep = settings.mode == RunMode.MULTIRUN
    mine = not any(folder.iterdir())  # Hydra makes the folder: what was in it before is not this job's
    if sweep:
        print(f"\njob {settings.job.num}: {settings.job.override_dirname}", file=sys.stderr)
    code = 0
    try:
        config = from_omegaconf(composed)
        state = None
        if config.resume is not None:
            config, state = resumed_config(folder, asked_keys(list(settings.overrides.task), config))
        run(config, folder, state)
        if state is not None:
            (folder / REASON).unlink(missing_ok=True)
    except USER_ERRORS as error:
        code = BAD_INPUT
        _tell(str(error))
        _leave_reason(folder, str(error), mine=mine, keep=sweep)
    except (NotFiniteError, OSError, RuntimeError, MemoryError) as error:
        words = _words_for(error)
        if words is None:
            raise
        code = FAILED
        _tell(words)
        _leave_reason(folder, words, mine=mine, keep=True)
    except KeyboardInterrupt:
        code = INTERRUPTED
        _tell(f"interrupted; go on from the last checkpoint with resume={folder}")
        if sweep:
            raise
    _jobs.append((str(folder), code))


def main() -> None:
    """Entry point; exits with 0, 1 (a run failed), 2 (bad input) or 130 (interrupted)."""
    if sys.argv[1:2] and sys.argv[1] in COMMANDS:
        _command(sys.argv[1], sys.argv[2:])
        return
    register()
    try:
        _check_first_word(sys.argv[1:])
    except ConfigError as error:
        _tell(str(error))
        sys.exit(BAD_INPUT)
    if "--help" in sys.argv:
        remember_defaults()
    # Hydra's parser stops at a flag between overrides, so that flags go first.
    sys.argv[1:] = sorted(sys.argv[1:], key=lambda word: word not in MULTIRUN_FLAGS)
    try:
        check_command_line(sys.argv[1:])
    except ValueError as error:
        _tell(str(error))
        sys.exit(BAD_INPUT)
    try:
        _job()
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except OmegaConfBaseException as error:  # of Hydra's own keys, which no schema of ours covers
        _tell(str(error).splitlines()[0])
        sys.exit(BAD_INPUT)
    failed = [(folder, code) for folder, code in _jobs if code]
    if len(_jobs) > 1:
        print(f"\n{len(_jobs) - len(failed)} of {len(_jobs)} jobs done", file=sys.stderr)
        for folder, _ in failed:
            print(f"  failed: {folder} (error.txt says why)", file=sys.stderr)
    if failed:
        sys.exit(FAILED if len(_jobs) > 1 else failed[0][1])


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
    try:
        module = importlib.import_module(f"gantrain.commands.{name}")
        module.run(parse_words(module.Options, name, arguments))
    except USER_ERRORS as error:
        _tell(str(error))
        sys.exit(BAD_INPUT)
    except (OSError, RuntimeError, MemoryError) as error:
        words = _words_for(error)
        if words is None:
            raise
        _tell(words)
        sys.exit(FAILED)
    except KeyboardInterrupt:
        _tell("interrupted; what is written is whole")
        sys.exit(INTERRUPTED)


def _tell(words: str) -> None:
    print(f"gantrain: error: {words}", file=sys.stderr)


def _words_for(error: Exception) -> str | None:
    """What to say of a failure that is no error of ours; None for one that deserves its traceback."""
    first = str(error).splitlines()[0] if str(error) else type(error).__name__
    if isinstance(error, NotFiniteError | StoppedByDoctorError):
        return str(error)
    if isinstance(error, torch.OutOfMemoryError | MemoryError) or "can't allocate memory" in str(error):
        return f"memory does not suffice ({first}); lower schedule.batch_size, model.width or metrics.samples"
    if isinstance(error, OSError):
        return f"a file cannot be read or written ({error}); what was saved before is whole"
    return None


def _leave_reason(folder: Path, words: str, *, mine: bool, keep: bool) -> None:
    """error.txt in a folder that this job began; one that holds nothing else goes, unless it is a sweep's."""
    if not mine:
        return
    with contextlib.suppress(OSError):
        if not keep and not any(folder.iterdir()):
            folder.rmdir()
        else:
            (folder / REASON).write_text(words + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
