"""Files written whole or not at all; those of tensors read without running what is in them."""

import contextlib
import hashlib
import json
import os
import pickletools
import re
import shutil
import socket
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, TypeVar

import torch
from filelock import FileLock, Timeout
from torch import Tensor

from gantrain.errors import GantrainError

PART = ".part"
LONGEST_NAME = 200
"""Bytes of a cached file's name; file systems take 255, and a part of a write has a longer one."""
ENTRY = "entry"
"""In a cached file: the name that it was written under."""
RECORDS = r"(data\.pkl|byteorder|version|data/\d+|\.format_version|\.storage_alignment|\.data/serialization_id)"
"""What `torch.save` puts into its archive."""
REBUILT = frozenset(
    {
        *("collections OrderedDict", "torch Size"),
        *(f"torch._utils _rebuild_{what}" for what in ("tensor", "tensor_v2", "parameter")),
        *(f"torch {kind}Storage" for kind in ("Bool", "Byte", "Char", "Short", "Int", "Long", "Half", "BFloat16")),
        *(f"torch {kind}Storage" for kind in ("Float", "Double", "ComplexFloat", "ComplexDouble")),
    }
)
"""All that tensors and plain containers name in a pickle. torch's own list has what allocates at a word, bytearray."""
T = TypeVar("T")


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


def set_aside(path: Path, name: str | None = None) -> Path:
    """Renames a damaged file to `name`, else NAME.damaged, with .2 and so on where that is taken; gives its path."""
    name = name or f"{path.name}.damaged"
    number, place = 1, path.with_name(name)
    while place.exists():
        number += 1
        place = path.with_name(f"{name}.{number}")
    return path.rename(place)


class UnusableFolderError(GantrainError):
    """A folder that cannot be made or written, with the way out."""


class UnreadableFileError(GantrainError):
    """A file that does not hold what `torch.save` writes of tensors and plain containers."""


def load_safely(path: Path, *, by_old_torch: bool = False) -> Any:
    """What `save_atomically` wrote, on the CPU; code in the file is refused, not run.

    Before torch opens it, its checksums are compared (`torch.load` by itself takes tensors with flipped bits for good).
    It may hold nothing but what `torch.save` writes of tensors and plain containers, and no more than it is long.

    Args:
        path: the file.
        by_old_torch: whether it may be of before torch 1.6, in a form without checksums.

    Raises:
        UnreadableFileError: the file is damaged, of another kind, or would run code.
    """
    try:
        with path.open("rb") as file:
            _check_content(file, by_old_torch=by_old_torch)
            file.seek(0)
            return torch.load(file, weights_only=True, map_location="cpu")
    except Exception as error:  # a damaged file makes torch raise nearly anything; all of it means the same
        reason = str(error).splitlines()[0].split(". ")[0][:300] if str(error) else type(error).__name__
        if "weights_only" in reason or "Weights only" in reason:  # torch's own way out would run what is in the file
            reason = "it is damaged, or holds more than tensors and plain containers"
        raise UnreadableFileError(reason) from None


def _check_content(file: IO[bytes], *, by_old_torch: bool) -> None:
    """Reads a file of `torch.save` against the CRC-32 of each of its records, and what its pickle names.

    Raises:
        UnreadableFileError: a checksum does not agree, or there is more in it than tensors and plain containers.
    """
    if not zipfile.is_zipfile(file):
        if not by_old_torch:
            raise UnreadableFileError("it is damaged, or nothing that torch.save writes")
        file.seek(0)
        for _ in range(5):  # magic number, protocol, system, content, names of storages
            _check_pickle(file)
        return
    size = file.seek(0, os.SEEK_END)
    with zipfile.ZipFile(file) as archive:
        records = archive.infolist()
        names = [record.filename.casefold() for record in records]
        top = re.escape(records[0].filename.split("/")[0]) if records else ""
        for record in records:
            if re.fullmatch(f"{top}/{RECORDS}", record.filename) is None:
                raise UnreadableFileError(f"its record {record.filename[:100]!r} is none of torch.save")
        if len(set(names)) < len(names):
            raise UnreadableFileError("it has a record twice")
        plain = all(record.compress_type == zipfile.ZIP_STORED for record in records)
        if not plain or sum(record.file_size for record in records) > size:
            raise UnreadableFileError("its records are longer than the file")
        broken = archive.testzip()
        if broken is not None:
            raise UnreadableFileError(f"the checksum of {broken} does not agree")
        for record in records:
            if record.filename.endswith("/data.pkl"):
                with archive.open(record) as pickled:
                    _check_pickle(pickled)


