"""Checkpoints: one file with everything that a run needs to go on exactly."""

import sys
from pathlib import Path
from typing import Any

from gantrain.files import UnreadableFileError, load_safely, save_atomically, set_aside

FORMAT = 2
PARTS = {
    "step": int,
    "config": dict,
    "classes": list,
    "generator": dict,
    "discriminator": dict,
    "batches": dict,
    "iteration": dict,
}
LAST, BEST = "last.pt", "best.pt"
READ_FROM = "read_from"
PREVIOUS = "previous.pt"
"""What last.pt was before: the way back where that one is damaged."""


class CheckpointError(ValueError):
    """A checkpoint that is missing, damaged or does not fit, with the way out."""


def save_checkpoint(content: dict[str, Any], path: Path) -> None:
    """Writes tensors and plain containers under a temporary name, then renames: never half a file.

    Of last.pt the one before is kept beside it as previous.pt.
    """
    kept = path.with_name(PREVIOUS) if path.name == LAST else None
    save_atomically({"format": FORMAT, **content}, path, kept=kept)


def is_begun(folder: Path) -> bool:
    """Whether a run's folder holds a checkpoint to go on from, whatever its state."""
    return any((folder / name).is_file() for name in (LAST, PREVIOUS))


def load_newest(folder: Path) -> dict[str, Any]:
    """A run's last.pt; where that is damaged or gone, the one before it, which is said.

    Raises:
        CheckpointError: neither can be read; the message is about last.pt.
    """
    try:
        return load_checkpoint(folder / LAST)
    except CheckpointError as error:
        if not (folder / PREVIOUS).is_file():
            raise
        try:
            found = load_checkpoint(folder / PREVIOUS)
        except CheckpointError:
            raise error from None
        what = str(error).split("; ")[0]
        print(f"gantrain: warning: {what}. Going on from {PREVIOUS}, step {found['step']}", file=sys.stderr)
        return found | {READ_FROM: PREVIOUS}


def set_aside_damaged(folder: Path, state: dict[str, Any]) -> None:
    """Before a run goes on from previous.pt: the damaged last.pt is kept under another name, not as the next previous.

    Args:
        folder: of the run.
        state: what `load_newest` gave.
    """
    damaged = folder / LAST
    if state.get(READ_FROM) == PREVIOUS and damaged.is_file():
        set_aside(damaged)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """The dictionary that `save_checkpoint` took, on the CPU; code in the file is refused.

    Raises:
        CheckpointError: no such file, a damaged one, or one of another format.
    """
    if not path.is_file():
        raise CheckpointError(
            f"{str(path)!r} does not exist; resume takes a run's folder with {LAST} in it, sweep.resume a sweep's"
        )
    try:
        content = load_safely(path)
    except UnreadableFileError as error:
        raise CheckpointError(
            f"{str(path)!r} cannot be read as a checkpoint ({error}); copy {BEST} of the same folder "
            f"over {LAST} to go on from there, or start the run anew"
        ) from None
    found = content.get("format") if isinstance(content, dict) else type(content).__name__
    if not isinstance(content, dict) or found != FORMAT:
        raise CheckpointError(
            f"{str(path)!r} has checkpoint format {found!r}, and this gantrain reads {FORMAT}; use the version "
            "that wrote it (run.json names it)"
        )
    lacks = [key for key, kind in PARTS.items() if not isinstance(content.get(key), kind)]
    if lacks:
        raise CheckpointError(
            f"{str(path)!r} is no whole checkpoint: {', '.join(lacks)} missing or of the wrong kind; copy {BEST} of "
            f"the same folder over {LAST} to go on from there, or start the run anew"
        )
    return content
