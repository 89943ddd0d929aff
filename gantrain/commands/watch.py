"""`python -m gantrain watch`: a table of runs in the terminal, read from their status.json until all have ended."""

import contextlib
import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich import box
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from gantrain.commands.options import words_option
from gantrain.formatting import printable
from gantrain.options import ConfigError, between, option
from gantrain.report.formatting import counted, duration, named, number
from gantrain.run_io.metrics_jsonl import RunFolderError
from gantrain.run_io.run_folder import REASON
from gantrain.run_io.run_reader import BROKEN, find_runs, state_of
from gantrain.run_io.status import FAILED, FINISHED, RUNNING, Status, read_status

STARTING = "starting"  # no step is done: data, weights and networks are being loaded
LIVE = (STARTING, RUNNING)
COLORS = {RUNNING: "bold cyan", STARTING: "cyan", FINISHED: "green", FAILED: "bold red", BROKEN: "bold red"}
SILENT_SECONDS = 600.0  # without a status.json, after which a run counts as broken
BETWEEN_JOBS = 15.0  # seconds without a live run, after which watch ends
WIDTH, NARROW = 150, 110  # columns: the width in a pipe, and the width below which three table columns are left out


@dataclass(slots=True, kw_only=True)
class Options:
    """Show runs in a live table until all have ended or Ctrl-C; without a terminal, print it once."""

    folders: list[str] = words_option(
        "folders of runs or sweeps, or parents of such folders, e.g. outputs; may be empty"
    )
    every: float = option(2.0, "seconds between two refreshes")
    once: bool = option(False, "print the table once")
    keep: bool = option(False, "continue after all runs have ended, until Ctrl-C")

    def __post_init__(self) -> None:
        """Checks folders and ranges."""
        for folder in self.folders:
            if not os.path.isdir(folder):
                raise ConfigError(
                    f"{folder!r} is not a folder; give the folder of a run or a sweep, or a parent of such folders"
                )
        between("every", self.every, 0.1, 3600)


@dataclass(frozen=True, slots=True)
class WatchedRun:
    """A run's folder, state (of `status.STATES`, `broken` or `starting`), status and the status's age in seconds."""

    folder: Path
    state: str
    status: Status
    age: float

    @property
    def seconds_left(self) -> float | None:
        """Seconds of training left at the current speed; None unless the run is training."""
        status = self.status
        if self.state != RUNNING or not status.images or status.images_per_second <= 0:
            return None
        return max(0, status.steps - status.step) * status.images / status.step / status.images_per_second

    @property
    def reason(self) -> str:
        """Why the run ended or what the doctor found; '' for a run without problems."""
        if self.state == BROKEN:
            return f"process {self.status.pid} is gone, last status {duration(self.age)} ago"
        with contextlib.suppress(OSError):
            if self.state not in LIVE:
                return (self.folder / REASON).read_text("utf-8", errors="replace").strip().partition("\n")[0]
        return self.status.reason or ", ".join(name.replace("_", " ") for name in self.status.findings)


def run(options: Options) -> None:
    """Prints the table once, or refreshes it."""
    places = [Path(folder) for folder in options.folders]
    console = Console(width=None if sys.stdout.isatty() else shutil.get_terminal_size((WIDTH, 40)).columns)
    if options.once or not sys.stdout.isatty():
        console.print(table_of(watched_runs(places), console.width))
        return
    with contextlib.suppress(KeyboardInterrupt), Live(console=console, auto_refresh=False) as live:
        while True:
            runs = watched_runs(places)
            live.update(table_of(runs, console.width, console.height), refresh=True)
            if runs and not options.keep and not any(run.state in LIVE or run.age < BETWEEN_JOBS for run in runs):
                return
            time.sleep(options.every)


def watched_runs(places: Sequence[Path]) -> list[WatchedRun]:
    """The runs at or under these folders, in the order of their names."""
    try:
        folders = find_runs(places)
    except RunFolderError:
        return []
    found = []
    for folder in folders:
        status = read_status(folder)
        age = max(0.0, time.time() - (status.time if status and status.time else folder.stat().st_mtime))
        state = state_of(status) if status else STARTING if age < SILENT_SECONDS else BROKEN
        status = status or Status(state=state)
        found.append(WatchedRun(folder, STARTING if state == RUNNING and not status.step else state, status, age))
    return found


def table_of(runs: Sequence[WatchedRun], width: int, height: int | None = None) -> Table | Text:
    """One row per run, with totals in the title; with a `height`, runs that ended first are left out as needed."""
    if not runs:
        return Text("no run yet", "dim")
    counts = Counter(run.state for run in runs)
    title = Text(f"{counted(len(runs), 'run')}: " + " · ".join(f"{n} {state}" for state, n in counts.items()), "bold")
    if speed := sum(run.status.images_per_second for run in runs if run.state == RUNNING):
        title.append(f"   {speed:,.0f} images/s")
    ended = sorted((run for run in runs if run.state not in LIVE), key=lambda run: run.status.time)
    hidden = ended[: max(0, len(runs) - height + 5)] if height else []  # 5 lines are head and title
    metrics = {run.status.best.get("headline") or next(iter(run.status.metric_values), "") for run in runs} - {""}
    titles = {metric: printable(named(metric)) for metric in sorted(metrics)}
    heads = ["state", "done", "step", "images/s", "left", *titles.values(), "best", "reason"]
    if width < NARROW:
        heads = [head for head in heads if head not in ("step", "images/s", "best")]
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0))
    table.add_column("run", no_wrap=True, min_width=12, overflow="ellipsis")
    for head in heads:
        table.add_column(
            head, no_wrap=head != "reason" or height is not None, overflow="ellipsis" if height else "fold"
        )
    root = Path(os.path.commonpath([run.folder.parent.absolute() for run in runs]))
    for run in (run for run in runs if run not in hidden):
        status, best = run.status, run.status.best
        cells: dict[str, str | Text] = {
            "state": Text(run.state, COLORS.get(run.state, "yellow")),
            "done": f"{int(100 * status.step / status.steps)} %" if status.steps else "",
            "step": f"{status.step:,}/{status.steps:,}" if status.steps else "",
            "images/s": f"{status.images_per_second:,.0f}" if run.state == RUNNING else "",
            "left": duration(run.seconds_left) if run.seconds_left is not None else "",
            "best": f"{number(best['value'])} at {best['step']:,}" if best else "",
            "reason": Text(printable(run.reason)),
            **{titles[metric]: number(status.metric_values.get(metric)) for metric in metrics},
        }
        name = Text(printable(run.folder.absolute().relative_to(root).as_posix()))
        table.add_row(name, *(cells[head] for head in heads))
    table.caption = Text(f"and {len(hidden)} more that have ended", "dim") if hidden else None
    return table
