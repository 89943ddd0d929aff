"""Under which protocol each figure was measured, and where protocols part, so that figures do not compare."""

import json
from collections.abc import Iterable, Sequence
from typing import Any

from gantrain.logs.records import RunRecord
from gantrain.report.markup import render
from gantrain.report.outcomes import figure_names, folder_names, outcomes, written
from gantrain.report.section import Section
from gantrain.report.variants import Variant

RESULTS = ("step", "real", "std", "kid_std", "inception_score_std")
"""What a measurement's protocol says of that measurement alone."""
OF_INTERVALS = ("interval_over", "bootstrap", "halves", "seeds")
ORIGINS = ("weights_origin",)
"""Where the weights were found; what they are is told by their digest."""


def protocols(runs: Iterable[RunRecord], name: str) -> dict[str, list[RunRecord]]:
    """The protocols of a figure over the runs' courses, as JSON, each with its runs; one if all runs compare."""
    found: dict[str, list[RunRecord]] = {}
    for run in runs:
        outcome = outcomes(run).get(name)
        rows = run.measured[f"{name}_{outcome.network}"] if outcome is not None else []
        for protocol in dict.fromkeys(_of_row(row) for row in rows):
            found.setdefault(protocol, []).append(run)
    return found


def apart(runs: Sequence[RunRecord]) -> list[str]:
    """The figures whose protocols differ between runs."""
    return [name for name in figure_names(runs) if len(protocols(runs, name)) > 1]


def make_protocols(variants: list[Variant]) -> Section | None:
    """A table of the protocols, a row each, with a warning where a figure has several; None without figures."""
    runs = [run for variant in variants for run in variant.runs]
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
    return Section("protocols", "Protocols", render("protocols.html.j2", figures=figures, of=len(runs)))


def _of_row(row: dict[str, Any]) -> str:
    left_out = (*RESULTS, *OF_INTERVALS, *ORIGINS)
    kept = {key: value for key, value in row["protocol"].items() if key not in left_out}
    return json.dumps({"network": kept.pop("network"), **kept}, ensure_ascii=False)


def _word(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
