"""The answer in short: which variant was best, on which seeds, and by how much."""

import math
from collections.abc import Sequence

from gantrain.evidence.measurement import LOWER_IS_BETTER
from gantrain.logs.records import RunRecord
from gantrain.logs.status import FINISHED
from gantrain.report.lines import line_of, short_labels
from gantrain.report.markup import render, source
from gantrain.report.outcomes import headline
from gantrain.report.protocol_table import apart
from gantrain.report.section import Section
from gantrain.report.table import BEST, LAST, figure_of, over_seeds, ranking
from gantrain.report.variants import Spread, Variant
from gantrain.report.wording import counted, direction, number, spread_words, written

SHOWN = 25
"""Variants in the table; the rest stands folded below it."""
LOG_FROM = 3.0
"""Ratio of the largest to the smallest value from which the strip is logarithmic."""


def make_answer(variants: list[Variant]) -> Section:
    """Sentences, and a row a variant with its seeds on one scale, the best first."""
    runs = [run for variant in variants for run in variant.runs]
    name = headline(runs)
    if name is None:
        return Section("answer", "Which was best", "<p>Nothing has been measured in these runs yet.</p>")
    lower = bool(LOWER_IS_BETTER[name])
    seeds = sorted({seed for variant in variants for seed in variant.seeds})
    values = [_by_seed(variant, name) for variant in variants]
    order = [k for k in ranking(variants) if values[k]]
    scales = [_Scale([v for k in places for v in values[k].values()]) for places in (order[:SHOWN], order[SHOWN:])]
    leaders = {
        seed: (min if lower else max)(of_seed.values())
        for seed in seeds
        if len(of_seed := {k: values[k][seed] for k in order if seed in values[k]}) > 1
    }
    compare = name not in apart(runs)
    labels = short_labels(variants)
    rows = []
    for place, k in enumerate(order):
        scale = scales[place >= SHOWN]
        found = over_seeds(variants[k].runs, name, BEST)
        assert found is not None
        rows.append(
            {
                "line": line_of(k),
                "label": labels[k],
                "spread": found,
                "mean": scale.at(found.mean),
                "dots": [
                    (scale.at(value), run.config.get("seed", 0), value)
                    for run in variants[k].runs
                    if (value := figure_of(run, name, BEST)) is not None
                ],
                "cells": [
                    (
                        value := values[k].get(seed),
                        compare and value is not None and value == leaders.get(seed),
                        [run.state for run in of_seed.get(seed, ()) if run.state != FINISHED],
                    )
                    for of_seed in [_runs_by_seed(variants[k])]
                    for seed in seeds
                ],
            }
        )
    html = render(
        "answer.html.j2",
        sentences=_sentences(variants, order, values, name, lower) if compare else [],
        compare=compare,
        title=written(name),
        hint=direction(lower),
        seeds=seeds,
        tables=[(rows[:SHOWN], scales[0]), (rows[SHOWN:], scales[1])],
        head=" · ".join(variants[0].values) or "variant",
        missing=[labels[k] for k in range(len(variants)) if not values[k]],
    )
    return Section("answer", "Which was best", html, source("answer.css"))


class _Scale:
    """Where a value lies on the strip, in percent; logarithmic where values are far apart."""

    def __init__(self, values: Sequence[float]) -> None:
        self.low, self.high = min(values, default=0.0), max(values, default=1.0)
        self.is_log = self.low > 0 and self.high / self.low > LOG_FROM

    def at(self, value: float) -> str:
        low, high, place = (math.log(x) if self.is_log else x for x in (self.low, self.high, value))
        return f"{3 + 94 * ((place - low) / (high - low) if high > low else 0.5):.2f}%"


def _runs_by_seed(variant: Variant) -> dict[int, list[RunRecord]]:
    found: dict[int, list[RunRecord]] = {}
    for seed, run in zip(variant.seeds, variant.runs, strict=True):
        found.setdefault(seed, []).append(run)
    return found


def _by_seed(variant: Variant, name: str) -> dict[int, float]:
    """The best value of each seed that has one, of its best run where a seed was run twice."""
    pick = min if LOWER_IS_BETTER[name] else max
    found: dict[int, float] = {}
    for seed, runs in _runs_by_seed(variant).items():
        values = [value for run in runs if (value := figure_of(run, name, BEST)) is not None]
        if values:
            found[seed] = pick(values)
    return found


def _sentences(
    variants: Sequence[Variant], order: list[int], values: list[dict[int, float]], name: str, lower: bool
) -> list[str]:
    """What can be said of the first variant against the others."""
    if not order:
        return []
    first = order[0]
    best = over_seeds(variants[first].runs, name, BEST)
    assert best is not None
    reached = _over(best, sorted(values[first]))
    if len(variants) == 1:
        return [f"{variants[first].label} reached {written(name)} {reached}."]
    said = [f"{variants[first].label} reached the best {written(name)}: {reached}."]
    if len(order) == 1:
        return said
    seeds = [seed for seed in values[first] if sum(seed in values[k] for k in order) > 1]
    pick = min if lower else max
    won = [seed for seed in seeds if values[first][seed] == pick(values[k][seed] for k in order if seed in values[k])]
    shared = counted(len(seeds), "seed")
    said.append(f"It is ahead of every other on {len(won)} of {shared} that others share{_named(won)}.")
    second = over_seeds(variants[order[1]].runs, name, BEST)
    assert second is not None
    gap = abs(best.mean - second.mean)
    next_best = f"Next is {variants[order[1]].label}, {number(gap, 2)} {'above' if lower else 'below'}"
    if best.std is not None and second.std is not None:
        error = math.sqrt(best.std**2 / best.count + second.std**2 / second.count)
        clear = gap > 2 * error
        next_best += f"; the standard error of that difference is {number(error, 2)}" + (
            "" if clear else ", so the seeds do not tell the two apart"
        )
    said.append(f"{next_best}.")
    last = {k: found for k in order if (found := over_seeds(variants[k].runs, name, LAST)) is not None}
    if last:
        leader = pick(last, key=lambda k: last[k].mean)
        if leader != first:
            said.append(
                f"By the last measurement, though, {variants[leader].label} leads with {spread_words(last[leader])} "
                f"(the first has {spread_words(last.get(first))})."
            )
    return said


def _over(found: Spread, seeds: Sequence[int]) -> str:
    what = f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {', '.join(map(str, seeds))}"
    return f"{spread_words(found)} over {what}" if found.count > 1 else f"{spread_words(found)} ({what} alone)"


def _named(seeds: Sequence[int]) -> str:
    return f" ({', '.join(map(str, seeds))})" if seeds else ""
