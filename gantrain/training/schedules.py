"""Schedules: learning rates as factors of the initial ones, and the number of discriminator steps."""

import math
from collections.abc import Callable
from dataclasses import dataclass


def no_decay(step: int) -> float:
    """A constant learning rate."""
    return 1.0


def linear_decay(steps: int, start: float) -> Callable[[int], float]:
    """1 until `start`·steps, then linearly to 0 at `steps`."""
    first = start * steps
    return lambda step: 1.0 if step < first else (steps - step) / (steps - first)


def cosine_decay(steps: int, start: float) -> Callable[[int], float]:
    """1 until `start`·steps, then along half a cosine to 0 at `steps` (Loshchilov & Hutter 2017, one period)."""
    linear = linear_decay(steps, start)
    return lambda step: (1 - math.cos(math.pi * linear(step))) / 2


@dataclass(frozen=True, slots=True)
class DiscriminatorSteps:
    """How many discriminator steps come before each generator step.

    Attributes:
        usual: k.
        early: k in the first `until` generator steps and at every `every`-th one (100, 25 and 500 in the code of
            Arjovsky et al. 2017); 0: off.
        until: see `early`.
        every: see `early`; 0 is never.
    """

    usual: int
    early: int = 0
    until: int = 0
    every: int = 0

    @property
    def most(self) -> int:
        """The largest k."""
        return max(self.usual, self.early)

    def at(self, step: int) -> int:
        """Number k of discriminator steps before generator step `step` (from 0)."""
        if self.early and (step < self.until or (self.every and step % self.every == 0)):
            return self.early
        return self.usual

    def total(self, steps: int) -> int:
        """Discriminator steps in the first `steps` generator steps."""
        early = min(self.until, steps)
        if self.every:
            early += -(-steps // self.every) - -(-early // self.every)  # multiples of `every` after `until`
        return self.usual * steps + (self.early - self.usual) * (early if self.early else 0)
