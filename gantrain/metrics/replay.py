"""A forward pass replayed as a CUDA graph: one launch instead of hundreds."""

import logging
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor

from gantrain.system.cuda_graphs import capture_graph, capture_stream, warm_up

log = logging.getLogger(__name__)

Forward = Callable[[Tensor], dict[str, Tensor]]


class GraphedForward:
    """A forward pass without randomness, captured at the first full batch of each shape on CUDA, eager on a CPU."""

    def __init__(self, forward: Forward, *, batch_size: int, device: torch.device) -> None:
        """Takes the forward pass.

        Args:
            forward: batch on the device -> named tensors.
            batch_size: size of a full batch; others run eagerly.
            device: where the forward pass runs.
        """
        self._forward = forward
        self._batch_size = batch_size
        self._device = device
        self._captures = device.type == "cuda"
        self._graphs: dict[torch.Size, Forward] = {}

    def __call__(self, batch: Tensor) -> dict[str, Tensor]:
        """The output for a batch on the device or the CPU; that of a full batch is overwritten by the next call."""
        if self._captures and len(batch) == self._batch_size:
            graph = self._graphs.get(batch.shape) or self._capture(batch)
            if graph is not None:
                return graph(batch)
        return self._forward(batch.to(self._device, non_blocking=True))

    def _capture(self, batch: Tensor) -> Forward | None:
        try:
            graph = capture(self._forward, batch.to(self._device))
        except RuntimeError as error:
            self._captures = False
            log.warning(
                "the forward pass cannot be captured as a CUDA graph (%s); it runs eagerly, which takes longer and "
                "gives the same values",
                str(error).splitlines()[0],
            )
            return None
        self._graphs[batch.shape] = graph
        return graph


def capture(forward: Forward, example: Tensor) -> Forward:
    """A CUDA graph of the forward pass on batches of the shape of `example`, which is on the device.

    Raises:
        RuntimeError: something in the forward pass cannot be captured.
    """
    static = example.clone()
    graph = torch.cuda.CUDAGraph()

    def replay(batch: Tensor) -> dict[str, Tensor]:
        static.copy_(batch, non_blocking=True)
        graph.replay()
        return output

    with torch.cuda.device(static.device):
        stream = capture_stream(static.device, replay)
        work = partial(forward, static)
        warm_up(work, stream)
        output = capture_graph(work, graph, stream=stream, pool=torch.cuda.graph_pool_handle())
    return replay
