"""The page's table of protocols, and the figures that do not compare because theirs differ."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from gantrain.report.formatting import written
from gantrain.report.markup import render
from gantrain.report.outcomes import figure_names, folder_names, outcomes
from gantrain.report.protocols import protocols_of
from gantrain.report.run_groups import RunGroup
from gantrain.report.section import Section
from gantrain.run_io.run_reader import RunRecord


def protocols(runs: Iterable[RunRecord], name: str) -> dict[str, list[RunRecord]]:
    """The protocols of a figure over the runs' courses, as JSON, each with its runs; one if all runs compare."""
    found: dict[str, list[RunRecord]] = {}
    for run in runs:
        outcome = outcomes(run).get(name)
        if outcome is None:
            continue
        for protocol in protocols_of(run, f"{name}_{outcome.network}"):
            told = {"network": outcome.network, **protocol}
            found.setdefault(json.dumps(told, ensure_ascii=False), []).append(run)
    return found


def apart(runs: Sequence[RunRecord]) -> list[str]:
    """The figures whose protocols differ between runs."""
    return [name for name in figure_names(runs) if len(protocols(runs, name)) > 1]


def make_protocols(run_groups: list[RunGroup]) -> Section | None:
    """A table of the protocols, a row each, with a warning where a figure has several; None without figures."""
    runs = [run for run_group in run_groups for run in run_group.runs]
    names = folder_names(runs)
    figures = []
    for name in figure_names(runs):
        found = [(json.loads(text), of_runs) for text, of_runs in protocols(runs, name).items()]
        keys = {key for protocol, _ in found for key in protocol}
        parted = {key for key in keys if len({json.dumps(protocol.get(key)) for protocol, _ in found}) > 1}
        figures.append(
            {
                "title": written(name),
                "protocols": [
                    {
                        "words": [
                            (key.replace("_", " "), _word(value), key in parted) for key, value in protocol.items()
                        ],
                        "count": len(of_runs),
                        "folders": [names[run.folder] for run in of_runs],
                    }
                    for protocol, of_runs in found
                ],
            }
        )
    if not figures:
        return None
    return Section("protocols", "Protocols", render("protocols.html.j2", metrics=figures, of=len(runs)))


def _word(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
