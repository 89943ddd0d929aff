"""`python -m gantrain report RUN ...`: compares runs in the terminal and writes an HTML page and tables."""

import os
import shlex
import shutil
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.text import Text

from gantrain.commands.options import words_option
from gantrain.formatting import printable
from gantrain.options import ConfigError, option
from gantrain.report.comparison import Compared, choose_metrics, compare, comparison_table, notes
from gantrain.report.export import export_frame, has_parquet, is_export
from gantrain.report.formatting import counted, title_of
from gantrain.report.page import GENERATOR, make_page
from gantrain.report.run_table import BEST, LAST, RunTable, group_runs
from gantrain.run_io.run_reader import find_runs, read_run
from gantrain.system.atomic_io import PART, UnusableFolderError

PAGE, TABLES, CSV, PARQUET = "report.html", "runs", ".csv", ".parquet"
HEAD = 4096
"""Bytes of a page that contain its `generator`."""
LEAST_WIDTH = 100


@dataclass(slots=True, kw_only=True)
class Options:
    """Compare runs and write a self-contained HTML page: the best runs, differences over seeds, and learning curves.

    Runs that differ only in their seed form a group; differences are relative to the first run's group. Values are
    also written to runs.csv, one row per run, and to runs.parquet if pyarrow is installed (X.csv for out=X.html). Only
    files of an earlier report are overwritten.
    """

    folders: list[str] = words_option(
        "folders of runs or sweeps, or parents of such folders; the first run's group is the baseline"
    )
    out: str | None = option(
        None, "the page, .html; null: report.html in the folder if only one is given, else in the current folder"
    )
    title: str | None = option(None, "the page's title; null names the folders")
    metrics: list[str] | None = option(
        None, "metrics to print, e.g. fid,modes or fid_raw or all; null: the one that decides which run is best"
    )
    step: str = option(
        LAST, "what to print: last (the end and the best of each run), best, or a step that was measured"
    )

    def __post_init__(self) -> None:
        """Checks the page's name and the step."""
        if self.out is not None and Path(self.out).suffix.lower() not in (".html", ".htm"):
            raise ConfigError(f"out={self.out!r} must end in .html")
        if self.step not in (LAST, BEST) and not (self.step.isascii() and self.step.isdecimal()):
            raise ConfigError(f"step={self.step!r} must be last, best or a number of generator steps")


def run(options: Options) -> None:
    """Prints the comparison, and writes the page and the tables.

    Raises:
        ConfigError: a metric or step that no run measured, or an output file exists that no report wrote.
        RunFolderError: a folder contains no run, or a damaged run.
        UnusableFolderError: the page's folder does not exist, or cannot be written.
    """
    places = [Path(folder) for folder in options.folders]
    page = Path(options.out) if options.out else (places[0] if len(places) == 1 else Path()) / PAGE
    folders = {folder.resolve(): folder for folder in find_runs(places)}
    table = group_runs([read_run(folder) for folder in folders.values()])
    stem = page.with_name(TABLES) if page.name == PAGE else page
    tables = [stem.with_suffix(CSV), *([stem.with_suffix(PARQUET)] if has_parquet() else [])]
    _check(page, tables)
    metrics = choose_metrics(table, options.metrics)
    step = int(options.step) if options.step.isdecimal() else options.step
    measured = sorted(table.metrics.loc[table.metrics["metric"].isin(metrics), "step"].unique())
    if isinstance(step, int) and step not in measured:
        known = ", ".join(map(str, measured if len(measured) <= 20 else [*measured[:10], "...", *measured[-9:]]))
        raise ConfigError(f"step={step}: no run measured anything at this step; choose last, best or one of [{known}]")
    frame = export_frame(table)
    title = options.title or f"Runs of {', '.join(place.resolve().name for place in places)}"
    html = make_page(table, title, shlex.join(["python", "-m", "gantrain", *sys.argv[1:]]))
    writers: dict[Path, Callable[[Path], object]] = {
        tables[0]: lambda path: frame.to_csv(path, index=False),
        **{parquet: lambda path: frame.to_parquet(path, index=False) for parquet in tables[1:]},
        page: lambda path: path.write_text(html, encoding="utf-8"),
    }
    _write(writers)
    _print(table, {metric: compare(table, metric, step) for metric in metrics})
    print(printable("\n".join(str(path) for path in (page, *tables))))
    if not has_parquet():
        print(f"no {TABLES}{PARQUET}: pyarrow is not installed (pip install 'gantrain[parquet]')")


def _print(table: RunTable, compared: dict[str, list[Compared]]) -> None:
    """The number of runs in each state, the comparison of each metric, and its notes."""
    console = Console(width=max(LEAST_WIDTH, shutil.get_terminal_size((150, 40)).columns), highlight=False)
    states = ", ".join(f"{count} {state}" for state, count in Counter(table.runs["state"]).most_common())
    runs, groups = counted(len(table.runs), "run"), counted(len(table.groups), "group")
    console.print(Text(f"{runs} in {groups}: {states}", "bold"))
    for metric, rows in compared.items():
        console.print(comparison_table(table, metric, rows))
    lines = list(notes(table, compared))
    if table.incomparable:
        names = ", ".join(map(title_of, table.incomparable))
        lines.append(f"Protocols differ between runs for {names}: these metrics cannot be compared.")
    for line in lines:
        console.print(Text(printable(line)))


def _check(page: Path, tables: Sequence[Path]) -> None:
    """Refuses to overwrite files that no report wrote, and folders that cannot be written."""
    folder = page.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise UnusableFolderError(
            f"out={str(page)!r}: {str(folder)!r} is not a writable folder; give out=FOLDER/{PAGE}"
        )
    for path in (page, *tables):
        if (path.exists() or path.is_symlink()) and not (_is_report(path) if path == page else is_export(path)):
            raise ConfigError(
                f"{str(path)!r} was not written by gantrain report and will not be overwritten; move it, or set "
                "out= in another folder"
            )


def _is_report(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return f'<meta name="generator" content="{GENERATOR}'.encode() in file.read(HEAD)
    except OSError:
        return False


def _write(writers: dict[Path, Callable[[Path], object]]) -> None:
    """Writes each file under a temporary name, then renames them, so that no file is ever incomplete."""
    parts = {path: path.with_name(f".{path.name}.{os.getpid()}{PART}") for path in writers}
    try:
        for path, write in writers.items():
            write(parts[path])
        for path, part in parts.items():
            os.replace(part, path)
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)
