"""Each run_group's gradient weight by theory, where its generated examples stood on it, and what was measured."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from gantrain.diagnostics.statistics import SATURATED
from gantrain.objectives import Objective
from gantrain.report.gradient_positions import MEASURED, Stand, objective_of, slopes_at, stands
from gantrain.report.markup import embedded, render, source
from gantrain.report.run_groups import RunGroup, seed_of
from gantrain.report.section import Section

MOST_VARIANTS = 30
POINTS = 201
LEAST_REACH, MOST_REACH = 8.0, 24.0
"""Of the axis of log r, or v; what stands further out is drawn at its edge."""
LOWEST, HIGHEST = -6, 4
"""Decades in which the weights' axis ends at the latest."""
HEIGHT = 330
CURVE, GAP = 0.77, 0.03
"""Shares of a picture's height: the weights, and what is between them and the stands."""
BLUE, VERMILION, GREY, INK = "#0072B2", "#D55E00", "#777777", "#1c2733"
LOOKS = {"start": ("#56B4E9", "circle"), "middle": ("#E69F00", "square"), "end": ("#000000", "diamond")}


@dataclass(frozen=True, slots=True)
class Panel:
    """A run_group's part: its objective, and where its examples stood."""

    run_group: RunGroup
    objective: Objective
    stands: list[Stand]

    @property
    def axis(self) -> str:
        """What the weight is drawn over."""
        return "log r" if self.objective.has_log_ratio else "v"


@dataclass(frozen=True, slots=True)
class Frame:
    """What all panels share: half the width of each axis by its name, and the decades between which weights lie."""

    reach: dict[str, float]
    low: int
    high: int


def make_theory(run_groups: list[RunGroup]) -> Section | None:
    """Theory beside run, a panel a group; None where no group has an objective that exists and a row of scalars."""
    panels = []
    for run_group in run_groups:
        objective = objective_of(run_group.runs[0])
        if objective is not None:
            panels.append(Panel(run_group, objective, stands(run_group.replicates, objective)))
    panels = [panel for panel in panels if panel.stands]
    if not panels:
        return None
    shown = panels[:MOST_VARIANTS]
    frame = frame_of(shown)
    html = render(
        "theory.html.j2",
        panels=[
            {
                "label": panel.run_group.label,
                "objective": str(panel.objective),
                "axis": panel.axis,
                "stands": panel.stands,
                "normalized": panel.run_group.runs[0].config.get("loss.normalize_ratio"),
                "theory": embedded(draw_weight(panel, frame), HEIGHT),
                "measured": embedded(measured, HEIGHT) if (measured := draw_measured(panel, frame)) else None,
            }
            for panel in shown
        ],
        axes=set(frame.reach),
        saturated=SATURATED,
        several=any(len(panel.run_group.replicates) > 1 for panel in shown),
        left_out=len(panels) - len(shown),
        low=frame.low,
    )
    return Section("theory", "Theory beside the runs: where the gradient went", html, source("theory.css"))


def frame_of(panels: Sequence[Panel]) -> Frame:
    """Axes that hold every panel's stands and weights, within bounds."""
    reach: dict[str, float] = {}
    for panel in panels:
        far = max(abs(stand.mean) + (stand.std or 0.0) for stand in panel.stands)
        reach[panel.axis] = max(reach.get(panel.axis, LEAST_REACH), min(MOST_REACH, 2 * math.ceil(far / 2 + 0.2)))
    weights = [SATURATED / 5, 5.0]
    for panel in panels:
        weights += map(abs, slopes_at(panel.objective, _grid(reach[panel.axis])))
        weights += [value for run in panel.run_group.replicates for _, value in run.series(MEASURED, "diagnostic")]
    decades = [math.log10(weight) for weight in weights if weight > 0 and math.isfinite(weight)]
    return Frame(reach, max(LOWEST, math.floor(min(decades))), min(HIGHEST, math.ceil(max(decades))))


def draw_weight(panel: Panel, frame: Frame) -> go.Figure:
    """|dL_G/dv| over log r or v; below it, on the same axis, mean ± standard deviation of the run's examples."""
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
    for stand in panel.stands:
        _add_stand(figure, stand, panel.axis, reach, frame)
    figure.update_xaxes(range=[-reach, reach], zeroline=True, zerolinecolor="#c5ccd3", **_AXIS)
    figure.update_xaxes(title_text=f"{panel.axis} of generated examples", title_standoff=6, row=2, col=1)
    figure.update_yaxes(**_weights_axis(frame), row=1, col=1)
    figure.update_yaxes(
        categoryorder="array", categoryarray=["end", "middle", "start"], range=[-0.6, 2.6], **_AXIS, row=2, col=1
    )
    _finish(figure, frame)
    return figure


def draw_measured(panel: Panel, frame: Frame) -> go.Figure | None:
    """The mean |dL_G/dv| that the diagnostics measured, over steps, a line a seed; None where there were none."""
    figure = go.Figure()
    for run in panel.run_group.replicates:
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
    figure.update_yaxes(title_text="its mean, measured")
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


def _add_stand(figure: go.Figure, stand: Stand, axis: str, reach: float, frame: Frame) -> None:
    color, symbol = LOOKS[stand.moment]
    outside = abs(stand.mean) > reach
    edge = 0.96 * reach
    place = max(-edge, min(edge, stand.mean))
    if outside:
        symbol = "triangle-left" if stand.mean < 0 else "triangle-right"
    about = "" if stand.std is None else f" ± {stand.std:.3g}"
    words = f"{stand.moment}: {axis} {stand.mean:.3g}{about}, weight there {abs(stand.slope):.3g}<extra></extra>"
    look = {"color": color, "symbol": symbol, "size": 9, "line": {"color": "white", "width": 1}}
    figure.add_scatter(
        x=[place],
        y=[_bounded(abs(stand.slope), frame)],
        mode="markers",
        marker=look,
        hovertemplate=words,
        cliponaxis=False,
        row=1,
        col=1,
    )
    if len(stand.each) > 1:
        figure.add_scatter(
            x=[max(-reach, min(reach, value)) for value in stand.each],
            y=[stand.moment] * len(stand.each),
            mode="markers",
            marker={"symbol": "line-ns", "size": 11, "line": {"color": color, "width": 1.5}},
            hoverinfo="skip",
            row=2,
            col=1,
        )
    figure.add_scatter(
        x=[place],
        y=[stand.moment],
        error_x=None
        if stand.std is None or outside
        else {"array": [stand.std], "color": color, "thickness": 3, "width": 5},
        mode="markers",
        marker=look,
        hovertemplate=words,
        cliponaxis=False,
        row=2,
        col=1,
    )


def _finish(figure: go.Figure, frame: Frame) -> None:
    """What both pictures have: the band of weights without effect, and the same look."""
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
    """A curve leaves the axis where it goes on beyond; only what is exactly 0 stands at its lower edge."""
    return float(f"{abs(slope):.5g}") if slope else _bounded(0.0, frame)


def _bounded(weight: float, frame: Frame) -> float:
    """Within the axis, so that 0 and what is beyond stand at its edges."""
    lowest, highest = 10.0 ** (frame.low - 0.1), 10.0 ** (frame.high + 0.1)
    return float(f"{min(max(weight, lowest), highest):.5g}") if not math.isnan(weight) else highest


def _grid(reach: float) -> list[float]:
    return [reach * (2 * place / (POINTS - 1) - 1) for place in range(POINTS)]
