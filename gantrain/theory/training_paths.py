"""Figure 3: paths of each generator rule, with the true ratio and with a learned discriminator."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from gantrain.theory.best_fit import Fit, best_gaussians
from gantrain.theory.descent import RULES, Descent, Path, Point, Window, descend, window_of
from gantrain.theory.figure import Table, TheoryFigure, from_rows
from gantrain.theory.learned_games import Game, play
from gantrain.theory.mixture import DEFAULT_MIXTURE, Mixture
from gantrain.theory.names import DivergenceNameError, divergence_named
from gantrain.theory.names import names as all_names
from gantrain.theory.quadrature import divergence
from gantrain.theory.style import BLUE, VERMILION

CONTOURS = (45, 35)
"""Points of the contours across μ and σ."""
POINTS_PER_GAME = 150
"""In the table of points."""

TITLES = {"exact": "exact rule", "poole": "Poole's rule"}
COLORS = {"exact": BLUE, "poole": VERMILION}
DASHES: dict[str, Any] = {"exact": "-", "poole": (0, (3, 1.2))}
YELLOW = "#F0E442"
LEVELS = (0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)
COLUMNS = 3
TICKS = [digit * 10.0**power for power in range(-6, 7) for digit in (1, 2, 3, 5)]


@dataclass(frozen=True, slots=True)
class DivergencePaths:
    """The results for one divergence.

    Attributes:
        name: of the divergence.
        best: the minimum by quadrature.
        means: of the contours, (columns,).
        stds: of the contours, (rows,).
        values: of the divergence, (rows, columns); infinite where it is infinite or exceeds a float.
        descents: with the true ratio, by rule and start.
        games: with a learned discriminator, by rule and seed, from the first start.
    """

    name: str
    best: Fit
    means: Path
    stds: Path
    values: Path
    descents: dict[tuple[str, Point], Descent]
    games: dict[tuple[str, int], Game]


def names_with_paths() -> tuple[str, ...]:
    """Names of the divergences with both rules."""
    return tuple(name for name in all_names() if divergence_named(name).exact_integrand is not None)


def check_names(names: tuple[str, ...]) -> None:
    """Refuses divergences that cannot be shown.

    Raises:
        DivergenceNameError: an unknown name, or a divergence without the exact rule, such as tv.
    """
    for name in names:
        if divergence_named(name).exact_integrand is None:
            raise DivergenceNameError(
                f"divergence {name!r} has no exact rule (its gradient vanishes almost everywhere), so there are no "
                f"paths to compare; choose from [{', '.join(names_with_paths())}, alpha:ORDER]"
            )


def starts_of(mixture: Mixture) -> tuple[Point, ...]:
    """(μ, σ) between the outermost components, and at the lightest one (next to it, if these coincide).

    σ is that of the widest component, where every power divergence is finite.
    """
    wide = max(mixture.stds)
    between = (min(mixture.means) + max(mixture.means)) / 2
    lightest = mixture.means[mixture.weights.index(min(mixture.weights))]
    if lightest == between:
        return ((between + wide / 2, wide),)
    return ((between, wide), (lightest, wide))


def figure(
    mixture: Mixture = DEFAULT_MIXTURE,
    names: tuple[str, ...] | None = None,
    seeds: tuple[int, ...] = tuple(range(5)),
) -> TheoryFigure:
    """Paths of (μ, σ) under both rules over each divergence's contours.

    Args:
        mixture: the data density q.
        names: of divergences, as in `divergence_named`; None for all with an exact rule.
        seeds: of the games with a learned discriminator.

    Raises:
        DivergenceNameError: an unknown name, or a divergence without the exact rule.
    """
    names = names_with_paths() if names is None else names
    check_names(names)
    window, starts = window_of(mixture), starts_of(mixture)
    games = play(names, RULES, seeds, mixture, starts[0], window)
    found = [_paths_of(name, mixture, window, starts, games) for name in names]
    found.sort(key=lambda paths: -paths.best.std)
    return TheoryFigure(
        name="3-paths",
        title="Where the generator rules lead: the exact rule to the divergence's minimum, Poole's mostly elsewhere",
        caption=_caption(mixture, found, starts, seeds),
        source="objectives.md, Section 2b; the rules: Poole et al. 2016, eq. 8",
        tables={"": _ends(found), "spread": _spread(found), "points": _points(found)},
        draw=lambda picture: _draw(picture, found, starts, window),
        size=(11.0, 3.2 * math.ceil(len(names) / COLUMNS) + 0.8),
    )


def _paths_of(
    name: str,
    mixture: Mixture,
    window: Window,
    starts: tuple[Point, ...],
    games: dict[tuple[str, str, int], Game],
) -> DivergencePaths:
    record = divergence_named(name)
    means, stds = np.linspace(*window.means, CONTOURS[0]), np.geomspace(*window.stds, CONTOURS[1])
    return DivergencePaths(
        name=name,
        best=best_gaussians(record, mixture)[0],
        means=means,
        stds=stds,
        values=np.array([[divergence(record, mixture, mean, std) for mean in means] for std in stds]),
        descents={(rule, start): descend(record, rule, mixture, start, window) for rule in RULES for start in starts},
        games={(rule, seed): game for (of, rule, seed), game in games.items() if of == name},
    )


def _caption(mixture: Mixture, found: list[DivergencePaths], starts: tuple[Point, ...], seeds: tuple[int, ...]) -> str:
    circles = " and ".join(f"({mean:g}, {std:g})".replace("-", "−") for mean, std in starts)
    learned = ", ".join(
        f"{paths.name} {mean[1]:.3f} ± {spread[1]:.3f}"
        for paths in found
        for mean, spread in [_mean_and_spread(paths, "exact")]
    )
    return (
        f"A generator μ + σz is fitted to q = {mixture.formula}; panels from the widest best Gaussian to the "
        "narrowest. Grey: contours of D_f(q‖p) above its minimum (star, by quadrature), white where it is infinite. "
        f"Thick: gradient descent with the true ratio q/p and small steps from {circles} (circles): the exact rule "
        "E_p[f(r) − r f'(r)] descends to a local or global minimum, Poole's E_p[f(r)] in general does not. A cross "
        "marks a path at rest elsewhere; an arrow one that continues to σ → 0 or out of the figure, or ends where its "
        "gradient is infinite. Thin: the same from the first start with a discriminator learned with the gan objective "
        f"(a small network and a quadratic, minibatches, Adam), a line for each of {len(seeds)} seeds. The coordinates "
        "of descent are μ/s and log σ, s the standard deviation of q. With Poole's rule js and gan differ, although "
        "their f differ only by c(u − 1) and a constant, which do not affect the minimum. alt is f(u) = log(1 + 1/u), "
        "whose Poole rule is the non-saturating loss; its exact rule does not exist in training. "
        f"σ by the exact rule and the learned discriminator, mean ± standard deviation over seeds: {learned}."
    )


def _mean_and_spread(paths: DivergencePaths, rule: str) -> tuple[list[float], list[float]]:
    """Mean and standard deviation over seeds of the final (μ, σ); the deviation of a single seed is NaN."""
    ends = np.array([game.end for (of, _), game in paths.games.items() if of == rule])
    spread = ends.std(axis=0, ddof=1) if len(ends) > 1 else np.full(2, np.nan)
    return ends.mean(axis=0).tolist(), spread.tolist()


def _ends(found: list[DivergencePaths]) -> Table:
    rows: list[tuple[object, ...]] = []
    for paths in found:
        rows.append((paths.name, "quadrature", "", "", "", "", paths.best.mean, paths.best.std, 0))
        for (rule, start), descent in paths.descents.items():
            rows.append((paths.name, rule, "true", *start, "", *descent.end, int(descent.left)))
        for (rule, seed), game in paths.games.items():
            rows.append((paths.name, rule, "learned", *game.path[0].tolist(), seed, *game.end, int(game.left)))
    return from_rows(("divergence", "rule", "ratio", "start_mu", "start_sigma", "seed", "mu", "sigma", "left"), rows)


def _spread(found: list[DivergencePaths]) -> Table:
    """Over seeds, with the minimum by quadrature."""
    rows: list[tuple[object, ...]] = []
    for paths in found:
        for rule in RULES:
            (mean, std), (mean_spread, std_spread) = _mean_and_spread(paths, rule)
            games = [game for (of, _), game in paths.games.items() if of == rule]
            left = sum(game.left for game in games)
            best = (paths.best.mean, paths.best.std)
            rows.append((paths.name, rule, *best, mean, mean_spread, std, std_spread, len(games), left))
    head = ("divergence", "rule", "best_mu", "best_sigma", "mu", "mu_spread", "sigma", "sigma_spread", "seeds", "left")
    return from_rows(head, rows)


def _points(found: list[DivergencePaths]) -> Table:
    rows: list[tuple[object, ...]] = []
    for paths in found:
        for (rule, start), descent in paths.descents.items():
            rows += [(paths.name, rule, "true", *start, "", *point) for point in descent.path.tolist()]
        for (rule, seed), game in paths.games.items():
            some = np.unique(np.linspace(0, len(game.path) - 1, POINTS_PER_GAME).round().astype(int))
            start = tuple(game.path[0].tolist())
            rows += [(paths.name, rule, "learned", *start, seed, *point) for point in game.path[some].tolist()]
    return from_rows(("divergence", "rule", "ratio", "start_mu", "start_sigma", "seed", "mu", "sigma"), rows)


def _draw(picture: Any, found: list[DivergencePaths], starts: tuple[Point, ...], window: Window) -> None:
    """A panel for each divergence with shared axes, and one legend."""
    columns = min(COLUMNS, len(found))
    grid = picture.subplots(math.ceil(len(found) / columns), columns, sharex=True, sharey=True, squeeze=False)
    for axes in grid.flat[len(found) :]:
        axes.set_visible(False)
    ticks = [tick for tick in TICKS if 0.99 * window.stds[0] <= tick <= 1.01 * window.stds[1]]
    for k, (axes, paths) in enumerate(zip(grid.flat, found, strict=False)):
        _draw_panel(axes, paths, starts)
        axes.set_xlim(*window.means)
        axes.set_yscale("log")
        axes.set_ylim(window.stds[0] * 0.93, window.stds[1])
        axes.set_yticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
        if k % columns == 0:
            axes.set_ylabel("σ (log scale)")
        if k + columns >= len(found):
            axes.set_xlabel("μ")
            axes.tick_params(labelbottom=True)
    picture.legend(*_legend(), loc="outside lower center", ncols=4, frameon=False)


def _draw_panel(axes: Any, paths: DivergencePaths, starts: tuple[Point, ...]) -> None:
    above = np.where(np.isfinite(paths.values), paths.values, np.nan) - paths.best.value
    filled = np.ma.masked_invalid(np.maximum(above, LEVELS[0] / 10))
    greys = [str(round(shade, 3)) for shade in np.linspace(0.70, 0.985, len(LEVELS) + 1)]  # dark at the minimum
    axes.contourf(paths.means, paths.stds, filled, levels=(0, *LEVELS, np.inf), colors=greys, zorder=0)
    axes.contour(paths.means, paths.stds, filled, levels=LEVELS, colors="0.72", linewidths=0.5, zorder=1)
    for (rule, _), game in paths.games.items():
        axes.plot(*game.path.T, color=COLORS[rule], linewidth=0.6, alpha=0.55, zorder=3)
        if game.left:
            _draw_arrow(axes, game.path, rule, size=6, alpha=0.55)
    for (rule, _), descent in paths.descents.items():
        order = 4 if rule == "exact" else 5
        axes.plot(*descent.path.T, color=COLORS[rule], linewidth=2.2, linestyle=DASHES[rule], zorder=order)
        distance = max(abs(descent.end[0] - paths.best.mean), abs(descent.end[1] - paths.best.std))
        if descent.left:
            _draw_arrow(axes, descent.path, rule, size=14, alpha=1.0)
        elif distance >= 1e-3:
            axes.plot(*descent.end, "x", color=COLORS[rule], markersize=6, markeredgewidth=2, zorder=8)
    for start in starts:
        axes.plot(*start, "o", color="white", markeredgecolor="black", markersize=5, zorder=7)
    axes.plot(paths.best.mean, paths.best.std, "*", color=YELLOW, markeredgecolor="black", markersize=11, zorder=7)
    axes.set_title(paths.name)


def _draw_arrow(axes: Any, path: Path, rule: str, *, size: float, alpha: float) -> None:
    """An arrow head at the end of a path, in the direction of its last part."""
    style = {"arrowstyle": "-|>", "color": COLORS[rule], "mutation_scale": size, "alpha": alpha}
    lengths = np.abs(np.diff(np.stack([path[:, 0], np.log(path[:, 1])], axis=1), axis=0)).sum(axis=1)
    before = np.nonzero(np.cumsum(lengths[::-1]) > 0.08)[0]
    tail = path[-2 - int(before[0])] if len(before) else path[0]
    axes.annotate("", tuple(path[-1]), tuple(tail), arrowprops={**style, "shrinkA": 0, "shrinkB": 0}, zorder=6)


def _legend() -> tuple[list[Any], list[str]]:
    from matplotlib.lines import Line2D

    def mark(marker: str, **look: Any) -> Any:
        return Line2D([], [], linestyle="", marker=marker, **look)

    handles: dict[str, Any] = {}
    for rule, title in TITLES.items():
        handles[f"{title}, true ratio"] = Line2D([], [], color=COLORS[rule], linewidth=2.2, linestyle=DASHES[rule])
        handles[f"{title}, learned discriminator"] = Line2D([], [], color=COLORS[rule], linewidth=0.8, alpha=0.7)
    handles["start"] = mark("o", color="white", markeredgecolor="black", markersize=8)
    handles["minimum by quadrature"] = mark("*", color=YELLOW, markeredgecolor="black", markersize=8)
    handles["at rest elsewhere"] = mark("x", color="0.3", markersize=7, markeredgewidth=2)
    handles["continues (or infinite gradient)"] = mark(r"$\rightarrow$", color="0.3", markersize=10)
    return list(handles.values()), list(handles)
