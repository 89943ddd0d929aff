"""Theoretical gradient weight of each group, the positions of its generated samples, and the measured weight."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gantrain.diagnostics.statistics import SATURATED
from gantrain.objectives import Objective, ObjectiveError
from gantrain.report.gradient_positions import (
    MEASURED,
    GradientPosition,
    gradient_positions,
    objective_of,
    slopes_at,
)
from gantrain.report.markup import Section, embedded, render, source
from gantrain.report.run_groups import RunGroup, seed_of
from gantrain.report.run_table import RunTable

if TYPE_CHECKING:
    import plotly.graph_objects as go

MOST_PANELS = 30
POINTS = 201
LEAST_REACH, MOST_REACH = 8.0, 24.0
"""Half the range of the axis of log r or v; samples outside are drawn at its edge."""
LOWEST, HIGHEST = -6, 4
"""Limits of the axis of weights, in decades."""
HEIGHT = 330
CURVE, GAP = 0.77, 0.03
"""Shares of a chart's height: the weights, and the gap between them and the positions."""
BLUE, VERMILION, GREY, INK = "#0072B2", "#D55E00", "#777777", "#1c2733"
MARKERS = {"start": ("#56B4E9", "circle"), "middle": ("#E69F00", "square"), "end": ("#000000", "diamond")}


@dataclass(frozen=True, slots=True)
class TheoryPanel:
    """A group's panel: its objective, and the positions of its generated samples."""

    group: RunGroup
    objective: Objective
    positions: list[GradientPosition]

    @property
    def axis(self) -> str:
        """Variable of the horizontal axis."""
        return "log r" if self.objective.has_log_ratio else "v"


@dataclass(frozen=True, slots=True)
class Frame:
    """Properties shared by all panels: half the range of each axis by name, and the range of weights in decades."""

    reach: dict[str, float]
    low: int
    high: int


def make_theory(table: RunTable) -> Section | None:
    """One panel per group; None if no group has a valid objective and logged scalars."""
    panels = []
    for group in table.groups:
        try:
            objective = objective_of(group.runs[0].config)
        except (ObjectiveError, TypeError):
            continue
        if positions := gradient_positions(group.replicates, objective):
            panels.append(TheoryPanel(group, objective, positions))
    if not panels:
        return None
    shown = panels[:MOST_PANELS]
    frame = frame_of(shown)
    html = render(
        "theory.html.j2",
        panels=[
            {
                "label": panel.group.label,
                "objective": str(panel.objective),
                "axis": panel.axis,
                "positions": panel.positions,
                "normalized": panel.group.runs[0].config.get("loss.normalize_ratio"),
                "theory": embedded(draw_weight(panel, frame), HEIGHT),
                "measured": embedded(measured, HEIGHT) if (measured := draw_measured(panel, frame)) else None,
            }
            for panel in shown
        ],
        axes=set(frame.reach),
        saturated=SATURATED,
        several=any(len(panel.group.replicates) > 1 for panel in shown),
        left_out=len(panels) - len(shown),
    )
    return Section("theory", "Theory and runs: the generator's gradient", html, source("theory.css"))


def frame_of(panels: Sequence[TheoryPanel]) -> Frame:
    """Axes that contain every panel's positions and weights, within limits."""
    reach: dict[str, float] = {}
    for panel in panels:
        far = max(abs(position.mean) + (position.std or 0.0) for position in panel.positions)
        reach[panel.axis] = max(reach.get(panel.axis, LEAST_REACH), min(MOST_REACH, 2 * math.ceil(far / 2 + 0.2)))
    weights = [SATURATED / 5, 5.0]
    for panel in panels:
        weights += map(abs, slopes_at(panel.objective, _grid(reach[panel.axis])))
        weights += [value for run in panel.group.replicates for _, value in run.series(MEASURED, "diagnostic")]
    decades = [math.log10(weight) for weight in weights if weight > 0 and math.isfinite(weight)]
    return Frame(reach, max(LOWEST, math.floor(min(decades))), min(HIGHEST, math.ceil(max(decades))))


def draw_weight(panel: TheoryPanel, frame: Frame) -> go.Figure:
    """|dL_G/dv| over log r or v, and below it mean ± standard deviation of the generated samples on the same axis."""
    from plotly.subplots import make_subplots

    figure = make_subplots(rows=2, cols=1, shared_xaxes=True, row_heights=[CURVE, 1 - CURVE], vertical_spacing=GAP)
    reach = frame.reach[panel.axis]
    x = _grid(reach)
    slopes = slopes_at(panel.objective, x)
    kinds: tuple[tuple[str, str, str, Any], ...] = (
        ("pushes v up", BLUE, "solid", lambda slope: slope < 0),
        ("pushes v down", VERMILION, "dash", lambda slope: slope > 0),
        ("exactly 0", GREY, "dot", lambda slope: slope == 0),
    )
    for name, color, dash, belongs in kinds:
        chosen = [belongs(slope) for slope in slopes]
        if any(chosen):
            figure.add_scatter(
                x=[round(value, 4) for value in x],
                y=[
                    _drawn(slope, frame) if of_it and math.isfinite(slope) else None
                    for slope, of_it in zip(slopes, chosen, strict=True)
                ],
                customdata=[f"{abs(slope):.3g}" for slope in slopes],
                hovertemplate=f"{panel.axis} %{{x:.2f}}: weight %{{customdata}}, {name}<extra></extra>",
                mode="lines",
                name=name,
                line={"color": color, "dash": dash, "width": 2.2},
                row=1,
                col=1,
            )
    for position in panel.positions:
        _add_position(figure, position, panel.axis, reach, frame)
    figure.update_xaxes(range=[-reach, reach], zeroline=True, zerolinecolor="#c5ccd3", **_AXIS)
    figure.update_xaxes(title_text=f"{panel.axis} of generated samples", title_standoff=6, row=2, col=1)
    figure.update_yaxes(**_weights_axis(frame), row=1, col=1)
    figure.update_yaxes(
        categoryorder="array", categoryarray=["end", "middle", "start"], range=[-0.6, 2.6], **_AXIS, row=2, col=1
    )
    _finish(figure, frame)
    return figure


