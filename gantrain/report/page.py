"""The page: one HTML file with everything in it, that opens from disk."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from plotly.offline import get_plotlyjs

import gantrain
from gantrain.config import as_word
from gantrain.report.configurations import make_configurations
from gantrain.report.curves import make_curves
from gantrain.report.failures import make_troubles
from gantrain.report.formatting import counted, written
from gantrain.report.markup import render, source
from gantrain.report.matrix import make_matrix
from gantrain.report.protocol_table import apart, make_protocols
from gantrain.report.run_groups import RunGroup
from gantrain.report.sample_wall import make_wall
from gantrain.report.section import Section
from gantrain.report.sensitivity import make_sensitivity
from gantrain.report.summary import make_answer
from gantrain.report.table import make_table
from gantrain.report.theory import make_theory
from gantrain.run_io.run_reader import RunRecord

SECTIONS: tuple[Callable[[list[RunGroup]], Section | None], ...] = (
    make_answer,
    make_table,
    make_sensitivity,
    make_matrix,
    make_curves,
    make_theory,
    make_wall,
    make_troubles,
    make_protocols,
    make_configurations,
)
"""What makes the page's parts, in their order; one that has nothing to show gives None."""

GENERATOR = "gantrain report"
"""The page's `generator`: what a file is known by as one that may be written again."""
MOST_VALUES = 12


def make_page(run_groups: list[RunGroup], title: str, command: str) -> str:
    """The page of these run_groups.

    Args:
        run_groups: at least one.
        title: its head.
        command: that made it, told at its end.
    """
    runs = [run for run_group in run_groups for run in run_group.runs]
    sections = [section for make in SECTIONS if (section := make(run_groups)) is not None]
    return render(
        "page.html.j2",
        title=title,
        generator=f"{GENERATOR} {gantrain.__version__}",
        sections=sections,
        css=source("page.css"),
        js=source("page.js"),
        plotly=get_plotlyjs(),
        facts=facts(run_groups),
        states=Counter(run.state for run in runs),
        varied=_varied(run_groups),
        parted=[written(name) for name in apart(runs)],
        command=command,
        made=time.strftime("%Y-%m-%d %H:%M:%S %z"),
    )


def facts(run_groups: Sequence[RunGroup]) -> dict[str, str]:
    """When, where and with what the runs were made; several values where they differ."""
    runs = [run for run_group in run_groups for run in run_group.runs]
    starts = [start for run in runs for start in run.starts]
    times = sorted(str(start["time"]) for start in starts if start.get("time"))
    ends = [run.status.time for run in runs if run.status.time]
    end = time.strftime("%Y-%m-%d %H:%M", time.localtime(max(ends))) if ends else ""
    versions: dict[str, list[Any]] = {
        name: [start.get("versions", {}).get(name) for start in starts] for name in ("gantrain", "torch")
    }
    found = {
        "when": f"{times[0][:16].replace('T', ' ')} to {end}" if times and end else "".join(times[:1]),
        "machine": _several([run.status.host for run in runs]),
        "device": _several([start.get("device") for start in starts]),
        "CPU threads": _several([start.get("cpu_threads") for start in starts]),
        "gantrain": _several(versions["gantrain"]),
        "commit": _several([_short(start.get("git_commit")) for start in starts]),
        "PyTorch": _several(versions["torch"]),
        "Python": _several([start.get("python") for start in starts]),
    }
    return {name: value for name, value in found.items() if value}


def _varied(run_groups: Sequence[RunGroup]) -> list[tuple[str, list[str], int]]:
    """Each varied key and the seeds, with their values and how many more there are.

    Numbers are sorted, other values in the order of the run_groups.
    """
    found = []
    known = [run_group for run_group in run_groups if run_group.runs[0].config] or run_groups
    keys = {key: [run_group.values[key] for run_group in known] for key in run_groups[0].values}
    keys["seed"] = sorted({seed for run_group in run_groups for seed in run_group.seeds})
    for key, values in keys.items():
        if all(isinstance(value, int | float) and not isinstance(value, bool) for value in values):
            values = sorted(values)
        words = list(dict.fromkeys(as_word(value) for value in values))
        found.append((key, words[:MOST_VALUES], max(0, len(words) - MOST_VALUES)))
    return found


def _several(values: Sequence[object]) -> str:
    known = Counter(str(value) for value in values if value not in (None, ""))
    if len(known) < 2:
        return "".join(known)
    return ", ".join(f"{value} ({count})" for value, count in known.most_common())


def _short(commit: str | None) -> str | None:
    if commit is None:
        return None
    digest, dash, rest = commit.partition("-")
    return digest[:12] + dash + rest


def describe(runs: Sequence[RunRecord], run_groups: Sequence[RunGroup]) -> str:
    """`15 runs of 5 groups: 13 finished, 2 failed`."""
    states = ", ".join(f"{count} {state}" for state, count in Counter(run.state for run in runs).most_common())
    return f"{counted(len(runs), 'run')} of {counted(len(run_groups), 'group')}: {states}"
