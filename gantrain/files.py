"""Files written whole or not at all; those of tensors read without running what is in them."""

import contextlib
import hashlib
import json
import os
import shutil
import socket
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from filelock import FileLock, Timeout
from torch import Tensor

PART = ".part"


def cache_folder() -> Path:
    """$GANTRAIN_CACHE, else gantrain under the user's cache folder; made if it is not there."""
    base = os.environ.get("GANTRAIN_CACHE")
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(base) if base else Path(home) / "gantrain"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnusableFolderError(
            f"the cache folder {str(folder)!r} cannot be made ({error}); set GANTRAIN_CACHE to one that can be written"
        ) from None
    return folder


def tensor_digest(tensor: Tensor) -> str:
    """sha1 of a tensor's content, first 12 digits: what cached results of it are known by."""
    return hashlib.sha1(tensor.cpu().contiguous().numpy().tobytes()).hexdigest()[:12]


def save_atomically(content: object, path: Path, *, kept: Path | None = None) -> None:
    """`torch.save` under a temporary name beside `path`, flushed to disk, then renamed over it.

    Args:
        content: tensors and plain containers.
        path: the file.
        kept: under which name, in the same folder, what `path` held until now stays; at every moment one of them is
            whole.
    """
    handle, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=PART)
    try:
        with os.fdopen(handle, "wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        umask = os.umask(0)
        os.umask(umask)
        Path(part).chmod(0o666 & ~umask)  # mkstemp keeps everyone else out
        if kept is not None and path.exists():
            _keep(path, kept)
        os.replace(part, path)
        _flush_names(path.parent)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise


def _keep(path: Path, kept: Path) -> None:
    """Gives a file a second name in place of what had that; on file systems without links, the name alone."""
    link = kept.with_name(f".{kept.name}{PART}")
    link.unlink(missing_ok=True)
    try:
        os.link(path, link)
    except OSError:
        os.replace(path, kept)
        return
    try:
        os.replace(link, kept)
    finally:
        link.unlink(missing_ok=True)  # a rename of a file over its own link leaves both


def _flush_names(folder: Path) -> None:
    """Has a rename outlive a power cut, where the system can be asked for that."""
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def replace_text(path: Path, text: str, *, durable: bool = True) -> None:
    """Writes beside the file, then renames over it: never half a file.

    `durable` waits for the disk, so that it outlives a power cut too.
    """
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


def set_aside(path: Path) -> Path:
    """Renames a damaged file to NAME.damaged, or NAME.damaged.2 and so on where that is taken; gives the new path."""
    number, place = 1, path.with_name(f"{path.name}.damaged")
    while place.exists():
        number += 1
        place = path.with_name(f"{path.name}.damaged.{number}")
    return path.rename(place)


class UnusableFolderError(ValueError):
    """A folder that cannot be made or written, with the way out."""


class UnreadableFileError(ValueError):
    """A file that does not hold what `torch.save` writes of tensors and plain containers."""


def load_safely(path: Path) -> Any:
    """What `save_atomically` wrote, on the CPU; code in the file is refused, not run.

    Its checksums are compared first: `torch.load` by itself takes tensors with flipped bits for good.

    Raises:
        UnreadableFileError: the file is damaged, of another kind, or would run code.
    """
    try:
        _check_sums(path)
        return torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:  # a damaged file makes torch raise nearly anything; all of it means the same
        reason = str(error).splitlines()[0].split(". ")[0] if str(error) else type(error).__name__
        if "weights_only" in reason or "Weights only" in reason:  # torch's own way out would run what is in the file
            reason = "it is damaged, or holds more than tensors and plain containers"
        raise UnreadableFileError(reason) from None


def _check_sums(path: Path) -> None:
    """Reads a file of `torch.save` against the CRC-32 of each of its records.

    Raises:
        UnreadableFileError: one does not agree.
    """
    if not zipfile.is_zipfile(path):
        return  # of an older torch, or none: torch.load tells
    with zipfile.ZipFile(path) as archive:
        broken = archive.testzip()
    if broken is not None:
        raise UnreadableFileError(f"the checksum of {broken} does not agree")


class BusyError(ValueError):
    """A folder that another process is at work in."""


@contextlib.contextmanager
def held(lock: Path, what: str) -> Iterator[None]:
    """Keeps out other processes that ask for the same file; the system lets go when this one ends, however it does.

    Args:
        lock: the file, made if it is not there; it stays. Beside it lies who holds it, see `owner_of`.
        what: what is held, for the refusal.

    Raises:
        BusyError: another process holds it; the message names that.
        UnusableFolderError: the folder cannot be written.
    """
    ours = FileLock(lock)
    try:
        ours.acquire(timeout=0)
    except Timeout:
        raise BusyError(f"{what} is in use by {_owner(lock)}; wait for it, or end it first") from None
    except OSError as error:
        raise UnusableFolderError(
            f"{what} cannot be written ({error}); make its folder writable, or copy it to one that is"
        ) from None
    owner = owner_of(lock)
    try:
        with contextlib.suppress(OSError):  # the disk may be full: then a refusal names nobody
            content = {"pid": os.getpid(), "host": socket.gethostname(), "command": sys.argv, "since": time.ctime()}
            replace_text(owner, json.dumps(content) + "\n")
        yield
    finally:
        with contextlib.suppress(OSError):
            owner.unlink(missing_ok=True)
        ours.release()


def owner_of(lock: Path) -> Path:
    """Where it stands who holds a lock; left behind by a process that was killed."""
    return lock.with_name(f"{lock.name}.owner")


def _owner(lock: Path) -> str:
    try:
        found = json.loads(owner_of(lock).read_text(encoding="utf-8"))
        command = " ".join(map(str, found["command"]))[:200]
        return f"process {found['pid']} on {found['host']} since {found['since']} ({command!r})"
    except (OSError, ValueError, TypeError, LookupError):
        return "another process"


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """A place beside `path` for a new file or folder of that name; renamed to it at the end, gone if anything fails.

    Raises:
        FileExistsError: something stands at `path` by then.
    """
    place = Path(tempfile.mkdtemp(dir=path.parent, prefix=f".{path.name}.", suffix=PART))
    try:
        yield place / path.name
        if path.exists():
            raise FileExistsError(f"{str(path)!r} exists by now, and nothing is overwritten")
        (place / path.name).rename(path)
    finally:
        shutil.rmtree(place, ignore_errors=True)
