"""Charts of the headline metric against each varied number: the best value of each run, one chart per key."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gantrain.formatting import as_word
from gantrain.report.formatting import direction, number, title_of
from gantrain.report.markup import Section, embedded, render, source
from gantrain.report.run_table import BEST, RunTable
from gantrain.report.styles import line_of
from gantrain.run_io.status import FINISHED

if TYPE_CHECKING:
    import plotly.graph_objects as go

FEWEST_VALUES = 3
DECADE, FACTOR = 10.0, 3.0
"""Ratios of largest to smallest value above which the axes of the key and the metric are logarithmic."""
HEIGHT = 360
INK, GRID = "#1c2733", "#e8ecf0"


def make_sensitivity(table: RunTable) -> Section | None:
    """A chart for each key with several numbers; None without such a key, or if protocols differ."""
    name = table.headline
    if name is None or name in table.incomparable:
        return None
    rows = table.reached_by(name, BEST)
    measured = sorted(set(rows["group"]))
    keys = numeric_keys([table.groups[k].values for k in measured])
    if not keys:
        return None
    html = render(
        "sensitivity.html.j2",
        charts=[(key, embedded(draw(table, key, keys, name), HEIGHT)) for key in keys],
        metric=title_of(name),
        way=direction(name),
        several=len(keys) > 1,
        unfinished=bool((rows.loc[rows["replicate"], "state"] != FINISHED).any()),
    )
    title = f"{title_of(name)} against the varied numbers"
    return Section("sensitivity", title, html, source("sensitivity.css"))


def numeric_keys(values: Sequence[dict[str, Any]]) -> list[str]:
    """The keys whose values are numbers or None, with at least `FEWEST_VALUES` different numbers."""
    found = []
    for key in values[0] if values else ():
        known = {of_group[key] for of_group in values if not isinstance(of_group[key], list)} - {None}
        if all(isinstance(value, int | float) and not isinstance(value, bool) for value in known):
            found += [key] * (len(known) >= FEWEST_VALUES)
    return found


def draw(table: RunTable, key: str, numeric: Sequence[str], name: str) -> go.Figure:
    """The best value of each run against a key, a color for each combination of the keys that are not numbers.

    Means over seeds are joined if no other number varies.

    Args:
        table: the runs.
        key: one of `numeric`.
        numeric: every key that varies in numbers.
        name: of the metric, e.g. `fid`.
    """
    import plotly.graph_objects as go

    rows = table.reached_by(name, BEST)
    rows = rows[rows["replicate"]].join(table.runs[[*table.varied]], on="run").dropna(subset=[key])
    others = [k for k in table.varied if k not in numeric]
    rows = rows.assign(
        label=[" ".join(f"{k}={as_word(row[k])}" for k in others) for row in rows[others].to_dict("records")],
        number=rows[key].astype(float),
    ).sort_values("number", kind="stable")
    means = table.over_seeds(name, BEST)
    figure = go.Figure()
    labels = list(dict.fromkeys(rows.sort_values("group")["label"]))
    for place, label in enumerate(labels):
        style, of_label = line_of(place), rows[rows["label"] == label]
        if len(numeric) == 1:
            joined = of_label[of_label["group"].isin(list(means))].drop_duplicates("group")
            figure.add_scatter(
                x=joined["number"].tolist(),
                y=[means[group].mean for group in joined["group"]],
                mode="lines",
                line={"color": style.color, "dash": style.dash, "width": 1.5},
                hoverinfo="skip",
                showlegend=False,
            )
        figure.add_scatter(
            x=of_label["number"].tolist(),
            y=of_label[BEST].tolist(),
            mode="markers",
            marker={
                "color": style.color,
                "size": 9,
                "symbol": ["circle" if state == FINISHED else "circle-open" for state in of_label["state"]],
                "line": {"width": 1.5, "color": style.color},
            },
            text=[
                f"{_escaped(table.groups[group].label)}<br>seed {seed}"
                f"{'' if state == FINISHED else f', {state}'}: {number(value, 5)}"
                for group, seed, state, value in of_label[["group", "seed", "state", BEST]].itertuples(index=False)
            ],
            hovertemplate="%{text}<extra></extra>",
            name=_escaped(label),
            showlegend=len(labels) > 1,
        )
    figure.update_xaxes(title_text=key, **_axis(rows["number"], DECADE))
    figure.update_yaxes(title_text=f"best {title_of(name)}", **_axis(rows[BEST], FACTOR))
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


def _axis(values: Any, ratio: float) -> dict[str, Any]:
    axis: dict[str, Any] = {"gridcolor": GRID, "zeroline": False, "showline": True, "linecolor": "#8a949e"}
    low, high = float(values.min()), float(values.max())
    if low > 0 and high >= ratio * low:
        axis |= {"type": "log", "exponentformat": "power", "dtick": 1}
        if high < 100 * low:  # too few powers of ten
            powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
            ticks = [digit * 10.0**power for power in powers for digit in (1, 2, 5)]
            axis |= {"tickvals": ticks, "ticktext": [f"{tick:.3g}" for tick in ticks]}
    return axis


def _escaped(text: str) -> str:
    """Plotly interprets HTML tags in its texts."""
    return text.replace("&", "&amp;").replace("<", "&lt;")
