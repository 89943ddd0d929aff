"""Checkpoints: one file with everything that a run needs to go on exactly."""

import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gantrain.atomic_io import UnreadableFileError, expect_state, load_safely, save_atomically, set_aside
from gantrain.errors import GantrainError

FORMAT = 2
LONGEST_TEXT = 10_000
"""Characters of a value of the configuration, or of a class's name."""
DEEPEST, MOST_VALUES = 6, 1_000_000
"""Of a configuration: levels, and values in one of them."""
LAST, BEST = "last.pt", "best.pt"
READ_FROM = "read_from"
PREVIOUS = "previous.pt"
"""What last.pt was before: the way back where that one is damaged."""


class CheckpointError(GantrainError):
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
    found = content.get("format") if isinstance(content, dict) else content
    if type(found) is not int:
        found = type(found).__name__
    if not isinstance(content, dict) or found != FORMAT:
        raise CheckpointError(
            f"{str(path)!r} has checkpoint format {found!r:.50}, and this gantrain reads {FORMAT}; use the version "
            "that wrote it (run.json names it)"
        )
    lacks = [key for key, fits in PARTS.items() if not fits(content.get(key))]
    lacks += [key for key, fits in FURTHER_PARTS.items() if key in content and not fits(content[key])]
    if lacks:
        raise CheckpointError(
            f"{str(path)!r} is no whole checkpoint: {', '.join(lacks)} missing or of the wrong kind; copy {BEST} of "
            f"the same folder over {LAST} to go on from there, or start the run anew"
        )
    return content


def load_network(network: nn.Module, state: object, what: str) -> None:
    """Loads weights and buffers that a checkpoint holds, after they have been looked at.

    Raises:
        UnreadableFileError: they are another network's, of another type, or not finite.
    """
    network.load_state_dict(expect_state(state, network.state_dict(), what))


def _is_dict(value: object) -> bool:
    return isinstance(value, dict)


def _is_count(value: object) -> bool:
    return type(value) is int and 0 <= value < 2**62


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_text(value: object) -> bool:
    return isinstance(value, str) and len(value) <= LONGEST_TEXT


def _are_texts(value: object) -> bool:
    return isinstance(value, list) and all(map(_is_text, value))


def _are_figures(value: object) -> bool:
    return isinstance(value, dict) and all(_is_text(key) and _is_number(inner) for key, inner in value.items())


def _is_tree(value: object) -> bool:
    """Whether it is of what YAML has, nested no deeper and with no more in it than a configuration.

    In a pickle a list may hold another one a thousand times, and that one the next: few bytes with no end.
    """
    level = [value]
    for _ in range(DEEPEST):
        below: list[object] = []
        for inner in level:
            if isinstance(inner, dict):
                below += inner.keys()
                below += inner.values()
            elif isinstance(inner, list):
                below += inner
            elif not (inner is None or isinstance(inner, bool) or _is_number(inner) or _is_text(inner)):
                return False
            if len(below) > MOST_VALUES:
                return False
        level = below
    return not level


def _is_best(value: object) -> bool:
    if not isinstance(value, dict):
        return False
    texts = _is_text(value.get("name")) and _is_text(value.get("headline"))
    return not value or (texts and _is_number(value.get("value")) and _is_count(value.get("step")))


def _is_doctor(value: object) -> bool:
    if not isinstance(value, dict) or not isinstance(value.get("rows"), list):
        return False
    return _are_texts(value.get("told")) and all(_are_figures(row) and "step" in row for row in value["rows"])


def _are_logs(value: object) -> bool:
    """What a run folder gives to be kept: packed rows, and length and checksum of event files."""
    if not isinstance(value, dict) or not isinstance(value.get("events"), list):
        return False
    rows = value.get("rows")
    packed = isinstance(rows, Tensor) and rows.dtype == torch.uint8 and rows.dim() == 1 and rows.is_contiguous()
    sums = (isinstance(pair, list) and len(pair) == 2 and all(map(_is_count, pair)) for pair in value["events"])
    return packed and all(sums)


PARTS: dict[str, Callable[[object], bool]] = {
    "step": _is_count,
    "config": lambda value: isinstance(value, dict) and _is_tree(value),
    "classes": _are_texts,
    "generator": _is_dict,
    "discriminator": _is_dict,
    "batches": _is_dict,
    "train_step": _is_dict,
}
"""What every checkpoint has."""
FURTHER_PARTS: dict[str, Callable[[object], bool]] = {
    "ema": _is_dict,
    "ema_updates": _is_count,
    "best": _is_best,
    "metric_values": _are_figures,
    "seconds": lambda value: isinstance(value, int | float) and 0 <= value < math.inf,
    "diagnostics": _is_dict,
    "doctor": _is_doctor,
    "logs": _are_logs,
}
"""What it may have besides, where what reads it would not find out."""
