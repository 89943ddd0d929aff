"""Variants held against the first of them, figure by figure: values over seeds, what is missing and why, tests."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from gantrain.config import ConfigError
from gantrain.metrics.metric import LOWER_IS_BETTER
from gantrain.report.formatting import base_of
from gantrain.report.protocols import Protocol, disagreements, protocols_of
from gantrain.report.run_groups import RunGroup, Spread, seed_of, spread
from gantrain.report.significance import LEVEL, Difference, holm, welch
from gantrain.run_io.run_reader import RunRecord
from gantrain.run_io.status import FINISHED

LAST, BEST = "last", "best"
NOT_FINITE, NOT_MEASURED = "not finite", "not measured"

Point = str | int
"""Of the course: its end, the best over it, or a step."""


@dataclass(frozen=True, slots=True)
class Reading:
    """A figure of one run_group at one point of the course.

    Attributes:
        values: by seed, finite.
        steps: where each was measured, by seed.
        missing: why a seed has no value, by seed.
        difference: to the baseline; None of the baseline itself, and where one of the two has no value.
        p_holm: its p-value, corrected over all comparisons of the figure.
    """

    values: dict[int, float]
    steps: dict[int, int]
    missing: dict[int, str]
    difference: Difference | None = None
    p_holm: float | None = None

    @property
    def spread(self) -> Spread | None:
        """Over the seeds that have a value."""
        return spread(list(self.values.values()))

    def verdict(self, lower_is_better: bool | None) -> str:
        """Whether it is `better` or `worse` than the baseline; `not told apart`, or `` where none is tested."""
        if self.difference is None or self.p_holm is None:
            return ""
        if self.p_holm > LEVEL:
            return "not told apart"
        if lower_is_better is None:
            return "higher" if self.difference.value > 0 else "lower"
        return "better" if (self.difference.value < 0) == lower_is_better else "worse"


@dataclass(frozen=True, slots=True)
class ComparedFigure:
    """One figure of all run_groups.

    Attributes:
        name: with its network, e.g. `fid_ema`.
        lower_is_better: None for one that only describes.
        protocol: in common; what they have of it where `differs`.
        differs: the parts of the protocol that differ, with the run_groups that have each value; then nothing is
            compared.
        readings: of each run_group in order, by point of the course.
    """

    name: str
    lower_is_better: bool | None
    protocol: Protocol
    differs: dict[str, dict[str, list[int]]]
    readings: dict[Point, tuple[Reading, ...]] = field(default_factory=dict)


def figures_of(run_groups: Sequence[RunGroup], asked: Sequence[str] | None) -> list[str]:
    """The figures that any run measured, each with its network; of those asked for (`fid`, `fid_ema`), in that order.

    Raises:
        ConfigError: nothing was measured, or one of those asked for was not.
    """
    measured = list(dict.fromkeys(name for run_group in run_groups for run in run_group.runs for name in run.measured))
    if not measured:
        raise ConfigError(
            "none of these runs has measured a figure yet; runs measure every metrics.every_steps what metrics.names "
            "names, and at their end"
        )
    if asked is None:
        return measured
    chosen: dict[str, None] = {}
    for word in asked:
        found = [name for name in measured if word in (name, base_of(name))]
        if not found:
            known = ", ".join(dict.fromkeys([*map(base_of, measured), *measured]))
            raise ConfigError(f"figures={word}: no run measured it; choose from [{known}]")
        chosen |= dict.fromkeys(found)
    return list(chosen)


def compare_figure(name: str, run_groups: Sequence[RunGroup], step: Point) -> ComparedFigure:
    """One figure of every run_group against the first one's.

    Args:
        name: with its network.
        run_groups: the first one is the baseline.
        step: `last` reads the end and the best over the course, `best` that alone, a number what was measured there.
    """
    lower = LOWER_IS_BETTER.get(base_of(name))
    differs, protocol = _protocols(name, run_groups)
    figure = ComparedFigure(name, lower, protocol, differs)
    if differs:
        return figure
    points: list[Point] = [step] if step != LAST else [LAST, BEST]
    if lower is None:
        points = [LAST if point == BEST else point for point in points]
    of_points = {point: tuple(_reading(name, run_group, point, lower) for run_group in run_groups) for point in points}
    if [r.values for r in of_points.get(LAST, ())] == [r.values for r in of_points.get(BEST, ())]:
        of_points.pop(BEST, None)  # the same comparisons, not to be corrected for twice
    return replace(figure, readings=_tested(of_points))


def common_steps(run_groups: Sequence[RunGroup], name: str) -> list[int]:
    """Where every run that measured this figure at all has measured it."""
    measured = [
        {row["step"] for row in run.measured[name]} for v in run_groups for run in v.replicates if name in run.measured
    ]
    return sorted(set.intersection(*measured)) if measured else []


def value_at(run: RunRecord, name: str, point: Point, lower_is_better: bool | None) -> tuple[float, int] | str:
    """A run's figure and its step; or why there is none."""
    rows = run.measured.get(name, [])
    ended = run.state == FINISHED
    if isinstance(point, int):
        rows = [row for row in rows if row["step"] == point]
        ended = ended or bool(rows) or run.status.step >= point
    if not ended:
        return f"{run.state} at step {run.status.step:,}"
    if not rows:
        return NOT_MEASURED
    finite = [(row["value"], row["step"]) for row in rows if row["value"] is not None and math.isfinite(row["value"])]
    if point == BEST and finite:
        return min(finite) if lower_is_better else max(finite, key=lambda found: found[0])
    if not finite or finite[-1][1] != rows[-1]["step"]:
        return NOT_FINITE
    return finite[-1]


