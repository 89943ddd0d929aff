"""Runs gathered over their seeds: what varied between them, and what they have in common."""

import functools
import os
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gantrain.config import as_word, options
from gantrain.objectives import discriminator_names, generators_for
from gantrain.run_io.run_reader import RunRecord
from gantrain.run_io.status import FINISHED

NOT_VARIED = ("seed", "name", "device", "resume", "data.root", "metrics.inception_weights")
"""Keys that do not make one experiment another, as those of `NOT_VARIED_SECTIONS` do not."""
NOT_VARIED_SECTIONS = ("sweep", "paper", "log")
ORDERS = ("loss.alpha_disc", "loss.alpha_gen")
"""Null wherever the objective beside them has no order: a label is shorter without."""


@dataclass(frozen=True)
class RunGroup:
    """What was trained, over its seeds.

    Attributes:
        values: of the keys that vary between the run_groups, in the order of `varied_keys`.
        runs: ordered by seed; a seed that was run again is there again, see `replicates`.
    """

    values: dict[str, Any]
    runs: tuple[RunRecord, ...]

    @property
    def label(self) -> str:
        """What tells it from the others, as `key=value` words; the run's name, less its seed, where nothing varies."""
        told = {key: value for key, value in self.values.items() if key not in ORDERS or value is not None}
        words = [f"{key}={as_word(value)}" for key, value in (told or self.values).items()]
        if not self.runs[0].config:
            words = _asked(self.runs[0])
        name = str(self.runs[0].config.get("name", self.runs[0].name))
        return " ".join(words) or name.removesuffix(f"-seed{seed_of(self.runs[0])}")

    @property
    def seeds(self) -> list[int]:
        """Of its runs."""
        return [seed_of(run) for run in self.runs]

    @property
    def replicates(self) -> tuple[RunRecord, ...]:
        """One run a seed, for statistics: a finished one before others, then the furthest, then the latest.

        A seed that is run again gives the same run or nearly so, and no independent one.
        """
        chosen: dict[int, RunRecord] = {}
        for run in sorted(self.runs, key=lambda run: (run.state == FINISHED, run.status.step, run.status.time)):
            chosen[seed_of(run)] = run
        return tuple(chosen[seed] for seed in sorted(chosen))

    @property
    def averaged(self) -> tuple[RunRecord, ...]:
        """The runs that a mean over seeds is of: the replicates that finished, or all of them while none has.

        A run that ended on its way has had fewer looks for its best and another last step than the others.
        """
        finished = tuple(run for run in self.replicates if run.state == FINISHED)
        return finished or self.replicates


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


def seed_of(run: RunRecord) -> int:
    """The run's seed, off what was asked for where no configuration is left; the default one where neither tells."""
    asked = dict(word.partition("=")[::2] for word in run.overrides).get("seed", "")
    seed = run.config.get("seed", int(asked) if asked.isdecimal() else None)
    return seed if isinstance(seed, int) else 0


def is_varied(key: str) -> bool:
    """Whether a difference in this key makes another experiment."""
    return key not in NOT_VARIED and key.partition(".")[0] not in NOT_VARIED_SECTIONS


def value_of(run: RunRecord, key: str) -> Any:
    """What the run was trained with, whichever way its configuration says so; None where none is left.

    A key that an older version did not know has its default; `loss.gen=auto` is the objective it stands for.
    """
    if not run.config:
        return None
    value = run.config.get(key, _defaults().get(key))
    if key == "loss.gen" and value == "auto":
        disc = run.config.get("loss.disc", _defaults()["loss.disc"])
        return generators_for(disc)[0] if disc in discriminator_names() else value
    if key == "data.root" and isinstance(value, str):
        return os.path.normpath(value)
    return value


def varied_keys(runs: Sequence[RunRecord]) -> list[str]:
    """The keys in which the runs differ, in the configuration's order.

    Values are those of `value_of`; `data.root` counts where the data are a folder's. Runs of which no configuration
    is left differ in none.
    """
    known = [run for run in runs if run.config]
    keys = dict.fromkeys(key for run in known for key in run.config)
    of_folders = {"data.root"} if any(value_of(run, "data.name") == "folder" for run in known) else set()
    return [key for key in keys if (is_varied(key) or key in of_folders) and _differs(known, key)]


def common_config(runs: Sequence[RunRecord]) -> dict[str, Any]:
    """The keys that have one value in all of the runs, read as `varied_keys` reads them."""
    known = [run for run in runs if run.config]
    keys = dict.fromkeys(key for run in known for key in run.config)
    return {key: value_of(known[0], key) for key in keys if not _differs(known, key)}


def group_runs(runs: Sequence[RunRecord]) -> list[RunGroup]:
    """The run_groups, in the order of their first runs.

    Runs of which no configuration is left are told apart by what was asked for on the command line.
    """
    keys = varied_keys(runs)
    found: dict[tuple[Any, ...], list[RunRecord]] = {}
    for run in runs:
        same = tuple(_frozen(value_of(run, key)) for key in keys) if run.config else ("asked", *_asked(run))
        found.setdefault(same, []).append(run)
    return [
        RunGroup({key: value_of(same[0], key) for key in keys}, tuple(sorted(same, key=seed_of)))
        for same in found.values()
    ]


def _asked(run: RunRecord) -> list[str]:
    return [word for word in run.overrides if is_varied(word.lstrip("+~").partition("=")[0])]


def _differs(runs: Sequence[RunRecord], key: str) -> bool:
    return len({_frozen(value_of(run, key)) for run in runs}) > 1


@functools.cache
def _defaults() -> dict[str, Any]:
    return {key: default for key, default, _ in options()}


def _frozen(value: Any) -> Any:
    """To be counted in a set: 1 and 1.0 are one value, 1 and true are two, and NaN is itself."""
    if isinstance(value, list | tuple):
        return tuple(_frozen(part) for part in value)
    if isinstance(value, bool) or value != value:
        return str(value)
    return value
