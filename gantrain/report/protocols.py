"""The protocols of each metric; values are comparable only if they are equal."""

import json
from collections.abc import Sequence
from typing import Any

from gantrain.report.formatting import title_of
from gantrain.report.markup import Section, render
from gantrain.report.run_table import RunTable

Protocol = dict[str, Any]


def disagreements(protocols: Sequence[Protocol]) -> list[str]:
    """The keys in which protocols differ; an absent key counts as a value."""
    keys = dict.fromkeys(key for protocol in protocols for key in protocol)
    return [key for key in keys if len({json.dumps(protocol.get(key)) for protocol in protocols}) > 1]


def make_protocols(table: RunTable) -> Section | None:
    """One row per protocol of each metric, with a warning if a metric has several; None without metrics."""
    primary = table.metrics[table.metrics["primary"]]
    metrics = []
    for name in table.metric_names:
        by_protocol = primary[primary["name"] == name].groupby("protocol", sort=False)["run"].unique()
        protocols = [json.loads(text) for text in by_protocol.index]
        differing = disagreements(protocols)
        rows = [
            {
                "words": [(k.replace("_", " "), _word(value), k in differing) for k, value in protocol.items()],
                "count": len(runs),
                "folders": list(table.runs["folder"][runs]),
            }
            for protocol, runs in zip(protocols, by_protocol, strict=True)
        ]
        metrics.append({"title": title_of(name), "protocols": rows})
    if not metrics:
        return None
    html = render("protocols.html.j2", metrics=metrics, of=len(table.runs))
    return Section("protocols", "Protocols", html)


def _word(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
