"""Runs gathered over their seeds: what varied between them, and what they have in common."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gantrain.config import as_word
from gantrain.logs.records import RunRecord

NOT_VARIED = ("seed", "name", "device", "resume", "data.root", "metrics.inception_weights")
"""Keys that do not make one experiment another, as those of `sweep` and `about` do not."""


@dataclass(frozen=True)
class Variant:
    """What was trained, over its seeds.

    Attributes:
        values: of the keys that vary between the variants, in the order of `varied_keys`.
        runs: one a seed, ordered by it.
    """

    values: dict[str, Any]
    runs: tuple[RunRecord, ...]

    @property
    def label(self) -> str:
        """What tells it from the others, as `key=value` words; the run's name where nothing varies."""
        words = [f"{key}={as_word(value)}" for key, value in self.values.items()]
        return " ".join(words) or str(self.runs[0].config.get("name", self.runs[0].name))

    @property
    def seeds(self) -> list[int]:
        """Of its runs."""
        return [int(run.config.get("seed", 0)) for run in self.runs]


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure over seeds: mean, sample standard deviation (n − 1; None for one seed) and how many seeds have it."""

    mean: float
    std: float | None
    count: int


def spread(values: Sequence[float]) -> Spread | None:
    """Of finite values; None without any."""
    if not values:
        return None
    return Spread(statistics.fmean(values), statistics.stdev(values) if len(values) > 1 else None, len(values))


def is_varied(key: str) -> bool:
    """Whether a difference in this key makes another experiment."""
    return key not in NOT_VARIED and key.partition(".")[0] not in ("sweep", "about")


def varied_keys(runs: Sequence[RunRecord]) -> list[str]:
    """The keys in which the runs differ, in the configuration's order."""
    keys = dict.fromkeys(key for run in runs for key in run.config)
    return [key for key in keys if is_varied(key) and len({_frozen(run.config.get(key)) for run in runs}) > 1]


def common_config(runs: Sequence[RunRecord]) -> dict[str, Any]:
    """The keys that have one value in all of the runs."""
    keys = dict.fromkeys(key for run in runs for key in run.config)
    return {key: runs[0].config.get(key) for key in keys if len({_frozen(run.config.get(key)) for run in runs}) == 1}


def gather(runs: Sequence[RunRecord]) -> list[Variant]:
    """The variants, in the order of their first runs."""
    keys = varied_keys(runs)
    found: dict[tuple[Any, ...], list[RunRecord]] = {}
    for run in runs:
        found.setdefault(tuple(_frozen(run.config.get(key)) for key in keys), []).append(run)
    return [
        Variant(
            {key: same[0].config.get(key) for key in keys},
            tuple(sorted(same, key=lambda run: int(run.config.get("seed", 0)))),
        )
        for same in found.values()
    ]


def _frozen(value: Any) -> Any:
    return tuple(_frozen(part) for part in value) if isinstance(value, list) else value
