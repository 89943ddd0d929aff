"""Paired, interleaved timings: every contestant runs once a round, so that a slow minute slows all of them."""

import gc
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

LOW, HIGH = 0.1, 0.9
"""Quantiles of a spread; of three rounds they lie just inside the smallest and the largest."""
MOST_ITERATIONS = 2_000
"""In one slice."""


@dataclass(frozen=True, slots=True)
class Spread:
    """The median of a figure over rounds, with its 10 % and 90 % quantiles."""

    median: float
    low: float
    high: float

    def scaled(self, factor: float) -> "Spread":
        """In another unit."""
        return Spread(self.median * factor, self.low * factor, self.high * factor)


def quantile(values: Sequence[float], share: float) -> float:
    """The quantile by linear interpolation between neighbors (definition 7 of Hyndman & Fan 1996)."""
    ordered = sorted(values)
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def spread_of(values: Sequence[float]) -> Spread:
    """Median and spread of at least one figure."""
    return Spread(statistics.median(values), quantile(values, LOW), quantile(values, HIGH))


def speed_spread(amount: float, seconds: Sequence[float]) -> Spread:
    """What is done a second where `amount` of it takes each of these times."""
    return spread_of([amount / taken for taken in seconds])


def paired_ratio(ours: Sequence[float], peers: Sequence[float]) -> Spread:
    """How many times as fast as a peer: its seconds over ours, each round by itself.

    Raises:
        ValueError: the rounds are not the same ones.
    """
    return spread_of([peer / own for own, peer in zip(ours, peers, strict=True)])


def synchronize(device: torch.device) -> None:
    """Waits until everything that was given to the device is done."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def time_once(work: Callable[[], object], device: torch.device) -> float:
    """Seconds of one call on all of the device's streams: CUDA events on a GPU, the wall clock on a CPU."""
    synchronize(device)
    if device.type != "cuda":
        started = time.perf_counter()
        work()
        return time.perf_counter() - started
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    start.record()
    work()
    torch.cuda.synchronize(device)  # side streams too; its own cost is some microseconds a slice
    end.record()
    end.synchronize()
    return float(start.elapsed_time(end)) / 1000


def time_many(work: Callable[[], object], count: int, device: torch.device) -> float:
    """Seconds a call, over `count` calls without a wait between them."""

    def all_of_them() -> None:
        for _ in range(count):
            work()

    return time_once(all_of_them, device) / count


def time_rounds(
    works: Mapping[str, Callable[[], object]], device: torch.device, *, rounds: int, slice_seconds: float
) -> dict[str, list[float]]:
    """Seconds a call of each contestant in each round; they take turns, and a round begins with another one each time.

    Args:
        works: the contestants, warmed up.
        device: what they run on.
        rounds: how often each has its turn.
        slice_seconds: about how long a turn is.

    Returns:
        A list of `rounds` entries for each name.
    """
    counts = {}
    for name, work in works.items():
        once = max(time_once(work, device), 1e-6)
        tried = min(MOST_ITERATIONS, max(1, int(slice_seconds / 4 / once)))  # a single call is a poor guess
        counts[name] = min(MOST_ITERATIONS, max(1, round(slice_seconds / time_many(work, tried, device))))
    found: dict[str, list[float]] = {name: [] for name in works}
    order = list(works)
    for number in range(rounds):
        turn = number % len(order) if order else 0
        for name in order[turn:] + order[:turn]:
            found[name].append(time_many(works[name], counts[name], device))
    return found


def release(device: torch.device) -> None:
    """Gives memory of what is no longer referred to back to the device."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.empty_cache()


class PeakMemory:
    """The device memory that was taken since it was made, at its highest; nothing on a CPU."""

    def __init__(self, device: torch.device) -> None:
        """Starts the count."""
        self._device = device
        self._before = 0
        if device.type == "cuda":
            synchronize(device)
            self._before = torch.cuda.memory_allocated(device)
            torch.cuda.reset_peak_memory_stats(device)

    def mebibytes(self) -> float | None:
        """What came on top of what had been taken before."""
        if self._device.type != "cuda":
            return None
        return (torch.cuda.max_memory_allocated(self._device) - self._before) / 2**20
