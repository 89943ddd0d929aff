"""The best group, the seeds on which it is best, and the differences to others."""

import math
from collections import Counter
from collections.abc import Sequence

from gantrain.metrics.registry import lower_is_better
from gantrain.report.formatting import (
    counted,
    direction,
    mean_and_std,
    number,
    title_of,
)
from gantrain.report.markup import Section, render, source
from gantrain.report.run_groups import seed_of
from gantrain.report.run_table import BEST, LAST, RunTable
from gantrain.report.significance import LEVEL, Difference, holm, welch
from gantrain.report.styles import line_of, short_labels
from gantrain.run_io.status import FINISHED

SHOWN = 25
"""Number of groups in the table; the others are folded below it."""
NAMED = 6
"""Maximum number of groups named in a sentence."""
LOG_FROM = 3.0
"""Ratio of largest to smallest value above which the scale is logarithmic."""


def make_summary(table: RunTable) -> Section:
    """Sentences about the best group, and a row per group with its seeds on a common scale, the best first."""
    name = table.headline
    if name is None:
        return Section("summary", "Which was best", "<p>Nothing has been measured in these runs yet.</p>")
    pick = min if lower_is_better(name) else max
    averaged, reached = table.by_seed(name, BEST), table.by_seed(name, BEST, "replicate")
    means = table.over_seeds(name, BEST)
    order = [k for k in table.ranking if k in means]
    seeds = sorted(set(table.runs["seed"]))
    best_of_seed = {
        seed: pick(values)
        for seed in seeds
        if len(values := [averaged[k][seed] for k in order if seed in averaged[k]]) > 1
    }
    comparable = name not in table.incomparable
    labels = short_labels(table.groups)
    parts = []
    for groups in (order[:SHOWN], order[SHOWN:]):
        scale = _Scale([value for k in groups for value in reached[k].values()])
        rows = []
        for k in groups:
            states = {seed_of(run): run.state for run in table.groups[k].replicates if run.state != FINISHED}
            is_best = {s for s, value in averaged[k].items() if comparable and value == best_of_seed.get(s)}
            rows.append(
                {
                    "line": line_of(k),
                    "label": labels[k],
                    "spread": means[k],
                    "mean": scale.at(means[k].mean),
                    "dots": [(scale.at(value), seed, value, seed in averaged[k]) for seed, value in reached[k].items()],
                    "cells": [(reached[k].get(seed), seed in is_best, states.get(seed, "")) for seed in seeds],
                }
            )
        parts.append((rows, scale))
    html = render(
        "summary.html.j2",
        sentences=sentences_of(table, name, order) if comparable else [],
        comparable=comparable,
        hollow=any(reached[k].keys() - averaged[k].keys() for k in order),
        title=title_of(name),
        hint=direction(name),
        seeds=seeds,
        tables=parts,
        head=" · ".join(table.varied) or "group",
        missing=[labels[k] for k in range(len(labels)) if k not in means],
    )
    return Section("summary", "Which was best", html, source("summary.css"))


class _Scale:
    """Maps values to positions in percent; logarithmic if values differ by large factors."""

    def __init__(self, values: Sequence[float]) -> None:
        self.low, self.high = min(values, default=0.0), max(values, default=1.0)
        self.is_log = self.low > 0 and self.high / self.low > LOG_FROM

    def at(self, value: float) -> str:
        low, high, place = (math.log(x) if self.is_log else x for x in (self.low, self.high, value))
        return f"{3 + 94 * ((place - low) / (high - low) if high > low else 0.5):.2f}%"


def sentences_of(table: RunTable, name: str, order: Sequence[int]) -> list[str]:
    """Sentences that compare the best group with the others.

    Args:
        table: the runs.
        name: of the metric, e.g. `fid`.
        order: the groups that have values, the best first.
    """
    if not order:
        return []
    first, others, groups = order[0], order[1:], table.groups
    values = table.by_seed(name, BEST)
    pick = min if lower_is_better(name) else max
    best = "the best " if len(groups) > 1 else ""
    said = [f"{groups[first].label} reached {best}{title_of(name)}: {_over_seeds(table, first, name)}."]
    if not others:
        return said
    shared = [seed for seed in values[first] if sum(seed in values[k] for k in order) > 1]
    won = [seed for seed in shared if values[first][seed] == pick(values[k][seed] for k in order if seed in values[k])]
    if len(shared) > 1:
        which = f" ({', '.join(map(str, won))})" if won else ""
        said.append(f"It is ahead of all others on {len(won)} of the {len(shared)} seeds that others share{which}.")
    differences = {k: welch(list(values[k].values()), list(values[first].values())) for k in others}
    said.append(f"Next is {groups[others[0]].label}, {_gap(differences[others[0]], name)}.")
    said.append(_tested({k: found.p for k, found in differences.items()}, short_labels(groups)))
    last = table.over_seeds(name, LAST)
    if last:
        leader = pick((k for k in order if k in last), key=lambda k: last[k].mean, default=first)
        if leader != first:
            said.append(
                f"By the last measurement, however, {groups[leader].label} leads with {mean_and_std(last[leader])} "
                f"(the first has {mean_and_std(last.get(first))})."
            )
    return said


def _gap(difference: Difference, name: str) -> str:
    """`3.2 above (95 % confidence interval 1.1 to 5.3)`."""
    lower = lower_is_better(name)
    words = f"{number(abs(difference.value), 2)} {'above' if lower else 'below'}"
    if difference.interval is not None:
        ends = sorted((end if lower else -end) for end in difference.interval)
        words += f" (95 % confidence interval {number(ends[0], 2)} to {number(ends[1], 2)})"
    return words


def _tested(p_values: dict[int, float | None], labels: Sequence[str]) -> str:
    """Which groups the best one differs from significantly."""
    known = {k: p for k, p in p_values.items() if p is not None}
    if not known:
        return "Differences cannot be tested: this needs at least two seeds per group, with different values."
    corrected = dict(zip(known, holm(list(known.values())), strict=True))
    better = [labels[k] for k, p in corrected.items() if p <= LEVEL]
    close = [labels[k] for k, p in corrected.items() if p > LEVEL]
    correction = f", p corrected for {len(known)} comparisons (Holm)" if len(known) > 1 else ""
    words = [f"it is better than {_some(better)}"] * bool(better)
    words += [f"it does not differ significantly from {_some(close)}"] * bool(close)
    untested = len(p_values) - len(known)
    rest = f"; {counted(untested, 'other')} cannot be tested (too few seeds)" if untested else ""
    return f"By Welch's t-test over seeds{correction}, {', and '.join(words)}{rest}."


def _some(labels: Sequence[str]) -> str:
    if len(labels) <= NAMED:
        return ", ".join(labels)
    return f"{', '.join(labels[: NAMED - 1])} and {len(labels) - NAMED + 1} more"


def _over_seeds(table: RunTable, group: int, name: str) -> str:
    """Mean and standard deviation, with their seeds, and the states of runs that have not finished."""
    rows = table.reached_by(name, BEST)
    rows = rows[rows["averaged"] & (rows["group"] == group)]
    states = Counter(state for state in rows["state"] if state != FINISHED)
    value = mean_and_std(table.over_seeds(name, BEST)[group])
    if len(rows) == 1:
        return f"{value} (only seed {rows['seed'].iloc[0]}{''.join(f', {state}' for state in states)})"
    odd = "".join(f", {count} {state}" for state, count in states.items())
    return f"{value} over seeds {', '.join(map(str, rows['seed']))}{odd}"
