"""The table of results, with one row per group (means over seeds) or one per run."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from gantrain.formatting import as_word
from gantrain.metrics.registry import lower_is_better
from gantrain.report.formatting import (
    SeedMean,
    direction,
    duration,
    mean_and_std,
    measures_diversity,
    number,
    title_of,
)
from gantrain.report.markup import Section, render, source
from gantrain.report.run_table import BEST, LAST, RunTable
from gantrain.report.styles import Line, line_of, short_labels
from gantrain.run_io.status import FINISHED


@dataclass(frozen=True, slots=True)
class TableColumn:
    """A column.

    Attributes:
        key: of its cells, e.g. `fid best`.
        title: its head.
        above: the head above several columns.
        hint: a second line in the head.
        numeric: whether it is sorted and aligned as numbers.
        lower: whether lower is better; the best cell is marked, unless this is None.
    """

    key: str
    title: str
    above: str
    hint: str = ""
    numeric: bool = False
    lower: bool | None = None


@dataclass(slots=True)
class TableCell:
    """A cell: its text, the value it is sorted by (None sorts last), a note, and whether it is the best."""

    text: str
    value: float | str | None
    note: str = ""
    best: bool = False


@dataclass(frozen=True, slots=True)
class TableRow:
    """A row: how its group is drawn, its label, the run's folder ('' for a group) and its cells by column."""

    line: Line
    label: str
    folder: str
    cells: dict[str, TableCell] = field(default_factory=dict)


def make_table(table: RunTable) -> Section:
    """Both tables with the script that sorts them; the best group by the headline metric comes first."""
    columns = columns_of(table)
    labels = short_labels(table.groups)
    keys = [column.key.rpartition(" ")[::2] for column in columns if column.key.endswith((f" {BEST}", f" {LAST}"))]
    group_means = {f"{name} {which}": table.over_seeds(name, which) for name, which in keys}
    run_values = {f"{name} {which}": table.over_seeds(name, which, among="any", by="run") for name, which in keys}
    by_group, by_run = [], []
    for group in table.ranking:
        rows = table.runs[table.runs["group"] == group]
        by_group.append(TableRow(line_of(group), labels[group], "", _cells(table, rows, group, group_means)))
        for run, seed, folder in zip(rows.index, rows["seed"], rows["folder"], strict=True):
            cells = _cells(table, rows.loc[[run]], run, run_values)
            by_run.append(TableRow(line_of(group), f"{labels[group]}, seed {seed}", folder, cells))
    _mark_best(by_group, columns)
    _mark_best(by_run, columns)
    html = render(
        "table.html.j2",
        heads=Counter(column.above for column in columns),
        columns=columns,
        head=table.varied[0] if len(table.varied) == 1 else "group",
        groups=by_group,
        runs=by_run,
        incomparable=[title_of(name) for name in table.incomparable],
    )
    return Section("table", "Table", html, source("table.css"), source("table.js"))


def columns_of(table: RunTable) -> list[TableColumn]:
    """Varied keys (where there are several), quality, diversity, cost and health."""
    columns = [TableColumn(key, key, "varied") for key in table.varied] if len(table.varied) > 1 else []
    for name in table.metric_names:
        lower, title = lower_is_better(name), title_of(name)
        above = "diversity" if measures_diversity(name) else "metrics"
        differs = name in table.incomparable
        hint = "protocols differ" if differs else direction(name)
        marked = None if differs else lower
        if lower is not None:
            columns.append(TableColumn(f"{name} {BEST}", f"{title} best", above, hint, True, marked))
        columns.append(TableColumn(f"{name} {LAST}", f"{title} last", above, hint, True, marked))
    return [
        *columns,
        TableColumn("images", "images", "cost", "seen by D", numeric=True),
        TableColumn("seconds", "time", "cost", "training", numeric=True),
        TableColumn("states", "states", "health"),
        TableColumn("findings", "doctor", "health"),
        TableColumn("reasons", "reasons", "health"),
    ]


def _cells(table: RunTable, rows: Any, place: int, means: dict[str, dict[int, SeedMean]]) -> dict[str, TableCell]:
    """The cells of a group or a run: its rows of `table.runs`, its number, and means by column and number."""
    single = len(rows) == 1
    states, findings = Counter(rows["state"]), Counter(n for text in rows["findings"] if text for n in text.split("; "))
    averaged = rows if single else rows[rows["averaged"]]
    images, seconds = (
        None if (known := averaged[cost].dropna()).empty else float(known.mean()) for cost in ("images", "seconds")
    )
    texts = {
        "states": ", ".join(state if single else f"{count} {state}" for state, count in states.items()),
        "findings": ", ".join(name if count == 1 else f"{name} ×{count}" for name, count in findings.items()) or "none",
        "reasons": "; ".join(dict.fromkeys(filter(None, rows["reason"]))) or "–",
    }
    cells = {name: TableCell(text, text) for name, text in texts.items()}
    cells["images"] = TableCell(number(images), images)
    cells["seconds"] = TableCell(duration(seconds), seconds)
    for name in table.varied:
        value = rows[name].iloc[0]
        plain = value is None or (isinstance(value, int | float) and not isinstance(value, bool))
        cells[name] = TableCell(as_word(value), value if plain else as_word(value))
    for column, found in means.items():
        mean = found.get(place)
        note = "" if single or mean is None else _left_out(rows, mean.count)
        cells[column] = TableCell(mean_and_std(mean), mean.mean if mean else None, note)
    return cells


def _left_out(rows: Any, count: int) -> str:
    """How many seeds a mean of `count` values leaves out, and which runs have not finished."""
    seeds = rows[rows["replicate"]]
    few = [f"{count} of {len(seeds)} seeds"] if count < len(seeds) else []
    states = Counter(state for state in seeds["state"] if state != FINISHED)
    return "; ".join([*few, *(f"{runs} {state}" for state, runs in states.items())])


def _mark_best(rows: Sequence[TableRow], columns: Sequence[TableColumn]) -> None:
    """Marks the best cells of each column in which several rows have a value."""
    for column in columns:
        cells = [row.cells[column.key] for row in rows if isinstance(row.cells[column.key].value, float)]
        if column.lower is not None and len(cells) > 1:
            best = (min if column.lower else max)(float(cell.value or 0.0) for cell in cells)
            for cell in cells:
                cell.best = cell.value == best
