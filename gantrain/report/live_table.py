"""Live runs as a table for a terminal, with rich: a row a run, under a line about them all."""

import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.cells import cell_len
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from gantrain.metrics.metric import LOWER_IS_BETTER
from gantrain.report.formatting import base_of, counted, duration, named, number
from gantrain.report.live import LIVE, SILENT_SECONDS, STARTING, LiveRun, LiveSweep
from gantrain.run_io.run_reader import BROKEN
from gantrain.run_io.status import FAILED, FINISHED, INTERRUPTED, PRUNED, RUNNING, SKIPPED, STOPPED

STYLES = {
    STARTING: "cyan",
    RUNNING: "bold cyan",
    FINISHED: "",
    STOPPED: "yellow",
    PRUNED: "yellow",
    SKIPPED: "dim",
    INTERRUPTED: "yellow",
    FAILED: "bold red",
    BROKEN: "bold red",
}
GOOD, BAD, QUIET = "green", "yellow", "dim"
NAME, STATE, DONE, STEP, SPEED, LEFT, FIGURE, BEST, HEALTH = COLUMNS = (
    "run",
    "state",
    "done",
    "step",
    "images/s",
    "left",
    "figure",
    "best",
    "health",
)
FIRST_TO_GO = (STEP, BEST, SPEED, LEFT, FIGURE, HEALTH)
"""What a narrow terminal does without, in this order; the bar of DONE goes before all of them."""
BAR = 10  # characters
LINES = 2  # of a column's width in one row, for what is told of a run's health
GAP = 2  # characters between columns
WIDEST_NAME, NARROWEST_NAME, NARROWEST_HEALTH = 48, 24, 18


def view(runs: Sequence[LiveRun], sweeps: Sequence[LiveSweep], console: Console, *, height: int | None = None) -> Group:
    """The table as wide as the console, and no higher than `height` lines if that is given.

    Where it has to be shorter, texts are cut to one line each, then runs that have ended are left out, those that
    ended first before the others; a last line counts them.
    """
    whole = Group(head(runs, sweeps), *_tables(runs, sweeps, console.width, wrap=True), Text())
    if height is None or _height(whole, console) <= height:
        return whole
    kept = list(runs)
    by_age = sorted((run for run in runs if run.state not in LIVE), key=lambda run: run.status.time)
    going = [run for run in by_age if run.state == FINISHED] + [run for run in by_age if run.state != FINISHED]
    while True:
        hidden = len(runs) - len(kept)
        note = Text(f"and {hidden} more that have ended: a higher terminal shows them", QUIET) if hidden else Text()
        short = Group(head(runs, sweeps), *_tables(kept, sweeps, console.width, wrap=False), note)
        over = _height(short, console) - height
        if over <= 0 or not going:
            return short
        leave, going = going[:over], going[over:]
        kept = [run for run in kept if run not in leave]


def head(runs: Sequence[LiveRun], sweeps: Sequence[LiveSweep]) -> Text:
    """How many runs there are in each state, their images a second together, and how long they all take."""
    counts = Counter(run.state for run in runs)
    line = Text(f"{counted(len(runs), 'run')}: ", "bold")
    present = [state for state in STYLES if counts[state]] + [state for state in counts if state not in STYLES]
    for place, state in enumerate(present):
        line.append(" · " if place else "").append(f"{counts[state]} {state}", STYLES.get(state, ""))
    speed = sum(run.status.images_per_second for run in runs if run.state == RUNNING)
    if speed:
        line.append(f"   {speed:,.0f} images/s")
    to_come = [sweep.to_come for sweep in sweeps]
    of_sweeps = [sweep.seconds_left for sweep in sweeps]
    of_runs = [run.seconds_left for run in runs]
    left = [seconds for seconds in (*of_sweeps, *of_runs) if seconds is not None]
    coming = sum(jobs or 0 for jobs in to_come)
    if left:
        all_known = None not in to_come and all(s.seconds_left is not None or not s.to_come for s in sweeps)
        line.append(f"   about {duration(max(left))} left" + ("" if all_known else " for those that run"))
    if coming:
        line.append(f"   {counted(coming, 'job')} to come")
    return line


