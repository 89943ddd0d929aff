"""Matrix of generators and discriminators: metrics of each pair, pairs that do not exist, and pairs not run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from gantrain.formatting import as_word
from gantrain.metrics.registry import lower_is_better
from gantrain.objectives import ObjectiveError, discriminator_names, generator_names
from gantrain.report.formatting import (
    SeedMean,
    counted,
    direction,
    mean_and_std,
    number,
    title_of,
)
from gantrain.report.gradient_positions import objective_of
from gantrain.report.markup import Section, render, source
from gantrain.report.run_groups import RunGroup, value_of
from gantrain.report.run_table import BEST, LAST, RunTable, first_line
from gantrain.run_io.run_reader import RunRecord
from gantrain.run_io.status import FINISHED

PAIR_KEYS = ("loss.disc", "loss.gen", "loss.alpha_disc", "loss.alpha_gen")
SCALE = "Blues"
"""Plotly's color scale, from light (worst) to dark (best)."""
DARK_FROM = 0.55
"""Position in the scale from which white text is more legible than black."""

Side = tuple[str, float | None]
"""An objective's name, and its order if it has one."""
Pair = tuple[Side, Side]
"""Generator and discriminator."""


@dataclass(frozen=True, slots=True)
class Shade:
    """A metric in a cell: its text and colors, and the number of seeds as text."""

    text: str
    count: str
    background: str
    color: str


@dataclass(slots=True)
class PairCell:
    """A pair of one combination of the other keys.

    Attributes:
        kind: `run`, `refused` for a pair that does not exist, or `absent` for one that was not run.
        group: the group's number; None unless the pair was run.
        trouble: number of unfinished runs, as text.
        reason: why they did not finish, or why the pair does not exist.
        metrics: keys such as `fid best` and `fid last`; means over finished runs.
    """

    kind: str
    group: int | None = None
    trouble: str = ""
    reason: str = ""
    metrics: dict[str, Shade] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Matrix:
    """The pairs of one combination of the other keys.

    Attributes:
        label: the combination as `key=value` words; '' if nothing else varies.
        discs: columns.
        gens: rows.
        cells: by generator and discriminator.
    """

    label: str
    discs: tuple[str, ...]
    gens: tuple[str, ...]
    cells: dict[tuple[str, str], PairCell]


def make_matrix(table: RunTable) -> Section | None:
    """A matrix for each combination of the other keys; None unless two pairs of a combination were run."""
    matrices = matrices_of(table)
    if not any(sum(cell.kind == "run" for cell in matrix.cells.values()) > 1 for matrix in matrices):
        return None
    reached = table.reached[(table.reached["state"] == FINISHED) & table.reached["primary"]]
    names = sorted(reached["name"].unique(), key=lambda name: name != table.headline)
    shown = [(n, which) for n in names for which in (BEST, LAST) if which == LAST or lower_is_better(n) is not None]
    legends = {(name, which): _shade(table, matrices, name, which) for name, which in shown}
    if not any(legends.values()):
        return None
    html = render(
        "matrix.html.j2",
        matrices=matrices,
        metrics=[
            (f"{name} {which}", f"{title_of(name)} {which}", direction(name), lower_is_better(name), legend)
            for (name, which), legend in legends.items()
            if legend
        ],
        stops=[_color(place / 4) for place in range(5)],
    )
    return Section("matrix", "Generator by discriminator", html, source("matrix.css"), source("matrix.js"))


def matrices_of(table: RunTable) -> list[Matrix]:
    """A matrix for each combination of the other varied keys, in the order of the groups."""
    combinations: dict[str, dict[Pair, int]] = {}
    for place, group in enumerate(table.groups):
        if group.runs[0].config:
            words = " ".join(f"{key}={as_word(value)}" for key, value in group.values.items() if key not in PAIR_KEYS)
            combinations.setdefault(words, {})[pair_of(group.runs[0])] = place
    pairs = {pair for found in combinations.values() for pair in found}
    gens = sorted({gen for gen, _ in pairs}, key=lambda side: _place(side, generator_names()))
    discs = sorted({disc for _, disc in pairs}, key=lambda side: _place(side, discriminator_names()))
    matrices = []
    for words, found in combinations.items():
        like = table.groups[next(iter(found.values()))].runs[0]
        cells = {}
        for gen in gens:
            for disc in discs:
                cells[_called(gen), _called(disc)] = _cell(gen, disc, like, found.get((gen, disc)), table.groups)
        matrices.append(Matrix(words, tuple(map(_called, discs)), tuple(map(_called, gens)), cells))
    return matrices


def pair_of(run: RunRecord) -> Pair:
    """Generator and discriminator of a run."""
    disc, gen, alpha_disc, alpha_gen = (value_of(run, key) for key in PAIR_KEYS)
    return (str(gen), alpha_gen), (str(disc), alpha_disc)


def _called(side: Side) -> str:
    name, order = side
    return name if order is None else f"{name}={order:g}"


def _place(side: Side, known: Sequence[str]) -> tuple[int, float]:
    name, order = side
    return known.index(name) if name in known else len(known), order or 0.0


def _cell(gen: Side, disc: Side, like: RunRecord, place: int | None, groups: Sequence[RunGroup]) -> PairCell:
    pair: dict[str, Any] = dict(zip(PAIR_KEYS, (disc[0], gen[0], disc[1], gen[1]), strict=True))
    try:
        objective_of({**like.config, **pair})
    except (ObjectiveError, TypeError) as error:
        return PairCell("refused", reason=str(error))
    if place is None:
        return PairCell("absent")
    runs = groups[place].replicates
    unfinished = [run for run in runs if run.state != FINISHED]
    states = Counter(run.state for run in unfinished)
    trouble = ", ".join(state if len(runs) == 1 else f"{count} {state}" for state, count in states.items())
    reasons = dict.fromkeys(filter(None, (first_line(run.reason) for run in unfinished)))
    return PairCell("run", place, trouble, "; ".join(reasons))


def _shade(table: RunTable, matrices: Sequence[Matrix], name: str, which: str) -> tuple[str, str] | None:
    """Adds a metric to every cell that has it; returns the worst and best values as text, None without values."""
    lower = lower_is_better(name)
    finished = {place for place, group in enumerate(table.groups) if any(r.state == FINISHED for r in group.replicates)}
    means = {k: found for k, found in table.over_seeds(name, which).items() if k in finished}
    found: list[tuple[PairCell, SeedMean]] = [
        (cell, means[cell.group])
        for matrix in matrices
        for cell in matrix.cells.values()
        if cell.group is not None and cell.group in means
    ]
    if not found:
        return None
    values = [over_seeds.mean for _, over_seeds in found]
    worst, best = (max(values), min(values)) if lower else (min(values), max(values))
    for cell, over_seeds in found:
        good = 0.5 if best == worst else (over_seeds.mean - worst) / (best - worst)
        cell.metrics[f"{name} {which}"] = Shade(
            mean_and_std(over_seeds),
            counted(over_seeds.count, "seed"),
            "#f4f6f8" if lower is None else _color(good),
            "#fff" if lower is not None and good >= DARK_FROM else "#000",
        )
    return number(worst), number(best)


def _color(good: float) -> str:
    """From 0, the worst, to 1, the best."""
    from plotly.colors import sample_colorscale

    return str(sample_colorscale(SCALE, [0.05 + 0.95 * good])[0]).replace(" ", "")
