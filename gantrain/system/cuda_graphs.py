"""Captures CUDA graphs: each owner has its own stream, and a failed capture leaves PyTorch's state unchanged."""

import contextlib
import weakref
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch.torch_version import TorchVersion

WARM_UPS = 3
"""Number of runs before a capture, in which cuDNN chooses kernels and the allocator sees every size."""
POOL = 32
"""Number of streams per device in PyTorch's pool; `torch.cuda.Stream` returns them in turn."""
NEEDS_GENERATORS = TorchVersion(torch.__version__) < "2.14"
"""Whether generators must be registered with a graph; later versions do so themselves and warn."""

Result = TypeVar("Result")

_streams: dict[torch.device, list[torch.cuda.Stream]] = {}
_taken: set[int] = set()


def capture_stream(device: torch.device, owner: object) -> torch.cuda.Stream:
    """A stream for the captures of `owner`, reserved while it exists.

    A graph keeps the address of the cuBLAS workspace of the stream that it was captured on. Another graph on
    the same stream would use it at the same time, and freeing that graph would free it (pytorch#193402).

    Raises:
        RuntimeError: all streams are in use.
    """
    if device not in _streams:
        ring = [torch.cuda.Stream(device) for _ in range(4 * POOL)]
        _streams[device] = list({stream.cuda_stream: stream for stream in ring}.values())
    for stream in _streams[device]:
        if stream.cuda_stream not in _taken:
            _taken.add(stream.cuda_stream)
            weakref.finalize(owner, _taken.discard, stream.cuda_stream)
            return stream
    raise RuntimeError(f"all {len(_taken)} CUDA streams of PyTorch are used by graphs already")


def free_workspaces() -> None:
    """Frees cuBLAS's workspaces on all streams, unless a graph may use one."""
    if not _taken:
        torch._C._cuda_clearCublasWorkspaces()


def warm_up(work: Callable[[], object], stream: torch.cuda.Stream) -> None:
    """Runs `work` on the stream, ordered with what the current stream does before and after."""
    current = torch.cuda.current_stream(stream.device)
    stream.wait_stream(current)
    with torch.cuda.stream(stream):
        for _ in range(WARM_UPS):
            work()
    current.wait_stream(stream)


def capture_graph(
    work: Callable[[], Result],
    graph: torch.cuda.CUDAGraph,
    *,
    stream: torch.cuda.Stream,
    pool: Any,
    generators: Sequence[torch.Generator] = (),
) -> Result:
    """Captures `work` in the graph and returns its result, whose values are computed at replay.

    Args:
        work: launches kernels on the current stream.
        graph: the graph to capture into.
        stream: from `capture_stream`, on which the work was warmed up.
        pool: handle of the memory pool for the graph's tensors.
        generators: random generators used besides the device's default one.

    Raises:
        Exception: the first error, in the work or at the end of the capture. The current stream, the allocator and
            the generators then leave capture mode, for which PyTorch before 2.13 needs help.
    """
    device = stream.device
    current = torch.cuda.current_stream(device)
    first: Exception | None = None
    if NEEDS_GENERATORS:
        for generator in generators:
            graph.register_generator_state(generator)
    try:
        # thread_local: other threads, such as one that writes pictures, may use CUDA meanwhile
        with torch.cuda.graph(graph, pool=pool, stream=stream, capture_error_mode="thread_local"):
            try:
                return work()
            except Exception as error:
                first = error
                raise
    except Exception as error:
        torch.cuda.set_stream(current)
        with contextlib.suppress(RuntimeError):  # raised if the capture ended properly
            torch._C._cuda_endAllocateToPool(device.index, pool)
        for generator in (*generators, torch.cuda.default_generators[device.index]):
            generator.graphsafe_set_state(generator.clone_state())  # the old state is still in capture mode
        raise first or error from None
