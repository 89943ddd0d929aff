"""Configurations as differences from what all runs share, and the commands that make the runs again."""

import re
import shlex
from collections.abc import Sequence
from typing import Any

from gantrain.config import as_word, options
from gantrain.report.markup import render
from gantrain.report.outcomes import folder_names
from gantrain.report.run_groups import RunGroup, common_config, seed_of
from gantrain.report.section import Section
from gantrain.report.styles import line_of, short_labels
from gantrain.run_io.run_folder import SWEEP, read_content
from gantrain.run_io.run_reader import RunRecord

PROGRAM = ("python", "-m", "gantrain")
NOT_AGAIN = ("resume", "name")
"""Keys that say where a run lay, not what it was."""
OF_OTHERS = ("sweep.", "paper.", "hydra.")


def make_configurations(run_groups: list[RunGroup]) -> Section:
    """What all share, each run_group's differences, and a command a run."""
    runs = [run for run_group in run_groups for run in run_group.runs]
    names = folder_names(runs)
    labels = short_labels(run_groups)
    html = render(
        "configurations.html.j2",
        common={key: as_word(value) for key, value in common_config(runs).items()},
        sweeps=sweep_commands(runs),
        keys=list(run_groups[0].values),
        run_groups=[
            {
                "line": line_of(k),
                "label": labels[k],
                "values": [as_word(value) for value in run_group.values.values()],
                "runs": [(seed_of(run), names[run.folder], command(run)) for run in run_group.runs],
            }
            for k, run_group in enumerate(run_groups)
        ],
    )
    return Section("configurations", "Configurations and commands", html)


def command(run: RunRecord) -> str:
    """The command that makes the run again, for a POSIX shell: what was asked for, else every key off its default."""
    if run.overrides:
        words = [word for word in run.overrides if _again(word.lstrip("+~").partition("=")[0])]
    else:
        defaults = {key: default for key, default, _ in options()}
        words = [
            f"{key}={hydra_word(value)}"
            for key, value in run.config.items()
            if key in defaults and value != defaults[key] and _again(key)
        ]
    return shlex.join([*PROGRAM, *words])


def sweep_commands(runs: Sequence[RunRecord]) -> list[str]:
    """The command of each sweep that the runs lie in, from its sweep.json."""
    found = dict.fromkeys(run.folder.resolve().parent for run in runs)
    words = [read_content(folder / SWEEP).get("words") for folder in found]
    return list(
        dict.fromkeys(shlex.join([*PROGRAM, "-m", *map(str, given)]) for given in words if isinstance(given, list))
    )


def hydra_word(value: Any) -> str:
    """A value in Hydra's grammar of overrides, without loss: floats in full, strings in quotes where they need them."""
    if isinstance(value, list):
        return f"[{','.join(hydra_word(part) for part in value)}]"
    if isinstance(value, float):
        return repr(value)
    if isinstance(value, str) and not re.fullmatch(r"[\w/.:+-]+", value):
        quoted = re.sub(r"(\\*)('|$)", lambda match: match[1] * 2 + match[2].replace("'", "\\'"), value)
        return f"'{quoted}'"  # a backslash is one, but before a quote
    return as_word(value)


def _again(key: str) -> bool:
    return key not in NOT_AGAIN and not key.startswith(OF_OTHERS)
