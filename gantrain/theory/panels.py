"""What is known of one divergence in figure 3: its contours and minimum, and the paths of both generator rules."""

from dataclasses import dataclass

import numpy as np

from gantrain.theory.best_fit import Fit, best_gaussians
from gantrain.theory.flow import RULES, Flow, Path, Window, flow
from gantrain.theory.learned_games import Game
from gantrain.theory.mixture import Mixture
from gantrain.theory.quadrature import divergence
from gantrain.theory.records import divergence_named

CONTOURS = (45, 35)  # points across μ and σ

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Panel:
    """What is known of one divergence.

    Attributes:
        name: of the divergence.
        best: the minimum by quadrature.
        means: (columns,) of the contours.
        stds: (rows,).
        values: (rows, columns) of the divergence; infinite where it is, or beyond a float.
        flows: by rule and start.
        games: by rule and seed, from the first start.
    """

    name: str
    best: Fit
    means: Path
    stds: Path
    values: Path
    flows: dict[tuple[str, Point], Flow]
    games: dict[tuple[str, int], Game]


def starts_of(mixture: Mixture) -> tuple[Point, ...]:
    """Between the outermost components and on the lightest one; beside it, if it is the only one.

    As wide as the widest component, for there every power divergence is finite.
    """
    wide = max(mixture.stds)
    between = (min(mixture.means) + max(mixture.means)) / 2
    lightest = mixture.means[mixture.weights.index(min(mixture.weights))]
    if lightest == between:
        return ((between + wide / 2, wide),)
    return ((between, wide), (lightest, wide))


def make_panel(
    name: str,
    mixture: Mixture,
    window: Window,
    starts: tuple[Point, ...],
    games: dict[tuple[str, str, int], Game],
) -> Panel:
    """Integrates the contours, finds the minimum and follows the rules; `games` are those of every divergence."""
    record = divergence_named(name)
    means = np.linspace(*window.means, CONTOURS[0])
    stds = np.geomspace(*window.stds, CONTOURS[1])
    values = np.array([[divergence(record, mixture, mean, std) for mean in means] for std in stds])
    return Panel(
        name=name,
        best=best_gaussians(record, mixture)[0],
        means=means,
        stds=stds,
        values=values,
        flows={(rule, start): flow(record, rule, mixture, start, window) for rule in RULES for start in starts},
        games={(rule, seed): game for (of, rule, seed), game in games.items() if of == name},
    )
