"""How much the figure hangs on a number that was varied: the best of each run against it, a picture a key."""

import math
from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from gantrain.config import as_word
from gantrain.metrics.metric import LOWER_IS_BETTER
from gantrain.report.formatting import direction, number, written
from gantrain.report.markup import embedded, render, source
from gantrain.report.outcomes import headline
from gantrain.report.protocol_table import apart
from gantrain.report.run_groups import RunGroup, seed_of
from gantrain.report.section import Section
from gantrain.report.styles import line_of
from gantrain.report.table import BEST, figure_of, over_seeds
from gantrain.run_io.run_reader import RunRecord
from gantrain.run_io.status import FINISHED

FEWEST_VALUES = 3
"""Of a key, below which the table tells as much."""
DECADE, FACTOR = 10.0, 3.0
"""Ratios of the largest to the smallest from which the key's and the figure's axis are logarithmic."""
HEIGHT = 360
INK, GRID = "#1c2733", "#e8ecf0"


def make_sensitivity(run_groups: list[RunGroup]) -> Section | None:
    """A picture for each key that takes several numbers; None without such a key, or where protocols differ."""
    runs = [run for run_group in run_groups for run in run_group.runs]
    name = headline(runs)
    if name is None or name in apart(runs):
        return None
    measured = [
        run_group for run_group in run_groups if any(figure_of(run, name, BEST) is not None for run in run_group.runs)
    ]
    keys = numeric_keys(measured)
    if not keys:
        return None
    html = render(
        "sensitivity.html.j2",
        pictures=[(key, embedded(draw(measured, key, keys, name), HEIGHT)) for key in keys],
        metric=written(name),
        way=direction(LOWER_IS_BETTER[name]),
        several=len(keys) > 1,
        unfinished=any(run.state != FINISHED for run_group in measured for run in run_group.replicates),
    )
    return Section(
        "sensitivity", f"{written(name)} against the numbers that were varied", html, source("sensitivity.css")
    )


def numeric_keys(run_groups: Sequence[RunGroup]) -> list[str]:
    """The varied keys whose values are numbers, and at least `FEWEST_VALUES` different ones."""
    found = []
    for key in run_groups[0].values if run_groups else ():
        values = {
            value for run_group in run_groups if (value := run_group.values[key]) is not None and not _is_text(value)
        }
        if len(values) >= FEWEST_VALUES and not any(_is_text(run_group.values[key]) for run_group in run_groups):
            found.append(key)
    return found


def draw(run_groups: Sequence[RunGroup], key: str, numeric: Sequence[str], name: str) -> go.Figure:
    """The best of each run against a key, in one color for equal values of the keys that are no numbers.

    Means are joined where no other number varies.

    Args:
        run_groups: those with the figure.
        key: one of `numeric`.
        numeric: every key that varies in numbers.
        name: of the figure, e.g. `fid`.
    """
    groups: dict[str, list[RunGroup]] = {}
    for run_group in run_groups:
        if run_group.values[key] is not None:
            words = [f"{k}={as_word(value)}" for k, value in run_group.values.items() if k not in numeric]
            groups.setdefault(" ".join(words), []).append(run_group)
    figure = go.Figure()
    for place, (label, of_group) in enumerate(groups.items()):
        look, ordered = line_of(place), sorted(of_group, key=lambda run_group: run_group.values[key])
        if len(numeric) == 1:
            means = [(run_group.values[key], over_seeds(run_group, name, BEST)) for run_group in ordered]
            joined = [(x, mean.mean) for x, mean in means if mean is not None]
            figure.add_scatter(
                x=[x for x, _ in joined],
                y=[y for _, y in joined],
                mode="lines",
                line={"color": look.color, "dash": look.dash, "width": 1.5},
                hoverinfo="skip",
                showlegend=False,
            )
        points = [
            (run_group.values[key], value, run, run_group.label)
            for run_group in ordered
            for run in run_group.replicates
            if (value := figure_of(run, name, BEST)) is not None
        ]
        figure.add_scatter(
            x=[x for x, *_ in points],
            y=[y for _, y, *_ in points],
            mode="markers",
            marker={
                "color": look.color,
                "size": 9,
                "symbol": ["circle" if run.state == FINISHED else "circle-open" for _, _, run, _ in points],
                "line": {"width": 1.5, "color": look.color},
            },
            text=[_told(label_, run, value) for _, value, run, label_ in points],
            hovertemplate="%{text}<extra></extra>",
            name=_escaped(label),
            showlegend=len(groups) > 1,
        )
    xs = [float(x) for trace in figure.data for x in trace.x]
    ys = [float(y) for trace in figure.data for y in trace.y]
    figure.update_xaxes(title_text=key, **_axis(xs, DECADE))
    figure.update_yaxes(title_text=f"best {written(name)}", **_axis(ys, FACTOR))
    figure.update_layout(
        template="none",
        height=HEIGHT,
        margin={"l": 66, "r": 16, "t": 12, "b": 48},
        font={"size": 12, "color": INK},
        hovermode="closest",
        hoverlabel={"align": "left"},
        dragmode=False,
        legend={"orientation": "h", "y": -0.25},
    )
    return figure


def _axis(values: Sequence[float], ratio: float) -> dict[str, Any]:
    look: dict[str, Any] = {"gridcolor": GRID, "zeroline": False, "showline": True, "linecolor": "#8a949e"}
    if values and min(values) > 0 and max(values) >= ratio * min(values):
        look |= {"type": "log", "exponentformat": "power", "dtick": 1}
        if max(values) < 100 * min(values):  # powers of ten alone would be too few
            lowest, highest = math.floor(math.log10(min(values))), math.ceil(math.log10(max(values)))
            ticks = [digit * 10.0**power for power in range(lowest, highest + 1) for digit in (1, 2, 5)]
            look |= {"tickvals": ticks, "ticktext": [f"{tick:.3g}" for tick in ticks]}
    return look


def _told(label: str, run: RunRecord, value: float) -> str:
    state = "" if run.state == FINISHED else f", {run.state}"
    return f"{_escaped(label)}<br>seed {seed_of(run)}{state}: {number(value, 5)}"


def _escaped(text: str) -> str:
    """Plotly reads tags in its texts."""
    return text.replace("&", "&amp;").replace("<", "&lt;")


def _is_text(value: object) -> bool:
    return value is not None and (isinstance(value, bool) or not isinstance(value, int | float))
