"""Cache on disk: features and statistics of data sets, classifiers, converted weights."""

import hashlib
import logging
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from torch import Tensor

from gantrain.system.atomic_io import UnreadableFileError, UnusableFolderError, load_safely, save_atomically

LONGEST_NAME = 200
"""Maximum length of a cached file's name in bytes; file systems allow 255, and temporary names are longer."""
ENTRY = "entry"
"""Key of a cached file for the name that it was written under."""
T = TypeVar("T")

log = logging.getLogger(__name__)


def cache_folder() -> Path:
    """$GANTRAIN_CACHE, or gantrain in the user's cache folder; created if it does not exist."""
    base = os.environ.get("GANTRAIN_CACHE")
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(base) if base else Path(home) / "gantrain"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UnusableFolderError(
            f"the cache folder {str(folder)!r} cannot be created ({error}); set GANTRAIN_CACHE to a writable one"
        ) from None
    return folder


def tensor_digest(tensor: Tensor) -> str:
    """First 12 digits of the sha1 of a tensor's content; identifies results computed from it."""
    return hashlib.sha1(tensor.cpu().contiguous().numpy().tobytes()).hexdigest()[:12]


def cached_path(*words: str) -> Path:
    """Path of the cached file with these parts in its name; long or unprintable names are hashed."""
    name = "-".join(words)
    if len(name.encode(errors="surrogateescape")) > LONGEST_NAME or not name.isprintable() or "/" in name:
        digest = hashlib.sha1(name.encode(errors="surrogateescape")).hexdigest()[:12]
        name = f"{re.sub(r'[^a-zA-Z0-9.-]', '_', name)[: LONGEST_NAME - 20]}-{digest}"
    return cache_folder() / f"{name}.pt"


def save_cached(content: dict[str, Any], path: Path) -> None:
    """Writes a cached file together with its name."""
    save_atomically({ENTRY: path.name, **content}, path)


def load_cached(path: Path, read: Callable[[dict[str, Any]], T]) -> T | None:
    """Reads a cached file; a damaged one is reported.

    Args:
        path: the file.
        read: converts the content; any exception means that it is damaged.

    Returns:
        The result of `read`; None if the file is missing or damaged.
    """
    if not path.is_file():
        return None
    try:
        content = load_safely(path)
        if not isinstance(content, dict) or content.get(ENTRY) != path.name:
            raise UnreadableFileError("it belongs to another entry or version")
        return read(content)
    except Exception as error:
        reason = str(error).splitlines()[0][:300] if str(error) else type(error).__name__
        log.warning("the cached file %r is damaged (%s); computing it again", str(path), reason)
        return None
