"""What is done to files: by a disk, a power cut, or a careless hand."""

import random
from collections.abc import Callable
from pathlib import Path

Damage = Callable[[Path, int], None]
"""A file and a seed."""


def flip_bits(path: Path, seed: int) -> None:
    content = bytearray(path.read_bytes())
    chosen = random.Random(seed)
    for _ in range(8):  # in the middle of the file, where tensors lie
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
    "zeros, as a power cut leaves them": fill_with_zeros,
    "emptied": empty,
}
