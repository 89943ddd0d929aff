"""metrics.jsonl: a JSON object a line, appended while a run goes on; and the same compressed, for checkpoints."""

import json
import math
import sys
import zlib
from pathlib import Path
from typing import Any

from gantrain.atomic_io import replace_text, set_aside
from gantrain.errors import GantrainError
from gantrain.options import is_number

METRICS = "metrics.jsonl"
MOST_ROWS, MOST_RATIO = 1 << 30, 64
"""Bytes that packed rows may have, or how many for a packed one: JSON has some ten, a bomb a thousand."""
LARGEST_STEP = 2**53
"""Beyond it a float skips whole numbers; no run comes near."""


class RunFolderError(GantrainError):
    """A run folder that cannot be used, with the way out."""


class Rows:
    """Writes metrics.jsonl."""

    def __init__(self, path: Path, *, resume_step: int | None = None, packed: bytes | None = None) -> None:
        """Begins the file, or goes on with it.

        Args:
            path: of the file.
            resume_step: later rows are dropped, since they come again; None begins.
            packed: what `packed` gave for the checkpoint; a file that does not hold that is kept under another name
                and written anew. None believes the file.

        Raises:
            RunFolderError: `packed` is None and the file is damaged, or `packed` was not given by `packed`.
        """
        self._compressor, self._packed = zlib.compressobj(), bytearray()
        if resume_step is not None:
            if packed is None:
                kept = _until(resume_step, _parsed(path, _text(path)))
            else:
                kept = _recovered(path, packed, resume_step)
            if path.is_file() or kept:
                replace_text(path, kept)
            self._pack(kept)
        self._file = path.open("a", encoding="utf-8", newline="\n")

    def write(self, row: dict[str, Any]) -> None:
        """Appends a row; what is not finite becomes null."""
        line = json.dumps(finite(row), ensure_ascii=False, allow_nan=False) + "\n"
        self._file.write(line)
        self._file.flush()
        self._pack(line)

    def packed(self) -> bytes:
        """All that is in the file, compressed by zlib."""
        return bytes(self._packed) + self._compressor.copy().flush()

    def flush(self) -> None:
        """Everything written is on its way to disk."""
        self._file.flush()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def _pack(self, text: str) -> None:
        self._packed += self._compressor.compress(text.encode("utf-8"))


def read_rows(path: Path) -> list[dict[str, Any]]:
    """The rows of a metrics.jsonl; a last line cut off by a kill is left out.

    Raises:
        RunFolderError: another line is damaged.
    """
    return [row for _, row in _parsed(path, _text(path))]


def finite(value: Any) -> Any:
    """JSON has no NaN and no infinity: they become null."""
    if isinstance(value, dict):
        return {key: finite(inner) for key, inner in value.items()}
    if isinstance(value, list):
        return [finite(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _parsed(path: Path, text: str) -> list[tuple[str, dict[str, Any]]]:
    lines = text.split("\n")
    if not lines[-1]:
        lines.pop()
    found = []
    for number, line in enumerate(lines, start=1):
        try:
            row = json.loads(line)
            if not _is_row(row):
                raise ValueError("no row")
        except (ValueError, RecursionError):
            if number < len(lines):
                raise RunFolderError(
                    f"{str(path)!r} is damaged in line {number} of {len(lines)}; repair or remove that line"
                ) from None
        else:
            found.append((line, row))
    return found


def _is_row(row: Any) -> bool:
    """Whether it has what readers of rows count on."""
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


def _text(path: Path) -> str:
    return path.read_bytes().decode("utf-8", errors="replace") if path.is_file() else ""


def _until(step: int, rows: list[tuple[str, dict[str, Any]]]) -> str:
    return "".join(f"{line}\n" for line, row in rows if row["step"] <= step)


def _recovered(path: Path, packed: bytes, step: int) -> str:
    """The rows of a checkpoint up to its step, which the file begins with; where it does not, it is set aside.

    A checkpoint that has waited for what was measured has later rows too, which an earlier start may have dropped.
    """
    try:
        unpacker = zlib.decompressobj()
        saved = unpacker.decompress(packed, max(MOST_ROWS, MOST_RATIO * len(packed)))
        rows = _parsed(path, saved.decode("utf-8"))
        if not unpacker.eof or (saved and not saved.endswith(b"\n")) or saved.count(b"\n") != len(rows):
            raise ValueError("they do not end as rows do")
    except (ValueError, zlib.error) as error:
        raise RunFolderError(
            f"the rows in the checkpoint cannot be read ({str(error)[:200]}): {str(path)!r} stays as it is; start the "
            "run anew, or go on from another checkpoint of it"
        ) from None
    there = path.read_bytes() if path.is_file() else b""
    kept_rows = _until(step, rows)
    if not there.startswith(saved) and not there.startswith(kept_rows.encode("utf-8")):
        kept = f"; what is there is kept as {set_aside(path).name}" if there else ""
        print(
            f"gantrain: warning: {str(path)!r} is damaged or gone and is written anew from the checkpoint{kept}",
            file=sys.stderr,
        )
    return kept_rows
