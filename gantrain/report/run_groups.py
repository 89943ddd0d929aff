"""Groups of runs that differ only in their seeds, and the keys that distinguish groups."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gantrain.formatting import as_word
from gantrain.objectives import discriminator_names, generators_for
from gantrain.run_io.run_reader import RunRecord

NOT_VARIED = ("seed", "name", "device", "resume", "data.root", "metrics.inception_weights")
NOT_VARIED_SECTIONS = ("sweep", "paper", "log")
"""Keys and sections that may differ within a group."""
ORDERS = ("loss.alpha_disc", "loss.alpha_gen")
"""Null for objectives without an order, and then omitted from labels."""


@dataclass(frozen=True)
class RunGroup:
    """Runs whose configurations differ only in the seed.

    Attributes:
        values: value of each varied key; None if the configuration is missing.
        runs: ordered by seed.
        replicates: one run per seed: a finished one, else the one with the most steps, else the latest, since runs with
            the same seed are not independent samples.
    """

    values: dict[str, Any]
    runs: tuple[RunRecord, ...]
    replicates: tuple[RunRecord, ...]

    @property
    def label(self) -> str:
        """The varied keys as `key=value`; without varied keys, the run's name without its seed."""
        first = self.runs[0]
        shown = {key: value for key, value in self.values.items() if key not in ORDERS or value is not None}
        words = [f"{key}={as_word(value)}" for key, value in (shown or self.values).items()]
        if not first.config:
            words = requested_words(first)
        return " ".join(words) or str(first.config.get("name", first.name)).removesuffix(f"-seed{seed_of(first)}")

    @property
    def seeds(self) -> list[int]:
        """Seeds of `runs`, in order."""
        return [seed_of(run) for run in self.runs]


def common_config(records: Sequence[RunRecord]) -> dict[str, Any]:
    """The keys that have the same value in all runs with a configuration."""
    known = [run for run in records if run.config]
    keys = dict.fromkeys(key for run in known for key in run.config)
    return {key: value_of(known[0], key) for key in keys if len({canonical(value_of(run, key)) for run in known}) == 1}


def is_varied(key: str) -> bool:
    """Whether runs that differ in this key belong to different groups."""
    return key not in NOT_VARIED and key.partition(".")[0] not in NOT_VARIED_SECTIONS


def value_of(run: RunRecord, key: str) -> Any:
    """A run's value of a key, None if absent; `loss.gen=auto` as the objective that it selects."""
    value = run.config.get(key)
    if key == "loss.gen" and value == "auto":
        disc = str(run.config.get("loss.disc"))
        return generators_for(disc)[0] if disc in discriminator_names() else value
    if key == "data.root" and isinstance(value, str):
        return os.path.normpath(value)
    return value


def seed_of(run: RunRecord) -> int:
    """The run's seed; without a configuration, from its command line, or 0."""
    requested = dict(word.partition("=")[::2] for word in run.overrides).get("seed", "")
    seed = run.config.get("seed", int(requested) if requested.isdecimal() else None)
    return seed if isinstance(seed, int) else 0


def requested_words(run: RunRecord) -> list[str]:
    """The overrides that distinguish groups."""
    return [word for word in run.overrides if is_varied(word.lstrip("+~").partition("=")[0])]


def canonical(value: Any) -> str:
    """Text that is equal for equal values: 1 and 1.0 are equal, 1 and true are not, NaN equals itself."""
    if isinstance(value, list | tuple):
        return f"[{','.join(map(canonical, value))}]"
    if isinstance(value, int | float) and not isinstance(value, bool):
        return repr(float(value))
    return json.dumps(value, default=str)
