"""The report's page: one self-contained HTML file."""

import time
from collections import Counter
from collections.abc import Callable, Sequence

import gantrain
from gantrain.formatting import as_word
from gantrain.report.configurations import make_configurations
from gantrain.report.curves import make_curves
from gantrain.report.failures import make_failures
from gantrain.report.formatting import title_of
from gantrain.report.markup import Section, render, source
from gantrain.report.matrix import make_matrix
from gantrain.report.protocols import make_protocols
from gantrain.report.run_table import RunTable
from gantrain.report.sample_wall import make_sample_wall
from gantrain.report.sensitivity import make_sensitivity
from gantrain.report.summary import make_summary
from gantrain.report.table import make_table
from gantrain.report.theory import make_theory

SECTIONS: tuple[Callable[[RunTable], Section | None], ...] = (
    make_summary,
    make_table,
    make_sensitivity,
    make_matrix,
    make_curves,
    make_theory,
    make_sample_wall,
    make_failures,
    make_protocols,
    make_configurations,
)
"""Functions that make the page's sections, in order; they return None without content."""

GENERATOR = "gantrain report"
"""The page's `generator`, which identifies earlier reports."""
MOST_VALUES = 12


def make_page(table: RunTable, title: str, command: str) -> str:
    """The page.

    Args:
        table: at least one run.
        title: its heading.
        command: the command line that made it, shown at the end.
    """
    from plotly.offline import get_plotlyjs

    sections = [section for make in SECTIONS if (section := make(table)) is not None]
    return render(
        "page.html.j2",
        title=title,
        generator=f"{GENERATOR} {gantrain.__version__}",
        sections=sections,
        css=source("page.css"),
        js=source("page.js"),
        plotly=get_plotlyjs(),
        facts=facts(table),
        states=Counter(table.runs["state"]),
        varied=_varied(table),
        incomparable=[title_of(name) for name in table.incomparable],
        command=command,
        made=time.strftime("%Y-%m-%d %H:%M:%S %z"),
    )


def facts(table: RunTable) -> dict[str, str]:
    """Date, machine and versions of the runs; several values if they differ."""
    runs = table.records
    starts = [start for run in runs for start in run.starts]
    times = sorted(str(start["time"]) for start in starts if start.get("time"))
    ends = [run.status.time for run in runs if run.status.time]
    end = time.strftime("%Y-%m-%d %H:%M", time.localtime(max(ends))) if ends else ""
    versions = [start.get("versions", {}) for start in starts]
    found = {
        "when": f"{times[0][:16].replace('T', ' ')} to {end}" if times and end else "".join(times[:1]),
        "machine": _several([run.status.host for run in runs]),
        "device": _several([start.get("device") for start in starts]),
        "CPU threads": _several([start.get("cpu_threads") for start in starts]),
        "gantrain": _several([of_start.get("gantrain") for of_start in versions]),
        "commit": _several([_short(start.get("git_commit")) for start in starts]),
        "PyTorch": _several([of_start.get("torch") for of_start in versions]),
        "Python": _several([start.get("python") for start in starts]),
    }
    return {name: value for name, value in found.items() if value}


def _varied(table: RunTable) -> list[tuple[str, list[str], int]]:
    """Each varied key and the seeds: their sorted values, and the number of values left out."""
    known = [group for group in table.groups if group.runs[0].config] or table.groups
    keys = {key: [group.values[key] for group in known] for key in table.varied}
    keys["seed"] = sorted(set(table.runs["seed"]))
    found = []
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
