"""Figure 3: where the generator rules lead, with the true ratio and with a learned discriminator."""

import math

import numpy as np

from gantrain.theory.flow import RULES, window_of
from gantrain.theory.learned_games import play
from gantrain.theory.mixture import DEFAULT_MIXTURE, Mixture
from gantrain.theory.page import Table, TheoryFigure
from gantrain.theory.panels import Panel, Point, make_panel, starts_of
from gantrain.theory.paths_drawn import COLUMNS, draw_paths
from gantrain.theory.records import NAMES, DivergenceNameError, divergence_named

DEFAULT_NAMES = ("kl", "js", "gan", "hellinger", "jeffreys", "pearson", "rkl", "alt", "neyman")
POINTS_OF_A_GAME = 150  # in the table


def check_names(names: tuple[str, ...]) -> None:
    """Refuses what has no paths.

    Raises:
        DivergenceNameError: an unknown name, or tv.
    """
    for name in names:
        if divergence_named(name).exact_integrand is None:
            able = ", ".join(other for other in NAMES if divergence_named(other).exact_integrand is not None)
            raise DivergenceNameError(
                f"divergence {name!r} has no exact rule (its gradient vanishes almost everywhere), so no paths to "
                f"compare; choose from [{able}, alpha:ORDER]"
            )


def figure(
    mixture: Mixture = DEFAULT_MIXTURE, names: tuple[str, ...] = DEFAULT_NAMES, seeds: tuple[int, ...] = tuple(range(5))
) -> TheoryFigure:
    """Paths of (μ, σ) under both rules over each divergence's contours.

    Args:
        mixture: the data density q.
        names: of divergences, as `divergence_named` reads them; not tv, whose exact rule has no gradient.
        seeds: of the games with a learned discriminator.

    Raises:
        DivergenceNameError: an unknown name, or tv.
    """
    check_names(names)
    window = window_of(mixture)
    starts = starts_of(mixture)
    games = play(names, RULES, seeds, mixture, starts[0], window)
    panels = [make_panel(name, mixture, window, starts, games) for name in names]
    return TheoryFigure(
        name="3-paths",
        title="Where the generator rules lead: the exact rule to the divergence's minimum, Poole's mostly elsewhere",
        caption=_caption(mixture, panels, starts, seeds),
        source="objectives.md, Section 2b; the rules: Poole et al. 2016, eq. 8",
        tables={"": _ends(panels), "spread": _spread(panels), "points": _points(panels)},
        draw=lambda picture: draw_paths(picture, panels, starts, window),
        size=(11.0, 3.2 * math.ceil(len(names) / COLUMNS) + 0.8),
    )


def _caption(mixture: Mixture, panels: list[Panel], starts: tuple[Point, ...], seeds: tuple[int, ...]) -> str:
    beginnings = " and ".join(f"({mean:g}, {std:g})".replace("-", "−") for mean, std in starts)
    learned = ", ".join(
        f"{panel.name} {mean[1]:.3f} ± {spread[1]:.3f}"
        for panel in sorted(panels, key=lambda panel: -panel.best.std)
        for mean, spread in [_mean_and_spread(panel, "exact")]
    )
    return (
        f"A generator μ + σz is fitted to q = {mixture.formula}. Grey: contours of D_f(q‖p) above its minimum (star, "
        "by quadrature), white where it is infinite. Thick: gradient descent with the true ratio q/p and small steps "
        f"from {beginnings} (circles): the exact rule E_p[f(r) − r f'(r)] descends to a minimum, global or local, "
        "Poole's E_p[f(r)] goes where it leads. A cross is a path at rest elsewhere; an arrow one that goes on, to "
        "σ → 0 or off the picture, or ends where its gradient is infinite. Thin: the same from the first start with "
        "a discriminator learned beside the generator on the gan objective (a small network and a quadratic, "
        f"minibatches, Adam), a line for each of {len(seeds)} seeds. The coordinates of descent are μ/s and log σ, s "
        "the standard deviation of q. With Poole's rule js and gan differ, though their f do by c(u − 1) + constant "
        "only, which no divergence feels. alt is f(u) = log(1 + 1/u), whose Poole rule is the non-saturating loss; its "
        "exact rule is no objective of training. "
        f"σ by the exact rule and the learned discriminator, mean ± standard deviation over seeds: {learned}."
    )


def _mean_and_spread(panel: Panel, rule: str) -> tuple[list[float], list[float]]:
    """Of (μ, σ) over seeds; the spread of a single seed is NaN."""
    ends = np.array([game.end for (of, _), game in panel.games.items() if of == rule])
    spread = ends.std(axis=0, ddof=1) if len(ends) > 1 else np.full(2, np.nan)
    return ends.mean(axis=0).tolist(), spread.tolist()


def _ends(panels: list[Panel]) -> Table:
    rows: list[tuple[object, ...]] = []
    for panel in panels:
        rows.append((panel.name, "quadrature", "", "", "", "", panel.best.mean, panel.best.std, 0))
        for (rule, start), path in panel.flows.items():
            rows.append((panel.name, rule, "true", *start, "", *path.end, int(path.left)))
        for (rule, seed), game in panel.games.items():
            rows.append((panel.name, rule, "learned", *game.path[0].tolist(), seed, *game.end, int(game.left)))
    return _as_table(("divergence", "rule", "ratio", "start_mu", "start_sigma", "seed", "mu", "sigma", "left"), rows)


def _spread(panels: list[Panel]) -> Table:
    """Over seeds, beside the quadrature's answer."""
    rows: list[tuple[object, ...]] = []
    for panel in panels:
        for rule in RULES:
            (mean, std), (mean_spread, std_spread) = _mean_and_spread(panel, rule)
            games = [game for (of, _), game in panel.games.items() if of == rule]
            left = sum(game.left for game in games)
            best = (panel.best.mean, panel.best.std)
            rows.append((panel.name, rule, *best, mean, mean_spread, std, std_spread, len(games), left))
    head = ("divergence", "rule", "best_mu", "best_sigma", "mu", "mu_spread", "sigma", "sigma_spread", "seeds", "left")
    return _as_table(head, rows)


def _points(panels: list[Panel]) -> Table:
    rows: list[tuple[object, ...]] = []
    for panel in panels:
        for (rule, start), path in panel.flows.items():
            rows += [(panel.name, rule, "true", *start, "", *point) for point in path.path.tolist()]
        for (rule, seed), game in panel.games.items():
            some = np.unique(np.linspace(0, len(game.path) - 1, POINTS_OF_A_GAME).round().astype(int))
            start = tuple(game.path[0].tolist())
            rows += [(panel.name, rule, "learned", *start, seed, *point) for point in game.path[some].tolist()]
    return _as_table(("divergence", "rule", "ratio", "start_mu", "start_sigma", "seed", "mu", "sigma"), rows)


def _as_table(head: tuple[str, ...], rows: list[tuple[object, ...]]) -> Table:
    columns = zip(*rows, strict=True)
    return {name: np.array(column, dtype=object) for name, column in zip(head, columns, strict=True)}
