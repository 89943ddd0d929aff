"""A row a run, for other programs: CSV, and Parquet where pyarrow is installed."""

import csv
import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gantrain.config import as_word
from gantrain.report.outcomes import all_outcomes, first_line, folder_names, images_seen, training_seconds
from gantrain.report.run_groups import RunGroup, seed_of, value_of
from gantrain.run_io.run_reader import RunRecord

FIRST, LAST = ("folder", "state", "seed"), ("images", "seconds", "findings", "reason")
MARK = b"gantrain report"
"""Key of the Parquet schema's metadata by which a file of ours is known."""

Row = dict[str, Any]


def rows_of(run_groups: Sequence[RunGroup]) -> list[Row]:
    """A row a run, each with the same columns in the same order; None where something is not there.

    Columns: folder, state, seed, each varied key, FIGURE_NETWORK/best, /best_step and /last of each figure and
    network, images, seconds, findings and the first line of the reason. A key whose values are of several types, or
    lists, is written in words.
    """
    runs = [run for run_group in run_groups for run in run_group.runs]
    names = folder_names(runs)
    keys = list(run_groups[0].values)
    columns = {key: _column([value_of(run, key) for run in runs]) for key in keys}
    measured = [_measured(run) for run in runs]
    figures = dict.fromkeys(name for of_run in measured for name in of_run)
    return [
        {
            "folder": names[run.folder],
            "state": run.state,
            "seed": seed_of(run),
            **{key: columns[key][place] for key in keys},
            **{name: measured[place].get(name) for name in figures},
            "images": images_seen(run),
            "seconds": training_seconds(run),
            "findings": "; ".join(str(row["name"]) for row in run.findings),
            "reason": first_line(run.reason),
        }
        for place, run in enumerate(runs)
    ]


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """UTF-8 with a head; floats in full, nothing where a value is not there."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def has_parquet() -> bool:
    """Whether pyarrow is installed, of the extra `parquet`."""
    return importlib.util.find_spec("pyarrow") is not None


def write_parquet(path: Path, rows: Sequence[Row]) -> None:
    """The same rows, each column of one type."""
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.table({name: [row[name] for row in rows] for name in rows[0]})
    pyarrow.parquet.write_table(table.replace_schema_metadata({MARK: b"runs"}), path)


def is_ours(path: Path) -> bool:
    """Whether a runs.csv or runs.parquet was written here."""
    if path.suffix == ".csv":
        try:
            with path.open(encoding="utf-8", newline="") as file:
                head = next(csv.reader(file), [])
        except (OSError, ValueError, csv.Error):
            return False
        return tuple(head[: len(FIRST)]) == FIRST and tuple(head[-len(LAST) :]) == LAST
    if not has_parquet():
        return False
    import pyarrow
    import pyarrow.parquet

    try:
        return MARK in (pyarrow.parquet.read_schema(path).metadata or {})
    except (OSError, pyarrow.ArrowException):
        return False


def _measured(run: RunRecord) -> dict[str, float | int | None]:
    found: dict[str, float | int | None] = {}
    for outcome in all_outcomes(run):
        name = f"{outcome.name}_{outcome.network}"
        found[f"{name}/best"] = outcome.best
        found[f"{name}/best_step"] = outcome.best_step
        found[f"{name}/last"] = outcome.last
    return found


def _column(values: Sequence[Any]) -> list[Any]:
    """The values as they are where they are of one plain type besides None, floats for numbers of both kinds."""
    types = {type(value) for value in values if value is not None}
    if types <= {int, float} and float in types:
        return [None if value is None else float(value) for value in values]
    if len(types) <= 1 and types <= {int, bool, str}:
        return list(values)
    return [None if value is None else as_word(value) for value in values]
