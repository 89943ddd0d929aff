"""Generator by discriminator: what every pair reached, which pairs do not exist, and which were not run."""

import dataclasses
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from plotly.colors import sample_colorscale

from gantrain.config import LossConfig, as_word
from gantrain.metrics.metric import LOWER_IS_BETTER
from gantrain.objectives import ObjectiveError, discriminator_names, generator_names, make_objective
from gantrain.report.formatting import counted, direction, number, spread_words, written
from gantrain.report.markup import render, source
from gantrain.report.outcomes import first_line, headline, outcomes
from gantrain.report.run_groups import RunGroup, Spread, spread, value_of
from gantrain.report.section import Section
from gantrain.report.table import BEST, LAST, figure_of
from gantrain.run_io.run_reader import RunRecord
from gantrain.run_io.status import FINISHED

OF_PAIR = ("loss.disc", "loss.gen", "loss.alpha_disc", "loss.alpha_gen")
SCALE = "Blues"
"""Plotly's, from light, the worst, to dark, the best."""
DARK_FROM = 0.55
"""Where in it white text is read better than black."""

Side = tuple[str, float | None]
"""An objective's name, and its order if it has one."""
Pair = tuple[Side, Side]
"""Generator and discriminator."""


@dataclass(frozen=True, slots=True)
class Reached:
    """A figure in a cell: what is written, its colors, and how many seeds it is the mean of."""

    text: str
    count: str
    background: str
    color: str


@dataclass(slots=True)
class Cell:
    """A pair of one combination of the other keys.

    Attributes:
        kind: `run`, `refused` for a pair that does not exist, or `absent` for one that was not run.
        runs: of the pair, a seed once.
        trouble: how many of them ended otherwise than finished, in words.
        reason: why, or why the pair does not exist.
        figures: as `fid best` and `fid last`, over the runs that finished.
    """

    kind: str
    runs: tuple[RunRecord, ...] = ()
    trouble: str = ""
    reason: str = ""
    metric_values: dict[str, Reached] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Matrix:
    """The pairs of one combination of the other keys.

    Attributes:
        label: the combination, as `key=value` words; '' where nothing else varies.
        discs: columns.
        gens: rows.
        cells: by generator and discriminator.
    """

    label: str
    discs: tuple[str, ...]
    gens: tuple[str, ...]
    cells: dict[tuple[str, str], Cell]


def make_matrix(run_groups: list[RunGroup]) -> Section | None:
    """A map for each combination of the other keys; None where no two pairs of one combination were run."""
    matrices = matrices_of(run_groups)
    runs = [run for run_group in run_groups for run in run_group.runs]
    if not any(sum(cell.kind == "run" for cell in matrix.cells.values()) > 1 for matrix in matrices):
        return None
    measured = dict.fromkeys(name for run in runs if run.state == FINISHED for name in outcomes(run))
    first = headline(runs)
    names = sorted((name for name in LOWER_IS_BETTER if name in measured), key=lambda name: name != first)
    one_way = {name for name in names if LOWER_IS_BETTER[name] is not None}
    shown = [(name, which) for name in names for which in (BEST, LAST) if which == LAST or name in one_way]
    legends = {(name, which): _paint(matrices, name, which) for name, which in shown}
    if not any(legends.values()):
        return None
    html = render(
        "matrix.html.j2",
        matrices=matrices,
        metrics=[
            (
                f"{name} {which}",
                f"{written(name)} {which}",
                direction(LOWER_IS_BETTER[name]),
                LOWER_IS_BETTER[name],
                legend,
            )
            for (name, which), legend in legends.items()
            if legend
        ],
        stops=[_color(place / 4) for place in range(5)],
    )
    return Section("matrix", "Generator by discriminator", html, source("matrix.css"), source("matrix.js"))