def draw_measured(panel: TheoryPanel, frame: Frame) -> go.Figure | None:
    """The mean |dL_G/dv| that the diagnostics measured, over steps, one line per seed; None without diagnostics."""
    import plotly.graph_objects as go

    figure = go.Figure()
    for run in panel.group.replicates:
        series = run.series(MEASURED, "diagnostic")
        if series:
            figure.add_scatter(
                x=[step for step, _ in series],
                y=[_bounded(value, frame) for _, value in series],
                customdata=[f"{value:.3g}" for _, value in series],
                hovertemplate=f"step %{{x}}, seed {seed_of(run)}: %{{customdata}}<extra></extra>",
                mode="lines+markers" if len(series) < 30 else "lines",
                line={"color": INK, "width": 1.2},
                marker={"size": 5},
                opacity=0.75,
            )
    if not figure.data:
        return None
    figure.update_xaxes(title_text="generator steps", title_standoff=6, rangemode="tozero", nticks=5, **_AXIS)
    figure.update_yaxes(**_weights_axis(frame), domain=[1 - CURVE * (1 - GAP), 1])
    figure.update_yaxes(title_text="mean weight, measured")
    _finish(figure, frame)
    return figure


_AXIS: dict[str, Any] = {
    "fixedrange": True,
    "showline": True,
    "linecolor": "#8a949e",
    "gridcolor": "#e8ecf0",
    "ticks": "outside",
    "ticklen": 3,
}


def _weights_axis(frame: Frame) -> dict[str, Any]:
    span = frame.high - frame.low
    return {
        "type": "log",
        "range": [frame.low - 0.15, frame.high + 0.15],
        "dtick": 1 if span <= 7 else 2,
        "exponentformat": "power",
        "zeroline": False,
        "title_text": "|dL<sub>G</sub>/dv|",
        "title_standoff": 4,
        **_AXIS,
    }


def _add_position(figure: go.Figure, position: GradientPosition, axis: str, reach: float, frame: Frame) -> None:
    color, symbol = MARKERS[position.moment]
    outside = abs(position.mean) > reach
    edge = 0.96 * reach
    place = max(-edge, min(edge, position.mean))
    if outside:
        symbol = "triangle-left" if position.mean < 0 else "triangle-right"
    about = "" if position.std is None else f" ± {position.std:.3g}"
    words = (
        f"{position.moment}: {axis} {position.mean:.3g}{about}, weight there {abs(position.slope):.3g}<extra></extra>"
    )
    marker = {"color": color, "symbol": symbol, "size": 9, "line": {"color": "white", "width": 1}}
    figure.add_scatter(
        x=[place],
        y=[_bounded(abs(position.slope), frame)],
        mode="markers",
        marker=marker,
        hovertemplate=words,
        cliponaxis=False,
        row=1,
        col=1,
    )
    if len(position.each) > 1:
        figure.add_scatter(
            x=[max(-reach, min(reach, value)) for value in position.each],
            y=[position.moment] * len(position.each),
            mode="markers",
            marker={"symbol": "line-ns", "size": 11, "line": {"color": color, "width": 1.5}},
            hoverinfo="skip",
            row=2,
            col=1,
        )
    figure.add_scatter(
        x=[place],
        y=[position.moment],
        error_x=None
        if position.std is None or outside
        else {"array": [position.std], "color": color, "thickness": 3, "width": 5},
        mode="markers",
        marker=marker,
        hovertemplate=words,
        cliponaxis=False,
        row=2,
        col=1,
    )


def _finish(figure: go.Figure, frame: Frame) -> None:
    """Adds the band of vanishing weights, and sets the layout."""
    figure.add_hrect(
        y0=10 ** (frame.low - 0.15),
        y1=SATURATED,
        fillcolor="#CC79A7",
        opacity=0.16,
        line_width=0,
        layer="below",
        **({"row": 1, "col": 1} if figure._has_subplots() else {}),
    )
    figure.update_layout(
        template="none",
        height=HEIGHT,
        margin={"l": 58, "r": 12, "t": 10, "b": 42},
        showlegend=False,
        dragmode=False,
        hovermode="closest",
        font={"size": 12, "color": INK},
        hoverlabel={"align": "left"},
    )


def _drawn(slope: float, frame: Frame) -> float:
    """A weight on the axis, which a curve may leave; exactly 0 is drawn at the lower edge."""
    return float(f"{abs(slope):.5g}") if slope else _bounded(0.0, frame)


def _bounded(weight: float, frame: Frame) -> float:
    """A weight within the axis: 0 and values beyond the limits are drawn at its edges."""
    lowest, highest = 10.0 ** (frame.low - 0.1), 10.0 ** (frame.high + 0.1)
    return float(f"{min(max(weight, lowest), highest):.5g}") if not math.isnan(weight) else highest


def _grid(reach: float) -> list[float]:
    return [reach * (2 * place / (POINTS - 1) - 1) for place in range(POINTS)]
