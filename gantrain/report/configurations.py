"""Configurations as differences from the shared keys, and commands that repeat the runs."""

import re
import shlex
from collections.abc import Sequence
from typing import Any

from gantrain.formatting import as_word
from gantrain.report.markup import Section, render
from gantrain.report.run_groups import common_config, seed_of
from gantrain.report.run_table import RunTable
from gantrain.report.styles import line_of, short_labels
from gantrain.run_io.run_folder import SWEEP, read_content
from gantrain.run_io.run_reader import RunRecord

PROGRAM = ("python", "-m", "gantrain")
LEFT_OUT, LEFT_OUT_SECTIONS = ("resume", "name"), ("sweep.", "paper.", "hydra.")
"""Keys and sections that are irrelevant for repeating a run."""


def make_configurations(table: RunTable) -> Section:
    """The keys that all runs share, the differences between groups, and a command per run."""
    labels = short_labels(table.groups)
    html = render(
        "configurations.html.j2",
        common={key: as_word(value) for key, value in common_config(table.records).items()},
        sweeps=sweep_commands(table.records),
        keys=table.varied,
        groups=[
            {
                "line": line_of(k),
                "label": labels[k],
                "words": [as_word(value) for value in group.values.values()],
                "runs": [
                    (seed_of(run), folder, command(run))
                    for run, folder in zip(group.runs, table.runs.loc[table.runs["group"] == k, "folder"], strict=True)
                ],
            }
            for k, group in enumerate(table.groups)
        ],
    )
    return Section("configurations", "Configurations and commands", html)


def command(run: RunRecord) -> str:
    """A shell command that repeats the run: its overrides, or all keys of its configuration if these are missing."""
    words = list(run.overrides) or [f"{key}={hydra_word(value)}" for key, value in run.config.items()]
    return shlex.join([*PROGRAM, *(word for word in words if _is_needed(word.lstrip("+~").partition("=")[0]))])


def sweep_commands(runs: Sequence[RunRecord]) -> list[str]:
    """The command of each sweep that contains some of the runs, from its sweep.json."""
    found = dict.fromkeys(run.folder.resolve().parent for run in runs)
    words = [read_content(folder / SWEEP).get("words") for folder in found]
    return list(
        dict.fromkeys(shlex.join([*PROGRAM, "-m", *map(str, given)]) for given in words if isinstance(given, list))
    )


def hydra_word(value: Any) -> str:
    """A value in Hydra's grammar of overrides: floats in full precision, strings in quotes where needed."""
    if isinstance(value, list):
        return f"[{','.join(hydra_word(part) for part in value)}]"
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, str) and not re.fullmatch(r"[\w/.:+-]+", value):
        quoted = re.sub(r"(\\*)('|$)", lambda match: match[1] * 2 + match[2].replace("'", "\\'"), value)
        return f"'{quoted}'"  # backslashes are escaped only before a quote
    return as_word(value)


def _is_needed(key: str) -> bool:
    return key not in LEFT_OUT and not key.startswith(LEFT_OUT_SECTIONS)
