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
        self._settled = False
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        pairs = [
            (average, live)
            for average, live in zip(_tensors(self.network), _tensors(network), strict=True)
            if average.is_floating_point()
        ]
        self._averages = [average for average, _ in pairs]
        self._lives = [live for _, live in pairs]
        self._weight = torch.zeros((), device=self._averages[0].device)

    def prepare(self) -> None:
        """Sets how far the next update moves, and counts it."""
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        if not self._settled:
            self._weight.fill_(1 - decay)
            self._settled = decay == self.decay
        self.updates += 1

    def go_on_after(self, updates: int) -> None:
        """The average stands where that many updates have brought it."""
        self.updates = updates
        self._settled = False

    @torch.no_grad()
    def update(self) -> None:
        """Moves the average towards the network it was made from, by what `prepare` has set."""
        apart = torch._foreach_sub(self._lives, self._averages)
        torch._foreach_mul_(apart, self._weight)
        torch._foreach_add_(self._averages, apart)


def _tensors(network: nn.Module) -> list[Tensor]:
    """Parameters and buffers, the objects themselves."""
    return [*network.parameters(), *network.buffers()]
