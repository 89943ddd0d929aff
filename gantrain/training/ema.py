"""Exponential moving average of a network."""

import copy

import torch
from torch import Tensor, nn


class Ema:
    """A running average of a network's weights and batch-norm statistics.

    After update t (from 0) the average moves by 1 - min(decay, (1 + t)/(10 + t)) towards the network, so
    that the first hundred steps are not dominated by the initial weights (TensorFlow's
    ExponentialMovingAverage with num_updates).
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        """Starts the average at the network's present state."""
        self.decay = decay
        self.updates = 0
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self._pairs = [
            (average, live)
            for average, live in zip(_tensors(self.network), _tensors(network), strict=True)
            if average.is_floating_point()
        ]

    @torch.no_grad()
    def update(self) -> None:
        """Moves the average towards the network it was made from."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        torch._foreach_lerp_([a for a, _ in self._pairs], [b for _, b in self._pairs], 1 - decay)
        self.updates += 1


def _tensors(network: nn.Module) -> list[Tensor]:
    """Parameters and buffers, the objects themselves."""
    return [*network.parameters(), *network.buffers()]
