"""Exponential moving average of a network."""

import copy

import torch
from torch import Tensor, nn


class Ema:
    """A running average of a network's weights and batch-norm statistics.

    After update t (from 0) the average moves by 1 - min(decay, (1 + t)/(10 + t)) towards the network, so that the
    initial weights do not dominate the first hundred steps (TensorFlow's ExponentialMovingAverage with num_updates).

    Attributes:
        network: the average, in eval mode.
        updates: number of updates.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        """Starts the average at the network's current state."""
        self.decay = decay
        self.updates = 0
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        pairs = [
            (average, live)
            for average, live in zip(_tensors(self.network), _tensors(network), strict=True)
            if average.is_floating_point()
        ]
        self._averages = [average for average, _ in pairs]
        self._lives = [live for _, live in pairs]
        self._weight = torch.zeros((), device=self._averages[0].device)
        self._weight_set: float | None = None  # the value on the device, to avoid sending it again

    def prepare(self) -> None:
        """Counts the next update and sets its weight on the device."""
        weight = 1 - min(self.decay, (1 + self.updates) / (10 + self.updates))
        if weight != self._weight_set:
            self._weight.fill_(weight)
            self._weight_set = weight
        self.updates += 1

    @torch.no_grad()
    def update(self) -> None:
        """Moves the average towards the network by the weight set in `prepare`."""
        difference = torch._foreach_sub(self._lives, self._averages)
        torch._foreach_mul_(difference, self._weight)
        torch._foreach_add_(self._averages, difference)


def _tensors(network: nn.Module) -> list[Tensor]:
    """Parameters and buffers, without copies."""
    return [*network.parameters(), *network.buffers()]
