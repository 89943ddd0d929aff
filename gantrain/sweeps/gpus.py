"""Which GPU a worker process of a sweep takes."""

import itertools
import os
from pathlib import Path

from filelock import FileLock, Timeout

GPUS = "GANTRAIN_GPUS"
"""Set by the sweep for its workers: the devices that they share, as CUDA_VISIBLE_DEVICES names them."""
FOLDER = ".workers"

_taken: list[FileLock] = []
"""What this process holds until it ends."""


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, as CUDA_VISIBLE_DEVICES names them; [] without any."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is not None:
        return [name.strip() for name in named.split(",") if name.strip() not in ("", "-1", "NoDevFiles")]
    import torch

    return [str(number) for number in range(torch.cuda.device_count())]


def take_a_gpu(sweep: Path) -> str | None:
    """Sets CUDA_VISIBLE_DEVICES to the GPU that the fewest workers of the sweep have; once in a process.

    It works before CUDA has started in this process only. A worker's GPU is free again when the worker ends,
    however it does.

    Returns:
        The GPU, None where the sweep has none to share out.
    """
    gpus = [name for name in os.environ.get(GPUS, "").split(",") if name]
    if _taken or not gpus:
        return os.environ.get("CUDA_VISIBLE_DEVICES") if gpus else None
    folder = sweep / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    for workers in itertools.count():  # a GPU's first worker before any GPU's second
        for gpu in gpus:
            lock = FileLock(folder / f"{gpu}.{workers}", timeout=0)
            try:
                lock.acquire()
            except Timeout:
                continue
            _taken.append(lock)
            os.environ["CUDA_VISIBLE_DEVICES"] = gpu
            return gpu
    raise AssertionError("unreachable")
