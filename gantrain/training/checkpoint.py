"""Checkpoints: one file with everything that a run needs to continue exactly."""

import logging
from pathlib import Path
from typing import Any

from torch import nn

from gantrain.errors import GantrainError
from gantrain.system.atomic_io import UnreadableFileError, load_safely, save_atomically, set_aside

FORMAT = 3
LAST, BEST = "last.pt", "best.pt"
PREVIOUS = "previous.pt"
"""The checkpoint before last.pt; a run resumes from it if last.pt is damaged."""
READ_FROM = "read_from"
REQUIRED = ("step", "config", "classes", "generator", "discriminator", "batches", "train_step")
"""Keys of every checkpoint."""

log = logging.getLogger(__name__)


class CheckpointError(GantrainError):
    """A checkpoint that is missing, damaged or does not fit; the message says what to do."""


def save_checkpoint(content: dict[str, Any], path: Path) -> None:
    """Writes tensors and plain containers atomically; the old last.pt is kept as previous.pt."""
    previous = path.with_name(PREVIOUS) if path.name == LAST else None
    save_atomically({"format": FORMAT, **content}, path, previous=previous)


def has_checkpoint(folder: Path) -> bool:
    """Whether a run's folder contains a checkpoint to resume from, damaged or not."""
    return any((folder / name).is_file() for name in (LAST, PREVIOUS))


def load_newest(folder: Path) -> dict[str, Any]:
    """Loads a run's last.pt; if it is damaged or missing, previous.pt with a warning.

    Raises:
        CheckpointError: neither can be read; the message is about last.pt.
    """
    try:
        return load_checkpoint(folder / LAST)
    except CheckpointError as error:
        if not (folder / PREVIOUS).is_file():
            raise
        try:
            state = load_checkpoint(folder / PREVIOUS)
        except CheckpointError:
            raise error from None
        log.warning("%s. Resuming from %s, step %d", str(error).split("; ")[0], PREVIOUS, state["step"])
        return state | {READ_FROM: PREVIOUS}


def set_aside_damaged(folder: Path, state: dict[str, Any]) -> None:
    """Renames a damaged last.pt before a run resumes from previous.pt, which it would otherwise replace.

    Args:
        folder: of the run.
        state: returned by `load_newest`.
    """
    damaged = folder / LAST
    if state.get(READ_FROM) == PREVIOUS and damaged.is_file():
        set_aside(damaged)


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Loads the content given to `save_checkpoint`, on the CPU; files that contain code are refused.

    Raises:
        CheckpointError: the file is missing, damaged or of another format.
    """
    if not path.is_file():
        raise CheckpointError(
            f"{str(path)!r} does not exist; resume needs a run's folder with {LAST}, sweep.resume a sweep's folder"
        )
    way_out = f"copy {BEST} of the same folder over {LAST} to continue from there, or start a new run"
    try:
        content = load_safely(path)
    except UnreadableFileError as error:
        raise CheckpointError(f"{str(path)!r} cannot be read as a checkpoint ({error}); {way_out}") from None
    found = content.get("format") if isinstance(content, dict) else type(content).__name__
    if found != FORMAT:
        raise CheckpointError(
            f"{str(path)!r} has checkpoint format {found!r:.50}, but this gantrain reads {FORMAT}; use the version "
            "that wrote it (run.json names it)"
        )
    missing = [key for key in REQUIRED if key not in content]
    if missing:
        raise CheckpointError(f"{str(path)!r} is an incomplete checkpoint without {', '.join(missing)}; {way_out}")
    state: dict[str, Any] = content
    return state


def load_network(network: nn.Module, state: Any, what: str) -> None:
    """Loads weights and buffers of a checkpoint.

    Raises:
        CheckpointError: they do not fit the network.
    """
    try:
        network.load_state_dict(state)
    except (RuntimeError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(f"{what} of the checkpoint does not fit its configuration ({reason})") from None
