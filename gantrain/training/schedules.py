"""Learning rates over a run, as factors of their first value."""

import math
from collections.abc import Callable


def no_decay(step: int) -> float:
    """The constant schedule."""
    return 1.0


def linear_decay(steps: int, start: float) -> Callable[[int], float]:
    """Factor of the learning rate at each step: 1 until `start`·steps, then linearly to 0 at `steps`."""
    first = start * steps
    return lambda step: 1.0 if step < first else (steps - step) / (steps - first)


def cosine_decay(steps: int, start: float) -> Callable[[int], float]:
    """The same ends, along half a cosine (Loshchilov & Hutter 2017, one period)."""
    linear = linear_decay(steps, start)
    return lambda step: (1 - math.cos(math.pi * linear(step))) / 2
