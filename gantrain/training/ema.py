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
        updates: how many updates were prepared.
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
        self._weight_set: float | None = None  # what the device holds, so that it is not sent again

    def prepare(self) -> None:
        """Sets, on the device, how far the next update moves the average, and counts it."""
        weight = 1 - min(self.decay, (1 + self.updates) / (10 + self.updates))
        if weight != self._weight_set:
            self._weight.fill_(weight)
            self._weight_set = weight
        self.updates += 1

    @torch.no_grad()
    def update(self) -> None:
        """Moves the average towards the network, as far as `prepare` has set."""
        difference = torch._foreach_sub(self._lives, self._averages)
        torch._foreach_mul_(difference, self._weight)
        torch._foreach_add_(self._averages, difference)


def _tensors(network: nn.Module) -> list[Tensor]:
    """Parameters and buffers, the objects themselves."""
    return [*network.parameters(), *network.buffers()]
