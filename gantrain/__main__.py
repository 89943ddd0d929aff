"""The command line: `python -m gantrain key=value ...` trains."""

import contextlib
import sys
from pathlib import Path

import hydra
import torch
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig

from gantrain.build import resumed_config, run
from gantrain.commandline import CONFIGS, MULTIRUN_FLAGS, asked_keys, check_command_line, register
from gantrain.config import from_omegaconf
from gantrain.training.trainer import NotFiniteError

BAD_INPUT, FAILED, INTERRUPTED = 2, 1, 130

_jobs: list[tuple[str, int]] = []
"""Run folder and exit code of each job of this process."""


@hydra.main(config_path=str(CONFIGS), config_name="config", version_base="1.3")
def _job(composed: DictConfig) -> None:
    """One run; what goes wrong is told in words, so that the rest of a sweep goes on."""
    settings = HydraConfig.get()
    folder = Path(settings.runtime.output_dir)
    sweep = settings.mode == RunMode.MULTIRUN
    if sweep:
        print(f"\njob {settings.job.num}: {settings.job.override_dirname}", file=sys.stderr)
    code = 0
    try:
        config = from_omegaconf(composed)
        state = None
        if config.resume is not None:
            config, state = resumed_config(folder, asked_keys(list(settings.overrides.task), config))
        run(config, folder, state)
    except (ValueError, NotFiniteError, torch.OutOfMemoryError) as error:
        code = BAD_INPUT if isinstance(error, ValueError) else FAILED
        words = str(error)
        if isinstance(error, torch.OutOfMemoryError):
            words = (
                f"the GPU's memory does not suffice ({words.splitlines()[0]}); lower schedule.batch_size or model.width"
            )
        _tell(words)
        _leave_reason(folder, words, keep=sweep)
    except KeyboardInterrupt:
        code = INTERRUPTED
        _tell(f"interrupted; go on from the last checkpoint with resume={folder}")
        if sweep:
            raise
    _jobs.append((str(folder), code))


def main() -> None:
    """Entry point; exits with 0, 1 (a run failed), 2 (bad input) or 130 (interrupted)."""
    register()
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
    failed = [(folder, code) for folder, code in _jobs if code]
    if len(_jobs) > 1:
        print(f"\n{len(_jobs) - len(failed)} of {len(_jobs)} jobs done", file=sys.stderr)
        for folder, _ in failed:
            print(f"  failed: {folder} (error.txt says why)", file=sys.stderr)
    if failed:
        sys.exit(FAILED if len(_jobs) > 1 else failed[0][1])


def _tell(words: str) -> None:
    print(f"gantrain: error: {words}", file=sys.stderr)


def _leave_reason(folder: Path, words: str, *, keep: bool) -> None:
    """error.txt in a folder that is worth keeping; an empty one of a single run is removed again."""
    if not keep:
        with contextlib.suppress(OSError):
            folder.rmdir()
    if folder.is_dir():
        with contextlib.suppress(OSError):
            (folder / "error.txt").write_text(words + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
