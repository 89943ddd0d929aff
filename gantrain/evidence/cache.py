"""Files that are costly to make and safe to delete: converted weights and reference features."""

import os
import tempfile
from pathlib import Path

import torch


def cache_folder() -> Path:
    """$GANTRAIN_CACHE, else gantrain under the user's cache folder; made if it is not there."""
    base = os.environ.get("GANTRAIN_CACHE")
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(base) if base else Path(home) / "gantrain"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def save_atomically(content: object, path: Path) -> None:
    """`torch.save` under a temporary name beside `path`, flushed to disk, then renamed over it."""
    handle, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            torch.save(content, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise
