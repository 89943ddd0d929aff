"""A network's forward on full batches, replayed as a CUDA graph: one launch in place of hundreds."""

import sys
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from gantrain.cuda_graphs import capture_graph, capture_stream, warm_up

Forward = Callable[[Tensor], dict[str, Tensor]]


class Replayed:
    """A forward pass without randomness, captured on CUDA at the first full batch of each shape."""

    def __init__(self, forward: Forward, *, batch_size: int, device: torch.device) -> None:
        """Takes the forward.

        Args:
            forward: batch on the device to named tensors of it; the same work for the same shape.
            batch_size: examples of a full batch; others run eagerly.
            device: where the forward runs.
        """
        self._forward = forward
        self._batch_size = batch_size
        self._device = device
        self._captures = device.type == "cuda"
        self._graphs: dict[torch.Size, Forward] = {}

    def __call__(self, batch: Tensor) -> dict[str, Tensor]:
        """The forward of a batch on the device or the CPU; what a full batch gives is overwritten by the next one."""
        if self._captures and len(batch) == self._batch_size:
            graph = self._graphs.get(batch.shape) or self._captured(batch)
            if graph is not None:
                return graph(batch)
        return self._forward(batch.to(self._device, non_blocking=True))

    def _captured(self, batch: Tensor) -> Forward | None:
        try:
            graph = capture(self._forward, batch.to(self._device))
        except RuntimeError as error:
            self._captures = False
            print(
                f"no CUDA graph of the forward could be captured ({str(error).splitlines()[0]}); it runs eagerly, "
                "which takes longer and gives the same figures",
                file=sys.stderr,
            )
            return None
        self._graphs[batch.shape] = graph
        return graph


def capture(forward: Forward, example: Tensor) -> Forward:
    """A CUDA graph of the forward on batches like `example`, which lies on the device.

    Raises:
        RuntimeError: something in the forward cannot be captured.
    """
    static = example.clone()
    graph = torch.cuda.CUDAGraph()

    def replay(batch: Tensor) -> dict[str, Tensor]:
        static.copy_(batch, non_blocking=True)
        graph.replay()
        return found

    with torch.cuda.device(static.device):
        side = capture_stream(static.device, replay)
        work = partial(forward, static)
        warm_up(work, side)
        found = capture_graph(work, graph, stream=side, pool=torch.cuda.graph_pool_handle())
    return replay