def _tables(runs: Sequence[LiveRun], sweeps: Sequence[LiveSweep], width: int, *, wrap: bool) -> list[Table]:
    """One for each folder that runs lie in, with the same columns."""
    figures = {run.figure for run in runs if run.figure}
    title = named(figures.pop()) if len(figures) == 1 else FIGURE
    rows = {run.folder: _cells(run, title) for run in runs}
    widths = _widths(list(rows.values()), title, width)
    groups: dict[Path, list[LiveRun]] = {}
    for run in runs:
        groups.setdefault(run.folder.parent, []).append(run)
    jobs = {sweep.folder: sweep.jobs for sweep in sweeps if sweep.jobs is not None}
    tables: list[Table] = []
    for parent, inside in groups.items():
        table = Table(box=box.SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0), show_header=not tables)
        if len(groups) > 1:
            shown = f"  ({len(inside)} of {jobs[parent]} jobs shown)" if parent in jobs else ""
            table.title = Text(_shown(parent) + shown, "bold")
            table.title_justify = "left"
        for column, wide in widths.items():
            table.add_column(
                title if column == FIGURE else column,
                width=wide,
                justify="right" if column in (STEP, SPEED, LEFT) else "left",
                no_wrap=not (wrap and column in (NAME, HEALTH)),
                overflow="fold" if wrap else "ellipsis",
            )
        for run in inside:
            cells = rows[run.folder]
            if HEALTH in widths:
                cells[HEALTH].truncate(LINES * widths[HEALTH], overflow="ellipsis")  # error.txt has the whole
            table.add_row(*(_percent(run) if c == DONE and w < BAR else cells[c] for c, w in widths.items()))
        tables.append(table)
    return tables


def _widths(rows: list[dict[str, Text]], title: str, width: int) -> dict[str, int]:
    """The columns that have room, in their order, and how wide each is."""
    heads = {column: cell_len(title if column == FIGURE else column) for column in COLUMNS}
    natural = {c: max([heads[c], *(row[c].cell_len for row in rows)]) for c in COLUMNS}
    least = natural | {
        NAME: min(natural[NAME], NARROWEST_NAME),
        HEALTH: min(natural[HEALTH], NARROWEST_HEALTH),
    }
    kept = [column for column in COLUMNS if any(row[column] for row in rows)]

    def over() -> int:
        return sum(least[column] for column in kept) + GAP * len(kept) - width

    if over() > 0:
        least[DONE] = natural[DONE] = len("100 %")
    for column in FIRST_TO_GO:
        if over() > 0 and column in kept:
            kept.remove(column)
    found = {column: least[column] for column in kept}
    for column, most in ((NAME, WIDEST_NAME), (HEALTH, natural[HEALTH])):
        if column in found:
            found[column] = max(1, min(natural[column], most, found[column] - over()))
            least[column] = found[column]
    return found


def _cells(run: LiveRun, title: str) -> dict[str, Text]:
    status = run.status
    step = f"{status.step:,}/{status.steps:,}" if status.steps else ""
    figure = Text()
    if run.last is not None:
        figure.append(number(run.last) if title != FIGURE else f"{named(str(run.figure))} {number(run.last)}")
        figure.append_text(_course(run))
    best = run.best
    return {
        NAME: Text(run.name),
        STATE: Text(run.state, STYLES.get(run.state, "")),
        DONE: _bar(run),
        STEP: Text(step),
        SPEED: Text(f"{status.images_per_second:,.0f}" if run.state == RUNNING and status.step else ""),
        LEFT: Text(duration(run.seconds_left) if run.seconds_left is not None else ""),
        FIGURE: figure,
        BEST: Text(f"{number(best[0])} at {best[1]:,}" if best else ""),
        HEALTH: _health(run),
    }


def _course(run: LiveRun) -> Text:
    """An arrow from the measurement before to the last, in the color of better or worse."""
    if run.before is None or run.last is None:
        return Text()
    if run.last == run.before:
        return Text(" →", QUIET)
    lower = LOWER_IS_BETTER.get(base_of(str(run.figure)))
    falls = run.last < run.before
    style = "" if lower is None else GOOD if falls == lower else BAD
    return Text(" ↓" if falls else " ↑", style)


def _health(run: LiveRun) -> Text:
    if run.state == FAILED:
        return Text(run.reason or "it left no reason", "red")
    words = Text()
    if run.state == BROKEN:
        gone = f"process {run.status.pid} is gone" if run.status.pid else "its process left no word"
        words.append(f"{gone}, {duration(run.silent)} without a word", "red")
    elif run.state == RUNNING and run.silent > SILENT_SECONDS:
        words.append(f"{duration(run.silent)} without a word", BAD)
    elif run.reason:
        words.append(run.reason, BAD)
    findings = ", ".join(name.replace("_", " ") for name in run.status.findings)
    if findings:
        words.append("; " if words else "").append(findings, BAD)
    if not words and run.state != STARTING:
        words = Text("ok", GOOD) if run.is_examined else Text("not examined", QUIET)
    return words


def _bar(run: LiveRun) -> Text:
    if run.share is None:
        return Text()
    done = int(BAR * run.share)
    bar = Text("━" * done, STYLES.get(run.state, "")).append("╌" * (BAR - done), QUIET)
    return bar.append(" ").append_text(_percent(run))


def _percent(run: LiveRun) -> Text:
    """Rounded down: 100 % is the end."""
    return Text("" if run.share is None else f"{int(100 * run.share + 1e-9):3d} %")


def _shown(folder: Path) -> str:
    relative = os.path.relpath(folder)
    return str(folder) if relative.startswith("..") else relative


def _height(content: Group, console: Console) -> int:
    return len(console.render_lines(content, console.options, pad=False))
