"""Color and line style of each objective in all figures, from the color-blind-safe palette of Okabe and Ito."""

import math
from typing import Any

from gantrain.objectives import DIVERGENCES

BLACK, GREY = "#000000", "#7f7f7f"
ORANGE, SKY, GREEN, BLUE = "#e69f00", "#56b4e9", "#009e73", "#0072b2"
VERMILION, PURPLE = "#d55e00", "#cc79a7"

_DASHED, _DOTTED, _DASH_DOT = (0, (5, 2)), (0, (1, 1.5)), (0, (5, 1.5, 1, 1.5))

_BY_POSITION: tuple[tuple[str, Any], ...] = (
    *((BLUE, "-"), (SKY, _DASHED), (VERMILION, "-"), (GREEN, "-"), (ORANGE, "-"), (VERMILION, _DASHED)),
    *((GREEN, _DASHED), (PURPLE, "-"), (GREY, "-"), (SKY, "-"), (PURPLE, _DASHED), (GREY, _DASHED), (BLUE, _DOTTED)),
)
"""Styles of the divergences in the order of their records; they repeat after the last."""

_OTHERS: dict[str, tuple[str, Any]] = {
    "alpha=-0.5": (GREEN, _DOTTED),
    "alpha=1.5": (VERMILION, _DOTTED),
    "minimax": (BLACK, _DASHED),
    "alt": (BLACK, "-"),
    "hinge": (ORANGE, "-"),
    "linear": (GREEN, _DASHED),
    "wasserstein": (GREEN, _DASHED),
    "hinge_ns": (ORANGE, "-"),
    "lsgan": (PURPLE, _DASH_DOT),
    "relativistic": (SKY, _DASH_DOT),
}


def style(name: str) -> dict[str, Any]:
    """Keywords of matplotlib's plot for an objective: color, line style and label."""
    if name in DIVERGENCES:
        color, line = _BY_POSITION[list(DIVERGENCES).index(name) % len(_BY_POSITION)]
    else:
        color, line = _OTHERS.get(name, (BLACK, _DOTTED))
    return {"color": color, "linestyle": line, "label": name, "linewidth": 1.5}


def asinh_axis(axes: Any) -> None:
    """A y-axis with a tick at every power of ten on both sides of zero, linear within ±1."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    axes.set_yscale("asinh", linear_width=1.0)
    powers = [10.0**k for k in range(13)]
    axes.yaxis.set_major_locator(FixedLocator([-power for power in reversed(powers)] + [0.0, *powers]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(_power_of_ten))


def _power_of_ten(value: float, _: int) -> str:
    if abs(value) <= 100:
        return f"{value:g}".replace("-", "−")
    return rf"${'-' if value < 0 else ''}10^{{{math.log10(abs(value)):.0f}}}$"
