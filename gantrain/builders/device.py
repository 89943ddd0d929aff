"""Devices, floating-point settings, and the random generators of a run."""

import contextlib
import os
import resource
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from gantrain.config import (
    ConfigError,
)
from gantrain.system.distributed import SINGLE_PROCESS, Processes, shared_generator

STREAMS = ("weights", "data", "latents", "grid", "metrics", "draws", "reference")
"""Uses of random numbers; each has its own generator, seeded from the run's seed."""


def make_device(name: str, processes: Processes = SINGLE_PROCESS) -> torch.device:
    """The device of that name; each of several processes takes the GPU of its local rank.

    Raises:
        ConfigError: the device does not exist.
    """
    if processes.world_size > 1 and ":" in name:
        raise ConfigError(
            f"device={name!r} is one GPU, but {processes.world_size} processes need one each: set device=cuda or auto, "
            "and select GPUs with CUDA_VISIBLE_DEVICES"
        )
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    if device.type == "cuda":
        device = torch.device("cuda", device.index or processes.local_rank)  # torch.cuda.set_device needs an index
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if device.index >= count and processes.world_size > 1:
            raise ConfigError(
                f"device={name!r}: process {processes.rank} needs GPU {device.index}, but PyTorch sees only {count} "
                f"GPUs; use torchrun --nproc-per-node={max(count, 1)} at most"
            )
        if device.index >= count:
            raise ConfigError(
                f"device={name!r} does not exist: PyTorch sees {count} CUDA devices; use device=cpu or auto"
            )
    return device


@contextlib.contextmanager
def arithmetic(precision: str, *, deterministic: bool, device: torch.device) -> Iterator[None]:
    """Sets PyTorch's flags for TF32 and for benchmarked or deterministic kernels, and restores them at the end.

    Args:
        precision: of `PRECISIONS`; with bf16 the remaining float32 operations may use TF32.
        deterministic: whether to use deterministic kernels; operations without one raise an error.
        device: of the run.
    """
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32, matmul.allow_tf32
    was_deterministic = torch.are_deterministic_algorithms_enabled()
    fills = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
    if deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")  # read when cuBLAS starts
    cudnn.benchmark = device.type == "cuda" and not deterministic
    cudnn.deterministic = deterministic
    cudnn.allow_tf32 = matmul.allow_tf32 = precision != "float32"
    torch.use_deterministic_algorithms(deterministic)
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # all memory is written before it is read
    try:
        yield
    finally:
        cudnn.benchmark, cudnn.deterministic, cudnn.allow_tf32, matmul.allow_tf32 = before
        torch.use_deterministic_algorithms(was_deterministic)
        torch.utils.deterministic.fill_uninitialized_memory = fills  # type: ignore[attr-defined]


def reset_peak_memory(device: torch.device) -> None:
    """Resets `peak_memory`, so that it excludes earlier jobs in this process.

    The host's peak can be reset on Linux only (proc(5), clear_refs).
    """
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)


def peak_memory(device: torch.device) -> str:
    """Peak memory of the host and the GPU since `reset_peak_memory`."""
    unit = 1 if sys.platform == "darwin" else 1024
    host = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30
    with contextlib.suppress(OSError, StopIteration):
        lines = Path("/proc/self/status").read_text().splitlines()
        host = next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 2**20
    if device.type != "cuda":
        return f"{host:.2f} GiB"
    return f"{host:.2f} GiB, GPU {torch.cuda.max_memory_allocated(device) / 2**30:.2f} GiB"


def stream_seed(seed: int, stream: str) -> int:
    """Seed of one of `STREAMS`; 32 bits, which is all that a CPU generator uses."""
    return int(np.random.SeedSequence(seed, spawn_key=(STREAMS.index(stream),)).generate_state(1)[0])


def generator_of(
    device: torch.device, seed: int, stream: str, processes: Processes = SINGLE_PROCESS
) -> torch.Generator:
    """Generator of one of `STREAMS` on the device, in the same state in all processes."""
    return shared_generator(device, stream_seed(seed, stream), processes)
