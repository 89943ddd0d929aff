"""Locks that keep a second process out of a folder."""

import contextlib
import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from gantrain.errors import GantrainError
from gantrain.system.atomic_io import UnusableFolderError, replace_text


class BusyError(GantrainError):
    """A folder that another process is using."""


@contextlib.contextmanager
def hold_lock(lock: Path, what: str) -> Iterator[None]:
    """Holds a file lock; the system releases it when the process ends in any way.

    Args:
        lock: the lock file, created if needed and never removed. `owner_file` names the process that holds it.
        what: what is locked, for the error message.

    Raises:
        BusyError: another process holds the lock; the message names it.
        UnusableFolderError: the folder cannot be written.
    """
    from filelock import FileLock, Timeout

    file_lock = FileLock(lock)
    try:
        file_lock.acquire(timeout=0)
    except Timeout:
        raise BusyError(f"{what} is in use by {_owner(lock)}; wait for it to end, or stop it") from None
    except OSError as error:
        raise UnusableFolderError(
            f"{what} cannot be written ({error}); make its folder writable, or copy it to a writable one"
        ) from None
    owner = owner_file(lock)
    try:
        with contextlib.suppress(OSError):  # on a full disk, messages of other processes cannot name this one
            content = {"pid": os.getpid(), "host": socket.gethostname(), "command": sys.argv, "since": time.ctime()}
            replace_text(owner, json.dumps(content) + "\n")
        yield
    finally:
        with contextlib.suppress(OSError):
            owner.unlink(missing_ok=True)
        file_lock.release()


def owner_file(lock: Path) -> Path:
    """The file that names the process that holds a lock; a killed process leaves it behind."""
    return lock.with_name(f"{lock.name}.owner")


def _owner(lock: Path) -> str:
    try:
        owner = json.loads(owner_file(lock).read_text(encoding="utf-8"))
        command = " ".join(map(str, owner["command"]))[:200]
        return f"process {owner['pid']} on {owner['host']} since {owner['since']} ({command!r})"
    except (OSError, ValueError, TypeError, LookupError):
        return "another process"
