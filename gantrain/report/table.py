"""The table of results: a row a run_group, over its seeds, or a row a run."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from gantrain.config import as_word
from gantrain.metrics.metric import LOWER_IS_BETTER
from gantrain.report.formatting import direction, duration, number, spread_words, written
from gantrain.report.markup import render, source
from gantrain.report.outcomes import (
    DIVERSITY,
    Outcome,
    figure_names,
    first_line,
    folder_names,
    headline,
    images_seen,
    outcomes,
    training_seconds,
)
from gantrain.report.protocol_table import apart
from gantrain.report.run_groups import RunGroup, Spread, seed_of, spread
from gantrain.report.section import Section
from gantrain.report.styles import line_of, short_labels
from gantrain.run_io.run_reader import RunRecord
from gantrain.run_io.status import FINISHED

BEST, LAST = "best", "last"


@dataclass(frozen=True, slots=True)
class Column:
    """A column of the table.

    Attributes:
        key: of its cells, e.g. `fid best`.
        title: its head.
        group: the head above several.
        hint: a second line in the head.
        numeric: whether it is sorted and aligned as numbers.
        lower: whether lower is better, and the best one marked; None marks none.
    """

    key: str
    title: str
    group: str
    hint: str = ""
    numeric: bool = False
    lower: bool | None = None


@dataclass(slots=True)
class Cell:
    """A cell: its text, the value it is sorted by (None sorts last), and whether it is the best of its column."""

    text: str
    value: float | str | None
    note: str = ""
    best: bool = False


def make_table(run_groups: list[RunGroup]) -> Section:
    """Both tables, with the script that sorts them; the best run_group by the headline's figure comes first."""
    runs = [run for run_group in run_groups for run in run_group.runs]
    columns = columns_of(run_groups)
    ranked = ranking(run_groups)
    labels, names = short_labels(run_groups), folder_names(runs)
    by_variant = [(line_of(k), labels[k], _cells(run_groups[k], columns)) for k in ranked]
    by_run = [
        (
            line_of(k),
            f"{labels[k]}, seed {seed_of(run)}",
            names[run.folder],
            _cells(replace(run_groups[k], runs=(run,)), columns),
        )
        for k in ranked
        for run in run_groups[k].runs
    ]
    _mark([cells for _, _, cells in by_variant], columns)
    _mark([cells for *_, cells in by_run], columns)
    parted = apart(runs)
    html = render(
        "table.html.j2",
        groups=[(group, [c for c in columns if c.group == group]) for group in dict.fromkeys(c.group for c in columns)],
        columns=columns,
        head=next(iter(run_groups[0].values)) if len(run_groups[0].values) == 1 else "group",
        run_groups=by_variant,
        runs=by_run,
        parted=[written(name) for name in parted],
        headline=headline(runs),
    )
    return Section("table", "Table", html, source("table.css"), source("table.js"))


def columns_of(run_groups: Sequence[RunGroup]) -> list[Column]:
    """Varied keys (where there are several), figures, diversity, cost and health."""
    runs = [run for run_group in run_groups for run in run_group.runs]
    keys = list(run_groups[0].values)
    columns = [Column(key, key, "varied") for key in keys] if len(keys) > 1 else []
    parted = apart(runs)
    for name in figure_names(runs):
        lower = LOWER_IS_BETTER.get(name)
        marked = None if name in parted else lower
        group = "diversity" if name in DIVERSITY else "metrics"
        hint = "" if lower is None else direction(lower)
        hint = "protocols differ" if name in parted else hint
        if lower is not None:
            columns.append(Column(f"{name} {BEST}", f"{written(name)} best", group, hint, True, marked))
        columns.append(Column(f"{name} {LAST}", f"{written(name)} last", group, hint, True, marked))
    return [
        *columns,
        Column("images", "images", "cost", "seen by D, a run", True),
        Column("seconds", "time", "cost", "of training, a run", True),
        Column("states", "runs", "health"),
        *[Column("findings", "doctor's findings", "health")] * any(run.findings for run in runs),
        *[Column("reasons", "reasons", "health")] * any(run.reason for run in runs),
    ]


