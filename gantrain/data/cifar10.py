"""CIFAR-10 (Krizhevsky 2009), read and downloaded by torchvision."""

import contextlib
import logging
import os
import socket
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import torch

from gantrain.data.images import DataError, ImageSet
from gantrain.data.spec import DatasetSpec

DOWNLOAD_TIMEOUT = 60.0
"""Seconds without data after which a download fails."""

log = logging.getLogger(__name__)


def cifar10_root(root: str | None) -> Path:
    """The folder that is searched for CIFAR-10: `root`, else $GANTRAIN_DATA, else ./data."""
    return Path(root or os.environ.get("GANTRAIN_DATA") or "data")


def prepare_cifar10(root: Path) -> None:
    """Downloads CIFAR-10 to `root`, unless its published files are there.

    Raises:
        DataError: the files are missing or damaged, and cannot be downloaded.
    """
    from torchvision.datasets import CIFAR10
    from torchvision.datasets.utils import download_and_extract_archive

    if _is_intact(root):
        return
    log.info("CIFAR-10 is not under %s: downloading it (170 MB)", root.resolve())
    new = not root.exists()
    try:
        root.mkdir(parents=True, exist_ok=True)
        with contextlib.redirect_stdout(sys.stderr), _socket_timeout(DOWNLOAD_TIMEOUT):
            download_and_extract_archive(CIFAR10.url, str(root), filename=CIFAR10.filename, md5=CIFAR10.tgz_md5)
        CIFAR10(str(root), train=True, download=False)
    except (OSError, RuntimeError, EOFError, tarfile.TarError) as error:
        damaged = (root / CIFAR10.base_folder).is_dir()
        if new:
            with contextlib.suppress(OSError):
                root.rmdir()  # only if it is empty
        reason = " ".join(str(error).split())[:300]
        raise DataError(
            f"data.root={str(root)!r} contains {'a damaged' if damaged else 'no'} CIFAR-10, and downloading it failed "
            f"({reason}). Either copy cifar-10-python.tar.gz or cifar-10-batches-py/ from a machine that has "
            "it into that folder, or set data.root or GANTRAIN_DATA to a folder that contains it, or use data=digits, "
            "which needs no files"
        ) from None


def load_cifar10(root: Path, split: str) -> ImageSet:
    """The `train` (50,000) or `test` (10,000) images under `root`, on the CPU; call `prepare_cifar10` first.

    The files are pickles, which could run code: torchvision checks their md5 sums before it opens them.

    Raises:
        DataError: the files have changed since `prepare_cifar10`.
    """
    from torchvision.datasets import CIFAR10

    try:
        data = CIFAR10(str(root), train=split == "train", download=False)
    except (OSError, RuntimeError) as error:
        raise DataError(
            f"data.root={str(root)!r}: the CIFAR-10 files have changed since the start of this run ({error}); "
            "start again"
        ) from None
    images = torch.from_numpy(data.data).permute(0, 3, 1, 2).contiguous()
    return ImageSet(f"cifar10-{split}", images, torch.tensor(data.targets), tuple(data.classes))


@contextlib.contextmanager
def _socket_timeout(seconds: float) -> Iterator[None]:
    """Sets a connection timeout, which torchvision lacks."""
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(before)


def _is_intact(root: Path) -> bool:
    """Whether torchvision finds every published file with its md5 sum (it does not need the archive)."""
    from torchvision.datasets import CIFAR10

    try:
        CIFAR10(str(root), train=True, download=False)
    except (RuntimeError, OSError):
        return False
    return True


SPEC = DatasetSpec(
    name="cifar10",
    title="ten classes of photographs",
    load=lambda options, split: load_cifar10(cifar10_root(options.root), split),
    prepare=lambda options: prepare_cifar10(cifar10_root(options.root)),
    image_size=32,
    note="CIFAR-10 (Krizhevsky 2009), a labeled part of the 80 Million Tiny Images, comes without a license; its "
    "authors ask to be cited. The images were collected from the web.",
)
