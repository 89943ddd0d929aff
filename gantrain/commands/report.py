"""`python -m gantrain report`: what came of runs, as a page that opens from disk and as a table for other programs."""

import os
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from gantrain.atomic_io import PART, UnusableFolderError
from gantrain.commands.options import words_option
from gantrain.config import ConfigError, option, printable
from gantrain.report.formatting import spread_words, written
from gantrain.report.outcomes import headline, outcomes
from gantrain.report.page import GENERATOR, describe, make_page
from gantrain.report.protocol_table import apart
from gantrain.report.rows import has_parquet, is_ours, rows_of, write_csv, write_parquet
from gantrain.report.run_groups import RunGroup, group_runs, seed_of
from gantrain.report.table import BEST, LAST, over_seeds, ranking
from gantrain.run_io.run_reader import find_runs, read_run
from gantrain.run_io.status import FINISHED, PRUNED, RUNNING, SKIPPED

PAGE, TABLES, CSV, PARQUET = "report.html", "runs", ".csv", ".parquet"
HEAD = 4096
"""Bytes of a page in which its `generator` stands."""
PRINTED = 12
"""Variants in the table that is printed."""


@dataclass(slots=True, kw_only=True)
class Options:
    """Write what came of runs into one HTML page that needs no network: which was best, on which seeds, how it went.

    runs.csv lies beside it, a row a run, and runs.parquet where pyarrow is installed (X.csv beside out=X.html). A
    report may be written again while runs go on; nothing else is overwritten.
    """

    folders: list[str] = words_option("folders of runs, of sweeps, or that hold some")
    out: str | None = option(None, "the page, .html; null is report.html in the folder, if one is given, else here")
    title: str | None = option(None, "the page's title; null names the folders")

    def __post_init__(self) -> None:
        """Checks the page's name."""
        if self.out is not None and Path(self.out).suffix.lower() not in (".html", ".htm"):
            raise ConfigError(f"out={self.out!r} must end in .html")


def run(options: Options) -> None:
    """Writes the page and the tables; prints where, with the best run_groups.

    Raises:
        ConfigError: a file to be written is there and was not written by an earlier report.
        RunFolderError: a folder holds no run, or a run that cannot be read.
        UnusableFolderError: the page's folder is not there, or cannot be written.
    """
    places = [Path(folder) for folder in options.folders]
    page = Path(options.out) if options.out else (places[0] if len(places) == 1 else Path()) / PAGE
    run_groups = group_runs([read_run(folder) for folder in find_runs(places)])
    stem = page.with_name(TABLES) if page.name == PAGE else page  # a page of another name has tables of its own
    tables = [stem.with_suffix(CSV), *([stem.with_suffix(PARQUET)] if has_parquet() else [])]
    _check(page, tables)
    rows = rows_of(run_groups)
    title = options.title or f"Runs of {', '.join(place.resolve().name for place in places)}"
    words = make_page(run_groups, title, shlex.join(["python", "-m", "gantrain", *sys.argv[1:]]))
    writers: dict[Path, Callable[[Path], object]] = {
        tables[0]: lambda path: write_csv(path, rows),
        **{table: lambda path: write_parquet(path, rows) for table in tables[1:]},
        page: lambda path: path.write_text(words, encoding="utf-8"),
    }
    _write(writers)
    print(printable(_summary(run_groups)))
    print(printable("\n".join(str(path) for path in (page, *tables))))
    if not has_parquet():
        print(f"no {TABLES}{PARQUET}: pyarrow is not installed (pip install 'gantrain[parquet]')")


def _check(page: Path, tables: Sequence[Path]) -> None:
    """Refuses to write over what no report wrote, and where nothing can be written."""
    folder = page.parent
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise UnusableFolderError(
            f"out={str(page)!r}: {str(folder)!r} is no folder that can be written; give out=FOLDER/{PAGE}"
        )
    for path in (page, *tables):
        if (path.exists() or path.is_symlink()) and not (_is_report(path) if path == page else is_ours(path)):
            raise ConfigError(
                f"{str(path)!r} was not written by gantrain report, and is not overwritten; move it, or give out= in "
                "another folder"
            )


def _is_report(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return f'<meta name="generator" content="{GENERATOR}'.encode() in file.read(HEAD)
    except OSError:
        return False


def _write(writers: dict[Path, Callable[[Path], object]]) -> None:
    """All the files beside their places, then each renamed to its own: none is ever half there."""
    parts = {path: path.with_name(f".{path.name}.{os.getpid()}{PART}") for path in writers}
    try:
        for path, write in writers.items():
            write(parts[path])
        for path, part in parts.items():
            os.replace(part, path)
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)


def _summary(run_groups: list[RunGroup]) -> str:
    """How many runs, and the run_groups from the best on."""
    runs = [run for run_group in run_groups for run in run_group.runs]
    lines = [describe(runs, run_groups)]
    name = headline(runs)
    if name is not None:
        table = [("group", f"{written(name)} best", f"{written(name)} last", "seeds", "")]
        for place in ranking(run_groups)[:PRINTED]:
            run_group = run_groups[place]
            best, last = (over_seeds(run_group, name, which) for which in (BEST, LAST))
            odd = ", ".join(dict.fromkeys(run.state for run in run_group.runs if run.state != FINISHED))
            told = [run for run in run_group.runs if name in outcomes(run) or run.state != FINISHED]
            seeds = ",".join(str(seed) for seed in dict.fromkeys(map(seed_of, told)))
            unmeasured = len(run_group.runs) - len(told)
            odd += f"{', ' if odd and unmeasured else ''}{f'{unmeasured} not measured' if unmeasured else ''}"
            table.append((run_group.label, spread_words(best), spread_words(last), seeds, odd))
        widths = [max(len(row[k]) for row in table) for k in range(len(table[0]))]
        lines += ["  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in table]
        if len(run_groups) > PRINTED:
            lines.append(f"  and {len(run_groups) - PRINTED} more, on the page")
    parted = apart(runs)
    if parted:
        names = ", ".join(map(written, parted))
        lines.append(f"protocols differ between runs for {names}: these figures do not compare")
    short = [run for run in runs if run.state not in (FINISHED, RUNNING, PRUNED, SKIPPED)]
    if short:
        lines.append(f"{len(short)} of {len(runs)} runs did not finish; the page says why")
    return "\n".join(line.rstrip() for line in lines)
