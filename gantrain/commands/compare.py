"""`python -m gantrain compare RUN RUN ...`: do groups of runs differ by more than their seeds?"""

import dataclasses
import json
import os
import shutil
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.text import Text

from gantrain.atomic_io import create_atomically
from gantrain.commands.options import words_option
from gantrain.config import ConfigError, option
from gantrain.report import comparison_picture
from gantrain.report.comparison import BEST, LAST, ComparedFigure, Point, common_steps, compare_figure, figures_of
from gantrain.report.comparison_notes import notes
from gantrain.report.comparison_table import figure_table, overview
from gantrain.report.formatting import counted
from gantrain.report.run_groups import RunGroup, common_config, group_runs, seed_of
from gantrain.report.terminal import PlainConsole
from gantrain.run_io.metrics_jsonl import finite
from gantrain.run_io.run_folder import git_commit, installed_versions
from gantrain.run_io.run_reader import find_runs, read_run
from gantrain.run_io.status import SKIPPED

NAME = "comparison"


@dataclass(slots=True, kw_only=True)
class Options:
    """Compare runs that differ in more than their seed with the first of them.

    Runs equal but for their seed are one run_group. Prints what differs, every figure over seeds with a test, and what
    to mind; writes a picture of sample grids side by side and the numbers as JSON.
    """

    run: list[str] = words_option(
        "folders of runs, of sweeps, or that hold some; the first one's group is the baseline"
    )
    figures: list[str] | None = option(None, "of those measured, e.g. fid,modes or fid_raw; null is all")
    step: str = option(
        LAST, "last: the end, and the best over the course; best: that alone; or a step that was measured"
    )
    out: str | None = option(
        None,
        f"the picture, a new .png; the numbers go beside it as .json; null is {NAME}.png here, or {NAME}-2.png ...",
    )

    def __post_init__(self) -> None:
        """Checks the step and what is written."""
        if self.step not in (LAST, BEST) and not (self.step.isascii() and self.step.isdecimal()):
            raise ConfigError(f"step={self.step!r} must be last, best or a number of generator steps")
        if self.figures == []:
            raise ConfigError("figures= names none; leave it out for all that were measured")
        if self.out is not None and Path(self.out).suffix != ".png":
            raise ConfigError(f"out={self.out!r} must end in .png")

    @property
    def point(self) -> Point:
        """The step, a number where it is one."""
        return int(self.step) if self.step.isdecimal() else self.step


def run(options: Options) -> None:
    """Prints the comparison, writes the picture and the numbers.

    Raises:
        ConfigError: one run alone, a figure or a step that nobody measured, or `out` exists.
        RunFolderError: no runs, or a damaged one.
    """
    path = _free_path(options.out)
    folders = {folder.resolve(): folder for folder in find_runs([Path(place) for place in options.run])}
    found = [read_run(folder) for folder in folders.values()]
    runs = [run for run in found if run.state != SKIPPED] or found
    if len(runs) < len(found):
        print(f"{counted(len(found) - len(runs), 'job')} of pairs that do not exist left out")
    if len(runs) == 1:
        raise ConfigError(
            f"{str(runs[0].folder)!r} is one run, and nothing to compare it with: give two or more, or a sweep's folder"
        )
    run_groups = group_runs(runs)
    names = figures_of(run_groups, options.figures)
    _check_step(options.point, names, run_groups)
    figures = [compare_figure(name, run_groups, options.point) for name in names]
    first = next((figure.name for figure in figures if figure.readings), names[0])
    told = notes(figures, run_groups, common_steps(run_groups, first))
    _print(figures, run_groups, told)
    pictured = _write_picture(path, figures, run_groups, options.point)
    numbers = path.with_suffix(".json")
    _write_numbers(numbers, figures, run_groups, options, told)
    print("\n".join(str(place) for place in ([path] if pictured else []) + [numbers]))


