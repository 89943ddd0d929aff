"""The answer in short: which run_group was best, on which seeds, and by how much."""

import math
from collections import Counter
from collections.abc import Sequence

from gantrain.metrics.metric import LOWER_IS_BETTER
from gantrain.report.formatting import counted, direction, number, spread_words, written
from gantrain.report.markup import render, source
from gantrain.report.outcomes import headline
from gantrain.report.protocol_table import apart
from gantrain.report.run_groups import RunGroup, Spread, seed_of
from gantrain.report.section import Section
from gantrain.report.significance import LEVEL, holm, welch
from gantrain.report.styles import line_of, short_labels
from gantrain.report.table import BEST, LAST, figure_of, over_seeds, ranking
from gantrain.run_io.run_reader import RunRecord
from gantrain.run_io.status import FINISHED

SHOWN = 25
"""Variants in the table; the rest stands folded below it."""
NAMED = 6
"""Variants that a sentence names at the most."""
LOG_FROM = 3.0
"""Ratio of the largest to the smallest value from which the strip is logarithmic."""


def make_answer(run_groups: list[RunGroup]) -> Section:
    """Sentences, and a row a run_group with its seeds on one scale, the best first."""
    runs = [run for run_group in run_groups for run in run_group.runs]
    name = headline(runs)
    if name is None:
        return Section("answer", "Which was best", "<p>Nothing has been measured in these runs yet.</p>")
    lower = bool(LOWER_IS_BETTER[name])
    seeds = sorted({seed for run_group in run_groups for seed in run_group.seeds})
    values = [_by_seed(run_group.averaged, name) for run_group in run_groups]
    reached = [_by_seed(run_group.replicates, name) for run_group in run_groups]
    order = [k for k in ranking(run_groups) if values[k]]
    scales = [_Scale([v for k in places for v in reached[k].values()]) for places in (order[:SHOWN], order[SHOWN:])]
    leaders = {
        seed: (min if lower else max)(of_seed.values())
        for seed in seeds
        if len(of_seed := {k: values[k][seed] for k in order if seed in values[k]}) > 1
    }
    compare = name not in apart(runs)
    labels = short_labels(run_groups)
    rows = []
    for place, k in enumerate(order):
        scale = scales[place >= SHOWN]
        found = over_seeds(run_groups[k], name, BEST)
        assert found is not None
        standing = {seed_of(run): run for run in run_groups[k].replicates}
        rows.append(
            {
                "line": line_of(k),
                "label": labels[k],
                "spread": found,
                "mean": scale.at(found.mean),
                "dots": [(scale.at(value), seed, value, seed in values[k]) for seed, value in reached[k].items()],
                "cells": [
                    (
                        reached[k].get(seed),
                        compare and seed in values[k] and values[k][seed] == leaders.get(seed),
                        standing[seed].state if seed in standing and standing[seed].state != FINISHED else "",
                    )
                    for seed in seeds
                ],
            }
        )
    html = render(
        "summary.html.j2",
        sentences=sentences_of(run_groups, order, values, name) if compare else [],
        compare=compare,
        hollow=any(reached[k].keys() - values[k].keys() for k in order),
        title=written(name),
        hint=direction(lower),
        seeds=seeds,
        tables=[(rows[:SHOWN], scales[0]), (rows[SHOWN:], scales[1])],
        head=" · ".join(run_groups[0].values) or "group",
        missing=[labels[k] for k in range(len(run_groups)) if not values[k]],
    )
    return Section("answer", "Which was best", html, source("summary.css"))


class _Scale:
    """Where a value lies on the strip, in percent; logarithmic where values are far apart."""

    def __init__(self, values: Sequence[float]) -> None:
        self.low, self.high = min(values, default=0.0), max(values, default=1.0)
        self.is_log = self.low > 0 and self.high / self.low > LOG_FROM

    def at(self, value: float) -> str:
        low, high, place = (math.log(x) if self.is_log else x for x in (self.low, self.high, value))
        return f"{3 + 94 * ((place - low) / (high - low) if high > low else 0.5):.2f}%"


def _by_seed(runs: Sequence[RunRecord], name: str) -> dict[int, float]:
    """The best value of each run that has one, a run a seed."""
    return {seed_of(run): value for run in runs if (value := figure_of(run, name, BEST)) is not None}


