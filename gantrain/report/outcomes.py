"""What a run has reached: the best and the last of each figure, and what it cost."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gantrain.metrics.metric import LOWER_IS_BETTER
from gantrain.run_io.run_reader import RunRecord

DIVERSITY = (
    *("recall", "coverage", "modes", "modes_kl", "classes", "classes_kl"),
    *("duplicates", "exact_duplicates", "memorized"),
)
"""The figures that tell how varied samples are, or how much of the data they leave out."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """A figure of one network of a run over its course.

    Attributes:
        name: of the figure, e.g. `fid`.
        network: that was measured, e.g. `ema`.
        best: over the course, by the figure's place in `LOWER_IS_BETTER`; None for a figure that only describes, and
            where no value was finite.
        best_step: where that was.
        last: of the last measurement; None where it was not finite.
        last_step: where that was.
    """

    name: str
    network: str
    best: float | None
    best_step: int | None
    last: float | None
    last_step: int


def all_outcomes(run: RunRecord) -> list[Outcome]:
    """Of every figure and network that was measured, in the order of the measurements."""
    found = []
    for rows in run.measured.values():
        name = str(rows[0]["name"])
        lower = LOWER_IS_BETTER.get(name)
        finite = [(row["value"], row["step"]) for row in rows if row["value"] is not None]
        best, best_step = None, None
        if lower is not None and finite:
            best, best_step = min(finite, key=lambda pair: pair[0] if lower else -pair[0])
        last = rows[-1]
        network = str(last["protocol"]["network"])
        found.append(Outcome(name, network, best, best_step, last["value"], last["step"]))
    return found


def outcomes(run: RunRecord) -> dict[str, Outcome]:
    """By figure, of the first network of `metrics.networks`, which decides what is best."""
    first = (run.config.get("metrics.networks") or [None])[0]
    found: dict[str, Outcome] = {}
    for outcome in all_outcomes(run):
        if outcome.name not in found or outcome.network == first:
            found[outcome.name] = outcome
    return found


def figure_names(runs: Iterable[RunRecord]) -> list[str]:
    """Every figure that was measured: those of quality first, then those of diversity, each as they were measured."""
    names = dict.fromkeys(name for run in runs for name in outcomes(run))
    return sorted(names, key=lambda name: name in DIVERSITY)


def headline(runs: Sequence[RunRecord]) -> str | None:
    """The figure that decides which run is best: the one that the runs themselves chose their checkpoint by."""
    for run in runs:
        name = run.status.best.get("name")
        if name is not None and LOWER_IS_BETTER.get(name) is not None:
            return str(name)
    measured = (name for run in runs for name in outcomes(run) if LOWER_IS_BETTER.get(name) is not None)
    return next(measured, None)


def images_seen(run: RunRecord) -> int | None:
    """Real images that D has seen; None where the run's version did not write it."""
    course = run.series("cost/images")
    return run.status.images or (int(course[-1][1]) if course else None)


def training_seconds(run: RunRecord) -> float | None:
    """Seconds of training, without measuring, grids and checkpoints; None where it was not written."""
    course = run.series("cost/seconds")
    return run.status.seconds or (course[-1][1] if course else None)


def folder_names(runs: Sequence[RunRecord]) -> dict[Path, str]:
    """Each run's folder as seen from the one that holds them all, so that it stays when that one is moved."""
    folders = [run.folder.resolve() for run in runs]
    base = os.path.commonpath([folder.parent for folder in folders])
    return {
        run.folder: Path(os.path.relpath(folder, base)).as_posix() for run, folder in zip(runs, folders, strict=True)
    }


def first_line(text: str | None) -> str:
    """Of a reason; empty without one."""
    return text.strip().splitlines()[0] if text and text.strip() else ""