def _free_path(out: str | None) -> Path:
    """Where the picture goes: nothing is there, nor where the numbers go."""
    path, number = Path(out or f"{NAME}.png"), 1
    while out is None and (path.exists() or path.with_suffix(".json").exists()):
        number += 1
        path = Path(f"{NAME}-{number}.png")
    for place in (path, path.with_suffix(".json")):
        if place.exists():
            raise ConfigError(f"out={out!r}: {str(place)!r} exists, and nothing is overwritten; give another out")
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise ConfigError(f"out={str(path)!r}: {str(path.parent)!r} is no folder that can be written")
    return path


def _check_step(point: Point, names: Sequence[str], run_groups: Sequence[RunGroup]) -> None:
    if not isinstance(point, int):
        return
    rows = [row for v in run_groups for run in v.runs for name in names for row in run.measured.get(name, ())]
    steps = sorted({row["step"] for row in rows})
    if point not in steps:
        known = ", ".join(map(str, steps if len(steps) <= 20 else [*steps[:10], "...", *steps[-9:]]))
        raise ConfigError(f"step={point}: nothing was measured there; choose last, best or one of [{known}]")


def _print(figures: Sequence[ComparedFigure], run_groups: Sequence[RunGroup], told: Sequence[str]) -> None:
    width = max(100, shutil.get_terminal_size((150, 40)).columns)
    console = PlainConsole(width=width, markup=False, emoji=False, highlight=False)
    console.print(overview(run_groups))
    for figure in figures:
        console.print(figure_table(figure, run_groups))
    for note in told:
        console.print(Text(note))
    print(flush=True)


def _write_picture(path: Path, figures: Sequence[ComparedFigure], run_groups: Sequence[RunGroup], point: Point) -> bool:
    """Whether there was anything to draw."""
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    first = next((figure for figure in figures if figure.readings), None)
    size = comparison_picture.size_of(run_groups, first)
    if size is None:
        return False
    look: dict[Any, Any] = {
        "font.size": 9,
        "axes.grid": True,
        "grid.alpha": 0.25,
        "text.parse_math": False,
    }  # a $ in a label is a $
    with matplotlib.rc_context(look), create_atomically(path) as place:
        picture = Figure(figsize=size, layout="constrained")
        FigureCanvasAgg(picture)
        comparison_picture.draw(picture, run_groups, first, point)
        picture.savefig(place, dpi=150)
    if len(run_groups) > comparison_picture.MOST:
        print(f"the picture shows the first {comparison_picture.MOST} of {len(run_groups)} groups", file=sys.stderr)
    return True


def _write_numbers(
    path: Path, figures: Sequence[ComparedFigure], run_groups: Sequence[RunGroup], options: Options, told: Sequence[str]
) -> None:
    content = {
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "command": sys.argv,
        "git_commit": git_commit(),
        "versions": installed_versions(("gantrain", "scipy")),
        "step": options.point,
        "test": "Welch's t-test over seeds against the first group; Holm's correction over a metric's comparisons",
        "common": common_config([run for run_group in run_groups for run in run_group.runs]),
        "groups": [
            {
                "label": run_group.label,
                "values": run_group.values,
                "runs": [
                    {"folder": str(run.folder), "seed": seed_of(run), "state": run.state, "step": run.status.step}
                    for run in run_group.runs
                ],
            }
            for run_group in run_groups
        ],
        "figures": [_numbers(figure) for figure in figures],
        "notes": list(told),
    }
    with create_atomically(path) as place:
        text = json.dumps(finite(content), indent=1, ensure_ascii=False, allow_nan=False)
        place.write_text(text + "\n", encoding="utf-8")


def _numbers(figure: ComparedFigure) -> dict[str, Any]:
    return {
        "name": figure.name,
        "lower_is_better": figure.lower_is_better,
        "protocol": figure.protocol,
        **({"not_compared_for": figure.differs} if figure.differs else {}),
        "readings": {
            str(point): [
                {
                    **dataclasses.asdict(reading),
                    "spread": None if reading.spread is None else dataclasses.asdict(reading.spread),
                    "verdict": reading.verdict(figure.lower_is_better),
                }
                for reading in readings
            ]
            for point, readings in figure.readings.items()
        },
    }
