"""How figure 3 looks: a panel a divergence, paths over contours."""

import math
from typing import Any

import numpy as np

from gantrain.theory.flow import Flow, Path, Window
from gantrain.theory.panels import Panel, Point

COLOURS = {"exact": "#0072B2", "poole": "#D55E00"}
TITLES = {"exact": "exact rule", "poole": "Poole's rule"}
DASHES: dict[str, Any] = {"exact": "-", "poole": (0, (3, 1.2))}
LEVELS = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
COLUMNS = 3
TICKS = [digit * 10.0**power for power in range(-6, 7) for digit in (1, 2, 3, 5)]


def draw_paths(picture: Any, panels: list[Panel], starts: tuple[Point, ...], window: Window) -> None:
    """Draws every panel with shared axes, and one legend for all."""
    columns = min(COLUMNS, len(panels))
    rows = math.ceil(len(panels) / columns)
    grid = picture.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for axes in grid.flat[len(panels) :]:
        axes.set_visible(False)
    for k, (axes, panel) in enumerate(zip(grid.flat, panels, strict=False)):
        _draw_panel(axes, panel, starts)
        axes.set_xlim(*window.means)
        axes.set_yscale("log")
        axes.set_ylim(window.stds[0] * 0.93, window.stds[1])
        ticks = [tick for tick in TICKS if _between(tick, window.stds)]
        axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
        if k % columns == 0:
            axes.set_ylabel("σ (log scale)")
        if k + columns >= len(panels):
            axes.set_xlabel("μ")
            axes.tick_params(labelbottom=True)
    picture.legend(*_legend(), loc="outside lower center", ncols=4, frameon=False)


def _between(value: float, ends: tuple[float, float]) -> bool:
    return 0.99 * ends[0] <= value <= 1.01 * ends[1]


def _draw_panel(axes: Any, panel: Panel, starts: tuple[Point, ...]) -> None:
    above = np.where(np.isfinite(panel.values), panel.values, np.nan) - panel.best.value
    filled = np.ma.masked_invalid(np.maximum(above, LEVELS[0] / 10))
    axes.contourf(panel.means, panel.stds, filled, levels=(0, *LEVELS, np.inf), colors=_greys(), zorder=0)
    axes.contour(panel.means, panel.stds, filled, levels=LEVELS, colors="0.72", linewidths=0.5, zorder=1)
    for (rule, _), game in panel.games.items():
        axes.plot(*game.path.T, color=COLOURS[rule], linewidth=0.6, alpha=0.55, zorder=3)
        if game.left:
            _arrow(axes, game.path, rule, size=6, alpha=0.55)
    for (rule, _), path in panel.flows.items():
        order = 4 if rule == "exact" else 5
        axes.plot(*path.path.T, color=COLOURS[rule], linewidth=2.2, linestyle=DASHES[rule], zorder=order)
        if path.left:
            _arrow(axes, path.path, rule, size=14, alpha=1.0)
        elif not _at_minimum(path, panel):
            axes.plot(*path.end, "x", color=COLOURS[rule], markersize=6, markeredgewidth=2, zorder=8)
    for start in starts:
        axes.plot(*start, "o", color="white", markeredgecolor="black", markersize=5, zorder=7)
    axes.plot(panel.best.mean, panel.best.std, "*", color="#F0E442", markeredgecolor="black", markersize=11, zorder=7)
    axes.set_title(panel.name)


def _at_minimum(path: Flow, panel: Panel) -> bool:
    """Whether it ends under the star."""
    return abs(path.end[0] - panel.best.mean) < 1e-3 and abs(path.end[1] - panel.best.std) < 1e-3


def _greys() -> list[str]:
    """Dark at the minimum, lighter with every level."""
    return [str(round(shade, 3)) for shade in np.linspace(0.70, 0.985, len(LEVELS) + 1)]


def _arrow(axes: Any, path: Path, rule: str, *, size: float, alpha: float) -> None:
    """At the end of a path, along its last stretch."""
    style = {"arrowstyle": "-|>", "color": COLOURS[rule], "mutation_scale": size, "alpha": alpha, "shrinkA": 0}
    lengths = np.abs(np.diff(np.stack([path[:, 0], np.log(path[:, 1])], axis=1), axis=0)).sum(axis=1)
    before = np.nonzero(np.cumsum(lengths[::-1]) > 0.08)[0]
    tail = path[-2 - int(before[0])] if len(before) else path[0]
    axes.annotate("", tuple(path[-1]), tuple(tail), arrowprops={**style, "shrinkB": 0}, zorder=6)


def _legend() -> tuple[list[Any], list[str]]:
    from matplotlib.lines import Line2D

    handles, labels = [], []
    for rule, title in TITLES.items():
        handles.append(Line2D([], [], color=COLOURS[rule], linewidth=2.2, linestyle=DASHES[rule]))
        labels.append(f"{title}, true ratio")
        handles.append(Line2D([], [], color=COLOURS[rule], linewidth=0.8, alpha=0.7))
        labels.append(f"{title}, learned discriminator")
    marks = {"black": "o", "#F0E442": "*"}
    for (color, mark), label in zip(marks.items(), ("start", "minimum by quadrature"), strict=True):
        face = "white" if mark == "o" else color
        handles.append(
            Line2D([], [], linestyle="", marker=mark, markerfacecolor=face, markeredgecolor="black", markersize=8)
        )
        labels.append(label)
    handles.append(Line2D([], [], linestyle="", marker="x", color="0.3", markersize=7, markeredgewidth=2))
    labels.append("at rest elsewhere")
    handles.append(Line2D([], [], linestyle="", marker=r"$\rightarrow$", color="0.3", markersize=10))
    labels.append("goes on (or ∞ gradient)")
    return handles, labels
