"""Paired timings with torch.utils.benchmark, and counts with the PyTorch profiler."""

import gc
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from torch._C._autograd import DeviceType
from torch.profiler import ProfilerActivity, profile
from torch.utils.benchmark import Timer

Work = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Contestant:
    """One of several ways to do the same work.

    Attributes:
        start: builds the work and warms it up as far as it needs; what has to be closed goes onto the stack.
        images: images that one call handles.
        note: how its computation differs from the others'.
    """

    start: Callable[[ExitStack], Work]
    images: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class Row:
    """One measured contestant.

    Attributes:
        table: heading of the table that it belongs to.
        name: of the contestant.
        milliseconds: of one call, median over the rounds.
        images_per_second: at that time.
        ratio: how many times as fast as the baseline per image: median, 10 % and 90 % quantile over paired rounds;
            None for the baseline.
        launches: CUDA kernels of one call, on a CPU its ATen operators.
        note: remarks; why nothing was measured.
    """

    table: str
    name: str
    milliseconds: float | None = None
    images_per_second: float | None = None
    ratio: tuple[float, float, float] | None = None
    launches: float | None = None
    note: str = ""

    def cells(self) -> list[str]:
        """The row's cells, in the order of `HEAD`."""
        return [
            self.name,
            "" if self.milliseconds is None else f"{self.milliseconds:.3g}",
            "" if self.images_per_second is None else f"{self.images_per_second:,.0f}",
            "" if self.ratio is None else "{:.2f} ({:.2f}–{:.2f})".format(*self.ratio),
            "" if self.launches is None else f"{self.launches:.0f}",
            self.note.replace("|", "/"),
        ]

    def as_dict(self) -> dict[str, Any]:
        """The row for bench.json."""
        return asdict(self)


HEAD = ("loop", "ms", "images/s", "times as fast as the first (10 %–90 %)", "launches", "remarks")


def compare(
    table: str, contestants: Mapping[str, Contestant], *, rounds: int, seconds: float, count_launches: bool = False
) -> list[Row]:
    """Times contestants in paired rounds: each runs once per round, so that a slow minute slows all of them.

    A contestant that cannot start gets a row that says why, and the others are measured.

    Args:
        table: heading of the rows.
        contestants: by name; ratios compare with the first one.
        rounds: measurements of each contestant; every round begins with another one.
        seconds: about how long one measurement takes.
        count_launches: whether to profile each contestant.
    """
    rows: dict[str, Row] = {}
    timers: dict[str, tuple[Timer, int]] = {}
    launches: dict[str, float | None] = {}
    with ExitStack() as stack:
        for name, contestant in contestants.items():
            try:
                work = contestant.start(stack)
                timer = Timer("work()", globals={"work": work})
                number = max(1, round(seconds / timer.timeit(1).mean))
                launches[name] = launches_of(work) if count_launches else None
            except Exception as error:  # one contestant that fails must not end the comparison
                reason = str(error).strip().split("\n")[0][:160]
                rows[name] = Row(table, name, note=f"not measured: {type(error).__name__}: {reason}")
            else:
                timers[name] = timer, number
        times: dict[str, list[float]] = {name: [] for name in timers}
        for k in range(rounds):
            order = list(timers)
            for name in order[k % len(order) :] + order[: k % len(order)]:
                timer, number = timers[name]
                times[name].append(timer.timeit(number).mean / contestants[name].images)
        timers.clear()
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    first = next(iter(contestants))
    for name, taken in times.items():
        images, median = contestants[name].images, float(np.median(taken))
        rows[name] = Row(
            table,
            name,
            milliseconds=1000 * median * images,
            images_per_second=1 / median,
            ratio=paired_ratio(times[first], taken) if first in times and name != first else None,
            launches=launches[name],
            note=contestants[name].note,
        )
    return [rows[name] for name in contestants]


def paired_ratio(baseline: Sequence[float], own: Sequence[float]) -> tuple[float, float, float]:
    """Median, 10 % and 90 % quantile of baseline time over own time, round by round."""
    ratios = np.asarray(baseline) / np.asarray(own)
    low, median, high = (float(value) for value in np.quantile(ratios, [0.1, 0.5, 0.9]))
    return median, low, high


def launches_of(work: Work) -> float:
    """CUDA kernels that one call starts, those of replayed graphs included; without a GPU its ATen operators."""
    cuda = torch.cuda.is_available()
    with profile(activities=[ProfilerActivity.CPU] + [ProfilerActivity.CUDA] * cuda) as profiler:
        work()
        if cuda:
            torch.cuda.synchronize()
    if not cuda:
        return float(sum(row.count for row in profiler.key_averages() if row.key.startswith("aten::")))
    other = ("Memcpy", "Memset", "Optimizer.", "ProfilerStep")
    kernels = [event for event in profiler.events() or [] if event.device_type == DeviceType.CUDA]
    return float(sum(not kernel.name.startswith(other) for kernel in kernels))