def _check_pickle(file: IO[bytes]) -> None:
    """Reads a pickle without doing what it says.

    Raises:
        UnreadableFileError: it names more than tensors and plain containers are made of.
    """
    for operation, argument, _ in pickletools.genops(file):
        if operation.name in ("GLOBAL", "INST"):
            named = str(argument)
            if named not in REBUILT and not re.fullmatch(r"torch (b?float|u?int|complex)\d+", named):
                raise UnreadableFileError(
                    f"it names {named.replace(' ', '.')[:100]!r}, and tensors and plain containers need none"
                )
        elif operation.name in ("STACK_GLOBAL", "EXT1", "EXT2", "EXT4", "PERSID"):
            raise UnreadableFileError("it is damaged, or holds more than tensors and plain containers")


def cached_path(*words: str) -> Path:
    """Where the cache has what is known by these words; they become the name, too long ones in part."""
    name = "-".join(words)
    if len(name.encode(errors="surrogateescape")) > LONGEST_NAME or not name.isprintable() or "/" in name:
        digest = hashlib.sha1(name.encode(errors="surrogateescape")).hexdigest()[:12]
        name = f"{re.sub(r'[^a-zA-Z0-9.-]', '_', name)[: LONGEST_NAME - 20]}-{digest}"
    return cache_folder() / f"{name}.pt"


def save_cached(content: dict[str, Any], path: Path) -> None:
    """Writes a cached file with the name that it is to be read by."""
    save_atomically({ENTRY: path.name, **content}, path)


def load_cached(path: Path, read: Callable[[dict[str, Any]], T]) -> T | None:
    """What `read` makes of a cached file; None where there is none or it is not believed, which is said.

    Args:
        path: the file.
        read: takes what `save_cached` took; whatever it raises tells that the content is not as it should be.
    """
    if not path.is_file():
        return None
    try:
        content = load_safely(path)
        if not isinstance(content, dict) or content.get(ENTRY) != path.name:
            raise UnreadableFileError("it is another entry's, or of another version")
        return read(content)
    except Exception as error:  # what is in it may be anything
        reason = str(error).splitlines()[0][:300] if str(error) else type(error).__name__
        print(f"the cached {str(path)!r} is damaged ({reason}); computing it anew", file=sys.stderr)
        return None


def expect_tensor(value: object, shape: tuple[int, ...], dtype: torch.dtype, what: str) -> Tensor:
    """A tensor that was read from a file, as it should be.

    Raises:
        UnreadableFileError: it is none, of another shape or type, or holds what is not finite.
    """
    if not isinstance(value, Tensor) or value.layout != torch.strided or value.is_quantized or value.is_meta:
        raise UnreadableFileError(f"{what} is no tensor")
    if value.shape != shape or value.dtype != dtype:
        raise UnreadableFileError(f"{what} is {value.dtype} {list(value.shape)[:8]}, not {dtype} {list(shape)}")
    if not bool(value.isfinite().all()):
        raise UnreadableFileError(f"{what} holds what is not finite")
    return value


def expect_state(state: object, wanted: Mapping[str, Tensor], what: str) -> dict[str, Tensor]:
    """A network's state dict that was read from a file, as it should be.

    Raises:
        UnreadableFileError: it has other names, or tensors that are not as `wanted` has them.
    """
    if not isinstance(state, Mapping):
        raise UnreadableFileError(f"{what} is no state dict")
    wrong = [name for name in wanted if name not in state] + [str(name) for name in state if name not in wanted]
    if wrong:
        raise UnreadableFileError(f"{what}: {len(wrong)} entries are missing or unknown, {wrong[0][:100]!r} first")
    return {
        name: expect_tensor(state[name], tuple(value.shape), value.dtype, f"{what}'s {name}")
        for name, value in wanted.items()
    }


def as_count(saved: object, most: int, what: str) -> int:
    """A count that was read from a file.

    Raises:
        UnreadableFileError: it is none between 0 and `most`.
    """
    if type(saved) is not int or not 0 <= saved <= most:
        raise UnreadableFileError(f"{what} is no count between 0 and {most}")
    return saved


def put(saved: object, place: Tensor, what: str) -> None:
    """Copies a tensor that was read from a file to where one of its shape and type lies.

    Raises:
        UnreadableFileError: it is none such.
    """
    place.copy_(expect_tensor(saved, tuple(place.shape), place.dtype, what))


class BusyError(GantrainError):
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
