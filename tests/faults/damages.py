"""Ways to damage a file, as disks, power cuts and users do."""

import random
from collections.abc import Callable
from pathlib import Path

Damage = Callable[[Path, int], None]
"""Damages a file; takes its path and a seed."""


def flip_bits(path: Path, seed: int) -> None:
    content = bytearray(path.read_bytes())
    chosen = random.Random(seed)
    for _ in range(8):  # in the middle of the file, where the tensors are
        content[chosen.randrange(len(content) // 4, 3 * len(content) // 4)] ^= 1 << chosen.randrange(8)
    path.write_bytes(content)


def truncate(path: Path, seed: int) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: random.Random(seed).randrange(len(content))])


def delete(path: Path, _: int) -> None:
    path.unlink()


def fill_with_zeros(path: Path, _: int) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def empty(path: Path, _: int) -> None:
    path.write_bytes(b"")


DAMAGES: dict[str, Damage] = {
    "flipped bits": flip_bits,
    "truncated": truncate,
    "deleted": delete,
    "filled with zeros": fill_with_zeros,
    "emptied": empty,
}
