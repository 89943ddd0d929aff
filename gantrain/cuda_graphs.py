"""Capturing CUDA graphs: each on a stream of its own, and a failed capture leaves the process as it found it."""

import contextlib
import itertools
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import torch
from torch.torch_version import TorchVersion

WARM_UPS = 3
"""Times that work is done before it is captured: cuDNN chooses its kernels, and the allocator has seen every size."""
POOL = 32
"""Streams of a device that PyTorch has; it hands them out in turn, and more of them are the same ones again."""
NAMES_GENERATORS = TorchVersion(torch.__version__) < "2.14"
"""Whether a graph has to be told which generators it draws from; later PyTorch finds out, and warns who tells it."""

Result = TypeVar("Result")

_known: dict[torch.device, list[torch.cuda.Stream]] = {}
_taken: set[int] = set()
_lock = threading.Lock()
_turn = itertools.count()


def capture_stream(device: torch.device, owner: object) -> torch.cuda.Stream:
    """A stream of which nobody else is given while `owner`, who holds the graphs captured on it, is there.

    A graph keeps the address of the cuBLAS workspace of the stream that it was captured on. Another graph of that
    stream would write into it at the same time, and its end gives it back (pytorch#193402).

    Raises:
        RuntimeError: all streams for captures are taken.
    """
    with _lock:
        streams = _streams(device)
        for stream in streams[: _for_captures(streams)]:
            if stream.cuda_stream not in _taken:
                _taken.add(stream.cuda_stream)
                weakref.finalize(owner, _taken.discard, stream.cuda_stream)
                return stream
    raise RuntimeError(f"{len(_taken)} CUDA streams hold graphs already, and PyTorch has no more")


def working_stream(device: torch.device) -> torch.cuda.Stream:
    """A stream for work that is launched piece by piece; nothing is captured on it, and others may be given it too."""
    with _lock:
        streams = _streams(device)
        shared = streams[_for_captures(streams) :]
        return shared[next(_turn) % len(shared)]


def free_workspaces() -> None:
    """Gives back what cuBLAS works in, on every stream; nothing while a graph may be there that writes into it."""
    with _lock:
        if not _taken:
            torch._C._cuda_clearCublasWorkspaces()


def warm_up(work: Callable[[], object], stream: torch.cuda.Stream) -> None:
    """Does the work on the stream, after what was launched before on the current one, which goes on after it."""
    current = torch.cuda.current_stream(stream.device)
    stream.wait_stream(current)
    with torch.cuda.stream(stream):
        for _ in range(WARM_UPS):
            work()
    current.wait_stream(stream)


def captured(
    work: Callable[[], Result],
    graph: torch.cuda.CUDAGraph,
    *,
    stream: torch.cuda.Stream,
    pool: Any,
    generators: Sequence[torch.Generator] = (),
) -> Result:
    """What `work` returns, once recorded into the graph instead of done.

    Args:
        work: launches kernels on the current stream.
        graph: receives them.
        stream: from `capture_stream`, on which the work was warmed up.
        pool: handle of the memory that the graph's tensors lie in.
        generators: that the work draws from, besides the device's default one.

    Raises:
        Exception: the first thing that went wrong, in the work or at the end of the capture. The current stream,
            PyTorch's allocator and the generators then take part in no capture any more, which before PyTorch 2.13 a
            failed one does not see to by itself.
    """
    device = stream.device
    current = torch.cuda.current_stream(device)
    first: Exception | None = None
    if NAMES_GENERATORS:
        for generator in generators:
            graph.register_generator_state(generator)
    try:
        # other threads may go on, e.g. one that writes pictures
        with torch.cuda.graph(graph, pool=pool, stream=stream, capture_error_mode="thread_local"):
            try:
                return work()
            except Exception as error:
                first = error
                raise
    except Exception as error:
        torch.cuda.set_stream(current)
        with contextlib.suppress(RuntimeError):  # where it has ended by itself
            torch._C._cuda_endAllocateToPool(device.index, pool)
        for generator in (*generators, torch.cuda.default_generators[device.index]):
            generator.graphsafe_set_state(generator.clone_state())  # the old one takes itself for captured still
        raise first or error from None


def _streams(device: torch.device) -> list[torch.cuda.Stream]:
    """Each of PyTorch's streams of the device once."""
    if device not in _known:
        ring = [torch.cuda.Stream(device) for _ in range(4 * POOL)]  # others take some of it meanwhile
        _known[device] = list({stream.cuda_stream: stream for stream in ring}.values())
    return _known[device]


def _for_captures(streams: Sequence[torch.cuda.Stream]) -> int:
    return 2 * len(streams) // 3
