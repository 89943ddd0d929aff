"""The page: one HTML file with everything in it, that opens from disk."""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from plotly.offline import get_plotlyjs

import gantrain
from gantrain.config import as_word
from gantrain.logs.records import RunRecord
from gantrain.report.answer import make_answer
from gantrain.report.configurations import make_configurations
from gantrain.report.curves import make_curves
from gantrain.report.markup import render, source
from gantrain.report.matrix import make_matrix
from gantrain.report.protocol_table import apart, make_protocols
from gantrain.report.section import Section
from gantrain.report.sensitivity import make_sensitivity
from gantrain.report.table import make_table
from gantrain.report.theory import make_theory
from gantrain.report.troubles import make_troubles
from gantrain.report.variants import Variant
from gantrain.report.wall import make_wall
from gantrain.report.wording import counted, written

SECTIONS: tuple[Callable[[list[Variant]], Section | None], ...] = (
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


def make_page(variants: list[Variant], title: str, command: str) -> str:
    """The page of these variants.

    Args:
        variants: at least one.
        title: its head.
        command: that made it, told at its end.
    """
    runs = [run for variant in variants for run in variant.runs]
    sections = [section for make in SECTIONS if (section := make(variants)) is not None]
    return render(
        "page.html.j2",
        title=title,
        generator=f"{GENERATOR} {gantrain.__version__}",
        sections=sections,
        css=source("page.css"),
        js=source("page.js"),
        plotly=get_plotlyjs(),
        facts=facts(variants),
        states=Counter(run.state for run in runs),
        varied=_varied(variants),
        parted=[written(name) for name in apart(runs)],
        command=command,
        made=time.strftime("%Y-%m-%d %H:%M:%S %z"),
    )


def facts(variants: Sequence[Variant]) -> dict[str, str]:
    """When, where and with what the runs were made; several values where they differ."""
    runs = [run for variant in variants for run in variant.runs]
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


def _varied(variants: Sequence[Variant]) -> list[tuple[str, list[str], int]]:
    """Each varied key and the seeds, with their values and how many more there are.

    Numbers are sorted, other values in the order of the variants.
    """
    found = []
    known = [variant for variant in variants if variant.runs[0].config] or variants
    keys = {key: [variant.values[key] for variant in known] for key in variants[0].values}
    keys["seed"] = sorted({seed for variant in variants for seed in variant.seeds})
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


def describe(runs: Sequence[RunRecord], variants: Sequence[Variant]) -> str:
    """`15 runs of 5 variants: 13 finished, 2 failed`."""
    states = ", ".join(f"{count} {state}" for state, count in Counter(run.state for run in runs).most_common())
    return f"{counted(len(runs), 'run')} of {counted(len(variants), 'variant')}: {states}"
