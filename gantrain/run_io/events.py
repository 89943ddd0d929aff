"""TensorBoard's event files: whether they are what a checkpoint knows of them, and in which order they are read."""

import time
import zlib
from collections.abc import Sequence
from pathlib import Path

from gantrain.atomic_io import set_aside

MARK = "tfevents"
END = ".end"
"""The suffix of the event file that tells how a run ended: of its own, so that it can go when the run goes on."""
CHUNK = 1 << 20


class EventSums:
    """Length and CRC-32 of each event file, kept up as they grow."""

    def __init__(self, folder: Path) -> None:
        """Takes TensorBoard's folder of the run."""
        self._folder = folder
        self._known: dict[str, tuple[int, int]] = {}

    def now(self) -> list[list[int]]:
        """[bytes, CRC-32] of each file; what was written must be flushed."""
        for path in event_files(self._folder):
            size, sum_so_far = self._known.get(path.name, (0, 0))
            self._known[path.name] = _sum_of(path, None, start=size, begun=sum_so_far)
        return [list(known) for known in self._known.values()]


def event_files(folder: Path) -> list[Path]:
    """Those of training, in the order in which TensorBoard reads them."""
    return sorted(path for path in folder.glob(f"*{MARK}*") if not path.name.endswith(END))


def are_whole(folder: Path, sums: Sequence[Sequence[int]]) -> bool:
    """Whether for each [bytes, CRC-32] a file begins with that; files may be called otherwise and have grown since."""
    files = event_files(folder)
    for size, expected in sums:
        found = next((p for p in files if p.stat().st_size >= size and _sum_of(p, size) == (size, expected)), None)
        if found is None:
            return False
        files.remove(found)
    return True


def set_events_aside(folder: Path) -> None:
    """Gives event files names that TensorBoard does not read."""
    for path in event_files(folder):
        set_aside(path, path.name.replace(MARK, "damaged"))


def put_in_order(folder: Path) -> None:
    """Has TensorBoard read the present files before a new one.

    It reads them in the order of the seconds since 1970 in their names, and a clock may have been put back.
    """
    limit = int(time.time())
    for path in reversed(event_files(folder)):
        before, _, after = path.name.partition(f"{MARK}.")
        seconds, _, rest = after.partition(".")
        if not seconds.isdigit():
            continue
        limit = min(int(seconds), limit - 1)
        while limit != int(seconds) and (folder / f"{before}{MARK}.{limit:010d}.{rest}").exists():
            limit -= 1
        if limit != int(seconds):
            path.rename(folder / f"{before}{MARK}.{limit:010d}.{rest}")


def _sum_of(path: Path, size: int | None, *, start: int = 0, begun: int = 0) -> tuple[int, int]:
    """Bytes and CRC-32 until there, or to the end; goes on from `begun` at `start`."""
    place, crc = start, begun
    with path.open("rb") as file:
        file.seek(start)
        while part := file.read(CHUNK if size is None else min(CHUNK, size - place)):
            crc, place = zlib.crc32(part, crc), place + len(part)
    return place, crc