def matrices_of(run_groups: Sequence[RunGroup]) -> list[Matrix]:
    """The pairs by the combinations of what else varies, in the order of the groups; `auto` by what it stands for."""
    combinations: dict[str, dict[Pair, RunGroup]] = {}
    for run_group in run_groups:
        if not run_group.runs[0].config:
            continue  # nothing tells what it would have been
        words = " ".join(f"{key}={as_word(value)}" for key, value in run_group.values.items() if key not in OF_PAIR)
        combinations.setdefault(words, {})[pair_of(run_group.runs[0])] = run_group
    pairs = {pair for found in combinations.values() for pair in found}
    gens = sorted({gen for gen, _ in pairs}, key=lambda side: _place(side, generator_names()))
    discs = sorted({disc for _, disc in pairs}, key=lambda side: _place(side, discriminator_names()))
    return [
        Matrix(
            words,
            tuple(map(_called, discs)),
            tuple(map(_called, gens)),
            {
                (_called(gen), _called(disc)): _cell(gen, disc, found.get((gen, disc)), _shared(found))
                for gen in gens
                for disc in discs
            },
        )
        for words, found in combinations.items()
    ]


def pair_of(run: RunRecord) -> Pair:
    """Generator and discriminator of a run, `auto` by what it stands for."""
    disc, gen, alpha_disc, alpha_gen = (value_of(run, key) for key in OF_PAIR)
    return (str(gen), alpha_gen), (str(disc), alpha_disc)


def _called(side: Side) -> str:
    name, order = side
    return name if order is None else f"{name}={order:g}"


def _place(side: Side, known: Sequence[str]) -> tuple[int, float]:
    name, order = side
    return known.index(name) if name in known else len(known), order or 0.0


def _shared(found: dict[Pair, RunGroup]) -> dict[str, Any]:
    """What else of the objective the runs of a combination have in common."""
    config = next(iter(found.values())).runs[0].config
    names = {f.name for f in dataclasses.fields(LossConfig)} - {key.removeprefix("loss.") for key in OF_PAIR}
    return {name: config[f"loss.{name}"] for name in names if f"loss.{name}" in config}


def _cell(gen: Side, disc: Side, run_group: RunGroup | None, others: dict[str, Any]) -> Cell:
    try:
        make_objective(disc[0], gen[0], alpha_disc=disc[1], alpha_gen=gen[1], **others)
    except (ObjectiveError, TypeError) as error:
        return Cell("refused", reason=str(error))
    if run_group is None:
        return Cell("absent")
    chosen = run_group.replicates
    states = Counter(run.state for run in chosen if run.state != FINISHED)
    trouble = ", ".join(state if len(chosen) == 1 else f"{count} {state}" for state, count in states.items())
    reasons = dict.fromkeys(filter(None, (first_line(run.reason) for run in chosen if run.state != FINISHED)))
    return Cell("run", chosen, trouble, "; ".join(reasons))


def _paint(matrices: Sequence[Matrix], name: str, which: str) -> tuple[str, str] | None:
    """Writes the best or last of a figure into every cell that has it; worst and best in words, None without any."""
    lower = LOWER_IS_BETTER[name]
    found: list[tuple[Cell, Spread]] = []
    for cell in (cell for matrix in matrices for cell in matrix.cells.values() if cell.kind == "run"):
        reached = [figure_of(run, name, which) for run in cell.runs if run.state == FINISHED]
        over_seeds = spread([value for value in reached if value is not None])
        if over_seeds is not None:
            found.append((cell, over_seeds))
    if not found:
        return None
    means = [over_seeds.mean for _, over_seeds in found]
    worst, best = (max(means), min(means)) if lower else (min(means), max(means))
    for cell, over_seeds in found:
        good = 0.5 if best == worst else (over_seeds.mean - worst) / (best - worst)
        cell.metric_values[f"{name} {which}"] = Reached(
            spread_words(over_seeds),
            counted(over_seeds.count, "seed"),
            "#f4f6f8" if lower is None else _color(good),
            "#fff" if lower is not None and good >= DARK_FROM else "#000",
        )
    return number(worst), number(best)


def _color(good: float) -> str:
    """0 is the worst, 1 the best."""
    return str(sample_colorscale(SCALE, [0.05 + 0.95 * good])[0]).replace(" ", "")