def _reading(name: str, run_group: RunGroup, point: Point, lower: bool | None) -> Reading:
    values, steps, missing = {}, {}, {}
    for run in run_group.replicates:
        found = value_at(run, name, point, lower)
        if isinstance(found, str):
            missing[seed_of(run)] = found
        else:
            values[seed_of(run)], steps[seed_of(run)] = found
    return Reading(values, steps, missing)


def _tested(of_points: dict[Point, tuple[Reading, ...]]) -> dict[Point, tuple[Reading, ...]]:
    """With differences to the first of each point, and p-values corrected over all of them."""
    with_differences: dict[Point, list[Reading]] = {}
    for point, (baseline, *others) in of_points.items():
        found = [baseline]
        for reading in others:
            known = reading.values and baseline.values
            found.append(
                replace(reading, difference=welch(list(reading.values.values()), list(baseline.values.values())))
                if known
                else reading
            )
        with_differences[point] = found
    tests = [
        (point, k, reading.difference.p)
        for point, readings in with_differences.items()
        for k, reading in enumerate(readings)
        if reading.difference is not None and reading.difference.p is not None
    ]
    for (point, k, _), p_holm in zip(tests, holm([p for _, _, p in tests]), strict=True):
        with_differences[point][k] = replace(with_differences[point][k], p_holm=p_holm)
    return {point: tuple(readings) for point, readings in with_differences.items()}


def _protocols(name: str, run_groups: Sequence[RunGroup]) -> tuple[dict[str, dict[str, list[int]]], Protocol]:
    of_variants = [[p for run in run_group.replicates for p in protocols_of(run, name)] for run_group in run_groups]
    everything = [protocol for protocols in of_variants for protocol in protocols]
    differing = disagreements(everything)
    differs = {
        key: {
            "none" if value is None else str(value): [
                k for k, protocols in enumerate(of_variants) if any(p.get(key) == value for p in protocols)
            ]
            for value in values
        }
        for key, values in differing.items()
    }
    common = {key: value for key, value in everything[0].items() if key not in differing} if everything else {}
    return differs, common
