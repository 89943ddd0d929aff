"""Formatting of metrics and numbers on the page, in charts and in the terminal."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gantrain.metrics.registry import lower_is_better, value_specs

ROUNDING = 1e-12
"""Relative difference below which values count as equal."""


@dataclass(frozen=True, slots=True)
class SeedMean:
    """A metric over seeds: mean, sample standard deviation (n - 1; None for one seed) and number of seeds."""

    mean: float
    std: float | None
    count: int

    @classmethod
    def of(cls, mean: float, std: float, count: int) -> SeedMean:
        """Converts pandas' numbers: NaN to None, and deviations within rounding to 0."""
        if math.isnan(std):
            return cls(float(mean), None, int(count))
        return cls(float(mean), 0.0 if std <= ROUNDING * abs(mean) else float(std), int(count))


def measures_diversity(name: str) -> bool:
    """Whether a metric measures the diversity of samples rather than their quality."""
    spec = value_specs().get(name)
    return spec is not None and spec.diversity


def title_of(name: str) -> str:
    """A metric's name in prose: `FID` of `fid`."""
    spec = value_specs().get(name)
    return name.replace("_", " ") if spec is None else spec.title


def base_of(metric: str) -> str:
    """A metric without its network: `fid` of `fid_ema`."""
    return metric.rpartition("_")[0]


def named(metric: str) -> str:
    """A metric with its network: `FID (EMA)` of `fid_ema`."""
    name, _, network = metric.rpartition("_")
    return f"{title_of(name)} ({'EMA' if network == 'ema' else network})"


def direction(name: str) -> str:
    """Text that says whether lower or higher is better."""
    return {True: "lower is better", False: "higher is better", None: "descriptive only"}[lower_is_better(name)]


def number(value: float | None, digits: int = 4, sign: str = "-") -> str:
    """Four significant digits, whole numbers with thousands separators; a dash for None. `sign` is that of format()."""
    if value is None:
        return "–"
    if (float(value).is_integer() and abs(value) < 1e12) or 10**digits <= abs(value) < 1e12:
        return f"{value:{sign},.0f}"
    return f"{value:{sign}#.{digits}g}".rstrip(".")


def uncertain(value: float, scale: float | None, sign: str = "-") -> str:
    """Rounded to the second digit of its uncertainty `scale`; to four digits without one."""
    if not scale or not 1e-6 < scale < 1e6:
        return number(value, sign=sign)
    decimals = max(0, 1 - math.floor(math.log10(scale)))
    return f"{round(value, decimals) + 0.0:{sign},.{decimals}f}"


def mean_and_std(found: SeedMean | None) -> str:
    """`23.41 ± 0.52`; only the value for one seed, a dash for None."""
    if found is None:
        return "–"
    if found.std is None:
        return number(found.mean)
    std = uncertain(found.std, found.std) if 1e-6 < found.std < 1e6 else number(found.std, 2)
    return f"{uncertain(found.mean, found.std)} ± {std}"


def counted(count: int, thing: str) -> str:
    """`1 run`, `3 runs`."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


def duration(seconds: float | None) -> str:
    """`1.2 s`, `12 s`, `4 min 10 s`, `2 h 05 min` or `3 d 04 h`, rounded to the last unit; a dash for None."""
    if seconds is None:
        return "–"
    rounded = round(seconds)
    if 0 < seconds < 9.95:
        return f"{seconds:.1f} s" if seconds >= 0.05 else f"{seconds:.1g} s"
    if rounded < 60:
        return f"{rounded} s"
    if rounded < 3600:
        return f"{rounded // 60} min {rounded % 60:02d} s"
    minutes = round(seconds / 60)
    if minutes < 24 * 60:
        return f"{minutes // 60} h {minutes % 60:02d} min"
    hours = round(seconds / 3600)
    return f"{hours // 24} d {hours % 24:02d} h"