def sentences_of(
    run_groups: Sequence[RunGroup], order: Sequence[int], values: Sequence[dict[int, float]], name: str
) -> list[str]:
    """What can be said of the first run_group against the others.

    Args:
        run_groups: all of them.
        order: places of those that have values, the best first.
        values: the best of each run_group's course by seed.
        name: of the figure, e.g. `fid`.
    """
    if not order:
        return []
    lower = bool(LOWER_IS_BETTER[name])
    pick = min if lower else max
    first, others = order[0], order[1:]
    reached = _over(over_seeds(run_groups[first], name, BEST), run_groups[first], values[first])
    if not others:
        best = "" if len(run_groups) == 1 else "the best "
        return [f"{run_groups[first].label} reached {best}{written(name)} {reached}."]
    said = [f"{run_groups[first].label} reached the best {written(name)}: {reached}."]
    shared = [seed for seed in values[first] if sum(seed in values[k] for k in order) > 1]
    won = [seed for seed in shared if values[first][seed] == pick(values[k][seed] for k in order if seed in values[k])]
    if len(shared) > 1:
        said.append(f"It is ahead of every other on {len(won)} of {len(shared)} seeds that others share{_named(won)}.")
    differences = {k: welch(list(values[k].values()), list(values[first].values())) for k in others}
    next_one = differences[others[0]]
    gap = f"{number(abs(next_one.value), 2)} {'above' if lower else 'below'}"
    if next_one.interval is not None:
        ends = sorted((end if lower else -end) for end in next_one.interval)
        gap += f" (95 % interval {number(ends[0], 2)} to {number(ends[1], 2)})"
    said.append(f"Next is {run_groups[others[0]].label}, {gap}.")
    said += _tested({k: found.p for k, found in differences.items()}, short_labels(run_groups))
    last = {k: found for k in order if (found := over_seeds(run_groups[k], name, LAST)) is not None}
    if last:
        leader = pick(last, key=lambda k: last[k].mean)
        if leader != first:
            said.append(
                f"By the last measurement, though, {run_groups[leader].label} leads with {spread_words(last[leader])} "
                f"(the first has {spread_words(last.get(first))})."
            )
    return said


def _tested(p_values: dict[int, float | None], labels: Sequence[str]) -> list[str]:
    """Which run_groups the first is told apart from; none are where it or they have one seed."""
    known = {k: p for k, p in p_values.items() if p is not None}
    if not known:
        return ["No difference can be tested: that takes two or more seeds per group, and some spread over them."]
    corrected = dict(zip(known, holm(list(known.values())), strict=True))
    better = [labels[k] for k, p in corrected.items() if p <= LEVEL]
    close = [labels[k] for k, p in corrected.items() if p > LEVEL]
    correction = f", p corrected for {len(known)} comparisons (Holm)" if len(known) > 1 else ""
    words = [f"it is better than {_some(better)}"] * bool(better) + [
        f"it is not told apart from {_some(close)}"
    ] * bool(close)
    untested = len(p_values) - len(known)
    rest = f"; {counted(untested, 'other')} cannot be tested, for lack of seeds" if untested else ""
    return [f"By Welch's t-test over seeds{correction}, {', and '.join(words)}{rest}."]


def _some(labels: Sequence[str]) -> str:
    if len(labels) <= NAMED:
        return ", ".join(labels)
    return f"{', '.join(labels[: NAMED - 1])} and {len(labels) - NAMED + 1} more"


def _over(found: Spread | None, run_group: RunGroup, values: dict[int, float]) -> str:
    """Mean and standard deviation, with their seeds, and the states of runs that have not finished."""
    seeds = sorted(values)
    states = Counter(run.state for run in run_group.averaged if seed_of(run) in values and run.state != FINISHED)
    odd = "".join(f", {state if len(seeds) == 1 else f'{count} {state}'}" for state, count in states.items())
    if len(seeds) == 1:
        return f"{spread_words(found)} (seed {seeds[0]} alone{odd})"
    return f"{spread_words(found)} over seeds {', '.join(map(str, seeds))}{odd}"


def _named(seeds: Sequence[int]) -> str:
    return f" ({', '.join(map(str, seeds))})" if seeds else ""
