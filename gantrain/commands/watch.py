"""`python -m gantrain watch`: how runs stand, in a terminal, while they run."""

import os
import shutil
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.live import Live
from rich.text import Text

from gantrain.commands.options import words_option
from gantrain.config import ConfigError, option
from gantrain.report.live import LIVE, LiveRun, LiveRuns, LiveSweep
from gantrain.report.live_table import view
from gantrain.report.terminal import PlainConsole

BETWEEN_JOBS = 15.0
"""Seconds after the last run's end from which on no other is expected."""
BETWEEN_KNOWN_JOBS = 300.0
"""The same where a sweep has jobs to come: its process may be gone."""
WIDTH = 150  # of what is printed elsewhere than on a terminal


@dataclass(slots=True, kw_only=True)
class Options:
    """Show how runs stand, in a table that is drawn anew as they go on, until all have ended or Ctrl-C.

    Runs that begin meanwhile are taken in. Where the output is no terminal, the table is printed once.
    """

    folders: list[str] = words_option("runs, sweeps, or folders that hold some, such as outputs; they may be empty yet")
    every: float = option(2.0, "seconds between two looks")
    once: bool = option(False, "print the table once")
    keep: bool = option(False, "go on when all runs have ended, until Ctrl-C: for runs that are started one by one")

    def __post_init__(self) -> None:
        """Checks folders and ranges."""
        for folder in self.folders:
            if not os.path.isdir(folder):
                raise ConfigError(f"{folder!r} is no folder; give a run's, a sweep's, or one that holds some")
        if not 0.1 <= self.every <= 3600:
            raise ConfigError(f"every={self.every:g} must lie between 0.1 and 3600 seconds")


def run(options: Options) -> None:
    """Shows the table once or again and again."""
    seen = LiveRuns([Path(folder) for folder in options.folders])
    console = PlainConsole()
    if not sys.stdout.isatty():
        console = PlainConsole(width=shutil.get_terminal_size((WIDTH, 40)).columns)
    if options.once or not sys.stdout.isatty():
        runs, sweeps = seen.look()
        console.print(_waiting(options) if not runs else view(runs, sweeps, console))
        return
    try:
        _follow(options, seen, console)
    except KeyboardInterrupt:
        return  # the way to leave it


def _follow(options: Options, seen: LiveRuns, console: Console) -> None:
    with Live(console=console, auto_refresh=False) as live:
        while True:
            runs, sweeps = seen.look()
            table = view(runs, sweeps, console, height=console.height - 1) if runs else _waiting(options)
            live.update(table, refresh=True)
            if not options.keep and _is_over(runs, sweeps, options):
                live.update(view(runs, sweeps, console), refresh=True)  # also what had no room
                return
            time.sleep(options.every)


def _is_over(runs: list[LiveRun], sweeps: list[LiveSweep], options: Options) -> bool:
    """Whether all runs have ended, and long enough ago that none seems to follow."""
    if not runs or any(run.state in LIVE for run in runs):
        return False
    places = [Path(folder) for folder in options.folders]
    counted = [sweep.folder for sweep in sweeps if sweep.to_come is not None]
    if any(sweep.to_come for sweep in sweeps):
        patience = BETWEEN_KNOWN_JOBS
    elif all(place in counted or any(run.folder == place for run in runs) for place in places):
        patience = 0.0
    else:
        patience = BETWEEN_JOBS
    return min(run.silent for run in runs) >= patience


def _waiting(options: Options) -> Text:
    return Text(f"no run yet in {', '.join(options.folders)}: python -m gantrain trains one", "dim")
