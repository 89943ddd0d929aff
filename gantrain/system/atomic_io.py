"""Atomic writing of files, and reading of tensor files after their checksums are compared."""

import contextlib
import os
import shutil
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch

from gantrain.errors import GantrainError

PART = ".part"
"""Suffix of temporary files."""


class UnusableFolderError(GantrainError):
    """A folder that cannot be created or written; the message says what to do."""


class UnreadableFileError(GantrainError):
    """A file of tensors that is damaged or of another kind."""


def save_atomically(content: object, path: Path, *, previous: Path | None = None) -> None:
    """Writes `torch.save` output to a temporary file, flushes it to disk and renames it to `path`.

    Args:
        content: tensors and plain containers.
        path: the file.
        previous: path in the same folder under which the current file is kept; one of the two files is complete at
            any time.
    """
    handle, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=PART)
    try:
        with os.fdopen(handle, "wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        Path(part).chmod(0o666 & ~umask)  # mkstemp creates files with mode 600
        if previous is not None and path.exists():
            _keep(path, previous)
        os.replace(part, path)
        _sync_folder(path.parent)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise


def _keep(path: Path, previous: Path) -> None:
    """Makes `previous` a hard link to `path`; renames `path` on file systems without links."""
    link = previous.with_name(f".{previous.name}{PART}")
    link.unlink(missing_ok=True)
    try:
        os.link(path, link)
    except OSError:
        os.replace(path, previous)
        return
    try:
        os.replace(link, previous)
    finally:
        link.unlink(missing_ok=True)  # renaming a file over its own link keeps both names


def _sync_folder(folder: Path) -> None:
    """Makes a rename durable, if the system supports it."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def replace_text(path: Path, text: str, *, durable: bool = True) -> None:
    """Writes a temporary file and renames it to `path`; `durable` flushes it to disk first."""
    part = path.with_name(f".{path.name}{PART}")
    try:
        with part.open("w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            if durable:
                os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def create_atomically(path: Path) -> Iterator[Path]:
    """Yields a temporary path for a new file or folder, renamed to `path` at the end and removed after an error.

    Raises:
        FileExistsError: `path` exists.
    """
    folder = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=PART))
    try:
        yield folder / path.name
        if path.exists():
            raise FileExistsError(f"{str(path)!r} was created in the meantime and will not be overwritten")
        (folder / path.name).rename(path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def set_aside(path: Path) -> Path:
    """Renames a damaged file to NAME.damaged, or NAME.damaged.2 and so on; returns the new path."""
    number, target = 1, path.with_name(f"{path.name}.damaged")
    while target.exists():
        number += 1
        target = path.with_name(f"{path.name}.damaged.{number}")
    return path.rename(target)


def load_safely(path: Path, *, legacy: bool = False) -> Any:
    """Loads a file of `torch.save` on the CPU with `weights_only=True`, after its checksums are compared.

    `torch.load` does not compare checksums and would return tensors with flipped bits.

    Args:
        path: the file.
        legacy: whether to accept the format of torch before 1.6 too, which has no checksums.

    Raises:
        UnreadableFileError: the file is damaged or contains more than tensors and plain containers.
    """
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                broken = archive.testzip()
            if broken is not None:
                raise UnreadableFileError(f"wrong checksum of {broken}")
        elif not legacy:
            raise UnreadableFileError("it is damaged, or not a file of torch.save")
        return torch.load(path, weights_only=True, map_location="cpu")
    except UnreadableFileError:
        raise
    except Exception as error:  # zipfile and torch raise many kinds of errors for damaged files
        reason = str(error).splitlines()[0].split(". ")[0][:300] if str(error) else type(error).__name__
        if "weights_only" in reason or "Weights only" in reason:  # torch's message suggests loading the file unsafely
            reason = "it is damaged, or contains more than tensors and plain containers"
        raise UnreadableFileError(reason) from None
