"""CIFAR-10 (Krizhevsky 2009) through torchvision."""

import contextlib
import os
import socket
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import torch
from torchvision.datasets import CIFAR10
from torchvision.datasets.utils import download_and_extract_archive

from gantrain.data.images import DataError, ImageSet

SECONDS = 60.0
"""Of silence, after which a download is given up."""


def cifar10_root(root: str | None) -> Path:
    """Where CIFAR-10 is looked for: `root`, else $GANTRAIN_DATA, else ./data."""
    return Path(root or os.environ.get("GANTRAIN_DATA") or "data")


def prepare_cifar10(root: Path) -> None:
    """Makes sure that the published files are under `root`, downloading them if they are not.

    Raises:
        DataError: they are absent or damaged and cannot be downloaded.
    """
    if _is_intact(root):
        return
    print(f"CIFAR-10 is not under {root.resolve()}: downloading it (170 MB)", file=sys.stderr)
    new = not root.exists()
    try:
        root.mkdir(parents=True, exist_ok=True)
        with contextlib.redirect_stdout(sys.stderr), _patience(SECONDS):
            download_and_extract_archive(CIFAR10.url, str(root), filename=CIFAR10.filename, md5=CIFAR10.tgz_md5)
        CIFAR10(str(root), train=True, download=False)
    except (OSError, RuntimeError, EOFError, tarfile.TarError) as error:
        damaged = (root / CIFAR10.base_folder).is_dir()
        if new:
            with contextlib.suppress(OSError):
                root.rmdir()  # only if it is empty
        reason = " ".join(str(error).split())[:300]
        raise DataError(
            f"data.root={str(root)!r} holds {'a damaged' if damaged else 'no'} CIFAR-10, and it cannot be downloaded "
            f"({reason}). Ways out: copy cifar-10-python.tar.gz or cifar-10-batches-py/ from a machine that has "
            "it into that folder; point data.root or GANTRAIN_DATA at a folder that holds it; or use data=digits, "
            "which needs no files"
        ) from None


def load_cifar10(root: Path, split: str) -> ImageSet:
    """The `train` (50,000) or `test` (10,000) images under `root`, on the CPU; `prepare_cifar10` comes first.

    The batches are pickles, which may run code: torchvision compares their md5 before it opens any.

    Raises:
        DataError: they are no longer as they were then.
    """
    try:
        data = CIFAR10(str(root), train=split == "train", download=False)
    except (OSError, RuntimeError) as error:
        raise DataError(
            f"data.root={str(root)!r} holds a CIFAR-10 that was changed since it was looked at ({error}); start again"
        ) from None
    images = torch.from_numpy(data.data).permute(0, 3, 1, 2).contiguous()
    return ImageSet(f"cifar10-{split}", images, torch.tensor(data.targets), tuple(data.classes))


@contextlib.contextmanager
def _patience(seconds: float) -> Iterator[None]:
    """How long a connection may be silent; torchvision would wait without end."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _is_intact(root: Path) -> bool:
    """Whether torchvision finds every published file with its md5 (the archive itself is not needed)."""
    try:
        CIFAR10(str(root), train=True, download=False)
    except (RuntimeError, OSError):
        return False
    return True
