"""One look for an objective in all figures: colors of Okabe and Ito, told apart by the color-blind."""

import math
from typing import Any

BLACK, GREY = "#000000", "#7f7f7f"
ORANGE, SKY, GREEN, BLUE = "#e69f00", "#56b4e9", "#009e73", "#0072b2"
VERMILION, PURPLE = "#d55e00", "#cc79a7"

_DASHED, _DOTTED, _DASH_DOT = (0, (5, 2)), (0, (1, 1.5)), (0, (5, 1.5, 1, 1.5))

_LOOKS: dict[str, tuple[str, Any]] = {
    "gan": (BLUE, "-"),
    "js": (SKY, _DASHED),
    "kl": (VERMILION, "-"),
    "rkl": (GREEN, "-"),
    "hellinger": (ORANGE, "-"),
    "pearson": (VERMILION, _DASHED),
    "neyman": (GREEN, _DASHED),
    "jeffreys": (PURPLE, "-"),
    "tv": (GREY, "-"),
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


def look(name: str) -> dict[str, Any]:
    """Keywords of matplotlib's plot for an objective: color, line style and label."""
    color, style = _LOOKS[name]
    return {"color": color, "linestyle": style, "label": name, "linewidth": 1.5}


def decades(axes: Any, *, linear_within: float = 1.0, every: int = 1) -> None:
    """A y-axis in decades on both sides of zero, linear around it, with a tick every so many decades."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    axes.set_yscale("asinh", linear_width=linear_within)
    first = round(math.log10(linear_within))
    powers = [10.0**k for k in range(first, 13, every)]
    axes.yaxis.set_major_locator(FixedLocator([-power for power in reversed(powers)] + [0.0, *powers]))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(_decade))


def _decade(value: float, _: int) -> str:
    if abs(value) <= 100:
        return f"{value:g}".replace("-", "−")
    return rf"${'-' if value < 0 else ''}10^{{{math.log10(abs(value)):.0f}}}$"
