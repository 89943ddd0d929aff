"""metrics.jsonl: one JSON object per line, appended while a run trains."""

import json
import logging
import math
import os
from pathlib import Path
from typing import Any

from gantrain.errors import GantrainError
from gantrain.options import is_number
from gantrain.system.atomic_io import replace_text, set_aside

METRICS = "metrics.jsonl"
LARGEST_STEP = 2**53
"""Above this a float cannot represent every integer."""

log = logging.getLogger(__name__)


class RunFolderError(GantrainError):
    """A run folder that cannot be used; the message says what to do."""


class RowWriter:
    """Appends rows to metrics.jsonl."""

    def __init__(self, path: Path, *, resume_step: int | None = None) -> None:
        """Creates the file, or keeps its rows up to `resume_step` and appends to it."""
        if resume_step is not None:
            _cut(path, resume_step)
        self._file = path.open("a", encoding="utf-8", newline="\n")

    def write(self, row: dict[str, Any]) -> None:
        """Appends a row; values that are not finite become null."""
        self._file.write(json.dumps(finite(row), ensure_ascii=False, allow_nan=False) + "\n")
        self._file.flush()

    def sync(self) -> None:
        """Flushes all rows to disk, so that they survive a power cut."""
        self._file.flush()
        os.fsync(self._file.fileno())

    def close(self) -> None:
        """Closes the file."""
        self._file.close()


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a metrics.jsonl, without a last line that was cut off by a kill.

    Raises:
        RunFolderError: another line is damaged.
    """
    lines, damaged = _parse(path)
    if damaged:
        raise RunFolderError(f"{str(path)!r} is damaged in line {damaged[0]}; repair or remove that line")
    return [row for _, row in lines]


def finite(value: Any) -> Any:
    """The value with NaN and infinity replaced by None, since JSON has neither."""
    if isinstance(value, dict):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _cut(path: Path, step: int) -> None:
    """Keeps the rows up to a checkpoint's step, since later ones are written again.

    A file with damaged lines is kept under another name, and a warning lists the lines.
    """
    if not path.is_file():
        if step:
            log.warning("%r is missing: its rows up to step %d are lost", str(path), step)
        return
    lines, damaged = _parse(path)
    kept = "".join(f"{line}\n" for line, row in lines if row["step"] <= step)
    if damaged:
        numbers = ", ".join(map(str, damaged[:5])) + (", ..." if len(damaged) > 5 else "")
        log.warning(
            "%r is damaged in line %s: it is kept as %s, and the run continues without these rows",
            str(path),
            numbers,
            set_aside(path).name,
        )
    replace_text(path, kept)


def _parse(path: Path) -> tuple[list[tuple[str, dict[str, Any]]], list[int]]:
    """Lines with their rows, and the numbers of damaged lines; a damaged last line is a write that was cut off."""
    lines = path.read_bytes().decode("utf-8", errors="replace").split("\n") if path.is_file() else [""]
    if not lines[-1]:
        lines.pop()
    found, damaged = [], []
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if _is_row(row):
            found.append((line, row))
        elif number < len(lines):
            damaged.append(number)
    return found, damaged


def _is_row(row: Any) -> bool:
    """Whether a row has the required fields."""
    if not isinstance(row, dict) or not isinstance(row.get("kind"), str):
        return False
    if type(row.get("step")) is not int or not 0 <= row["step"] < LARGEST_STEP:
        return False
    if row["kind"] == "doctor":
        return isinstance(row.get("name"), str)
    if row["kind"] != "metric":
        return True
    protocol = row.get("protocol")
    named = isinstance(row.get("name"), str) and isinstance(protocol, dict) and isinstance(protocol.get("network"), str)
    return named and "value" in row and (row["value"] is None or is_number(row["value"]))