def figure_of(run: RunRecord, name: str, which: str) -> float | None:
    """The best or the last of a figure of a run's first network."""
    outcome: Outcome | None = outcomes(run).get(name)
    if outcome is None:
        return None
    return outcome.best if which == BEST else outcome.last


def over_seeds(run_group: RunGroup, name: str, which: str) -> Spread | None:
    """Of the run_group's `averaged` runs, those that have the figure."""
    return spread([value for run in run_group.averaged if (value := figure_of(run, name, which)) is not None])


def ranking(run_groups: Sequence[RunGroup]) -> list[int]:
    """Places of the run_groups from the best by the headline's best mean on; as they are where protocols differ."""
    runs = [run for run_group in run_groups for run in run_group.runs]
    name = headline(runs)
    if name is None or name in apart(runs):
        return list(range(len(run_groups)))
    sign = 1 if LOWER_IS_BETTER[name] else -1
    means = [over_seeds(run_group, name, BEST) for run_group in run_groups]
    places = [math.inf if mean is None else sign * mean.mean for mean in means]
    return sorted(range(len(run_groups)), key=places.__getitem__)


def _cells(run_group: RunGroup, columns: Sequence[Column]) -> dict[str, Cell]:
    runs = run_group.runs
    states = Counter(run.state for run in runs)
    findings = Counter(str(row["name"]) for run in runs for row in run.findings)
    reasons = list(dict.fromkeys(filter(None, (first_line(run.reason) for run in runs))))
    images, seconds = (
        spread([float(value) for run in run_group.averaged if (value := of_run(run)) is not None])
        for of_run in (images_seen, training_seconds)
    )
    alone = len(runs) == 1
    cells = {
        "states": Cell(", ".join(state if alone else f"{n} {state}" for state, n in states.items()), None),
        "findings": Cell(", ".join(name if n == 1 else f"{name} ×{n}" for name, n in findings.items()) or "none", None),
        "reasons": Cell("; ".join(reasons) or "–", None),
        "images": Cell(number(images.mean if images else None), images.mean if images else None),
        "seconds": Cell(duration(seconds.mean if seconds else None), seconds.mean if seconds else None),
    }
    for key in ("states", "findings", "reasons"):
        cells[key].value = cells[key].text
    cells |= {key: Cell(as_word(value), _sortable(value)) for key, value in run_group.values.items()}
    for column in columns:
        if column.key in cells:
            continue
        name, _, which = column.key.rpartition(" ")
        found = over_seeds(run_group, name, which)
        note = "" if alone or found is None else _left_out(run_group, found.count)
        cells[column.key] = Cell(spread_words(found), found.mean if found else None, note)
    return cells


def _left_out(run_group: RunGroup, count: int) -> str:
    """Of how many seeds a mean of `count` is, and which runs did not finish."""
    seeds = run_group.replicates
    few = [f"{count} of {len(seeds)} seeds"] if count < len(seeds) else []
    states = Counter(run.state for run in seeds if run.state != FINISHED)
    return "; ".join([*few, *(f"{runs} {state}" for state, runs in states.items())])


def _sortable(value: Any) -> float | str | None:
    if value is None or (isinstance(value, int | float) and not isinstance(value, bool)):
        return value
    return as_word(value)


def _mark(rows: Sequence[dict[str, Cell]], columns: Sequence[Column]) -> None:
    """The best cell, or cells, of each column where several rows have a value."""
    for column in columns:
        if column.lower is None:
            continue
        cells = [row[column.key] for row in rows if isinstance(row[column.key].value, float)]
        if len(cells) > 1:
            best = (min if column.lower else max)(float(cell.value or 0.0) for cell in cells)
            for cell in cells:
                cell.best = cell.value == best
