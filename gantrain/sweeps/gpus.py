"""Assigns GPUs to the worker processes of a sweep."""

import itertools
import os
from pathlib import Path

from filelock import FileLock, Timeout

GPUS = "GANTRAIN_GPUS"
"""Environment variable of workers: the GPUs that they share, as in CUDA_VISIBLE_DEVICES."""
FOLDER = ".workers"

_held: list[FileLock] = []
"""Locks that are released when this process ends."""


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, as in CUDA_VISIBLE_DEVICES."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name.strip() for name in named.split(",") if name.strip() not in ("", "-1", "NoDevFiles")]
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]


def take_a_gpu(sweep: Path) -> str | None:
    """Sets CUDA_VISIBLE_DEVICES to the GPU with the fewest workers of the sweep, at this process's first job.

    Must be called before CUDA is initialized. When a worker ends, for any reason, its GPU is free again.

    Returns:
        The GPU; None if the sweep uses none.
    """
    gpus = [name for name in os.environ.get(GPUS, "").split(",") if name]
    if _held or not gpus:
        return os.environ.get("CUDA_VISIBLE_DEVICES") if gpus else None
    folder = sweep / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for workers in itertools.count():  # every GPU gets its first worker before any gets its second
        for gpu in gpus:
            lock = FileLock(folder / f"{gpu}.{workers}", timeout=0)
            try:
                lock.acquire()
            except Timeout:
                continue
            _held.append(lock)
            os.environ["CUDA_VISIBLE_DEVICES"] = gpu
            return gpu
    raise AssertionError("unreachable")
