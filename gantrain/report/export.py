"""The runs as runs.csv and, with pyarrow, runs.parquet: a row per run."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gantrain.formatting import as_word
from gantrain.report.run_table import BEST, LAST, RunTable

if TYPE_CHECKING:
    import pandas as pd

FIRST, FINAL = ["folder", "state", "seed"], ["images", "seconds", "findings", "reason"]
"""The first and last columns, which identify a table written by a report."""


def export_frame(table: RunTable) -> pd.DataFrame:
    """folder, state, seed, the varied keys, METRIC/best, /best_step and /last of each metric, and `FINAL`.

    Keys whose values are lists or have several types become text.
    """
    frame = table.runs[[*FIRST, *table.varied]].copy()
    for key in table.varied:
        frame[key] = _one_type(list(frame[key]))
    for metric in table.metrics["metric"].unique():
        rows = table.reached[table.reached["metric"] == metric].set_index("run")
        for column in (BEST, "best_step", LAST):
            frame[f"{metric}/{column}"] = rows[column].astype("Int64" if column == "best_step" else float)
    return frame.join(table.runs[FINAL])


def has_parquet() -> bool:
    """Whether pyarrow is installed (extra `parquet`)."""
    return importlib.util.find_spec("pyarrow") is not None


def is_export(path: Path) -> bool:
    """Whether a CSV or Parquet file has the columns of `export_frame`."""
    import pandas as pd

    try:
        if path.suffix == ".csv":
            columns = list(pd.read_csv(path, nrows=0).columns)
        else:
            import pyarrow.parquet

            columns = pyarrow.parquet.read_schema(path).names
    except (OSError, ValueError, ImportError):
        return False
    return columns[: len(FIRST)] == FIRST and columns[-len(FINAL) :] == FINAL


def _one_type(values: Sequence[Any]) -> list[Any]:
    types = {type(value) for value in values if value is not None}
    if types <= {int, float} and float in types:
        return [None if value is None else float(value) for value in values]
    if len(types) <= 1 and types <= {int, bool, str}:
        return list(values)
    return [None if value is None else as_word(value) for value in values]
