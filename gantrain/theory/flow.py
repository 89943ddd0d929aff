"""Gradient descent on a generator rule with the true ratio, in the limit of small steps."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.integrate import solve_ivp

from gantrain.objectives import Divergence
from gantrain.theory.mixture import Mixture
from gantrain.theory.quadrature import rule_gradient

Path = npt.NDArray[np.float64]
RULES = ("exact", "poole")
LONGEST = 1e4
AT_REST = 1e-7


@dataclass(frozen=True, slots=True)
class Window:
    """The part of the (μ, σ) plane that is looked at; a path that reaches its edge has left."""

    means: tuple[float, float]
    stds: tuple[float, float]


def window_of(mixture: Mixture) -> Window:
    """Room for every component and for the Gaussian with the mixture's moments, and σ down to a third of the least."""
    return Window(
        (min(mixture.means) - mixture.std, max(mixture.means) + mixture.std),
        (min(*mixture.stds, mixture.std) / 3, 2.5 * max(*mixture.stds, mixture.std)),
    )


@dataclass(frozen=True, slots=True)
class Flow:
    """A path of (μ, σ), shape (points, 2), and how it ended: at rest, or out of the window."""

    path: Path
    left: bool

    @property
    def end(self) -> tuple[float, float]:
        """The last (μ, σ)."""
        return float(self.path[-1, 0]), float(self.path[-1, 1])


def flow(record: Divergence, rule: str, mixture: Mixture, start: tuple[float, float], window: Window) -> Flow:
    """Follows -∇ of a rule in (μ/s, log σ), with s the mixture's standard deviation, until it rests or leaves.

    The rule's gradient holds q/p fixed as a function of the sample, as a generator's does. For `poole` it is no
    gradient of anything, so nothing need decrease.

    Args:
        record: with h if the rule is `exact`.
        rule: `exact` or `poole`.
        mixture: q.
        start: (μ, σ) inside the window.
        window: where the path is followed.
    """
    integrand = record.f if rule == "poole" else record.exact_integrand
    assert integrand is not None, "paths refuses a divergence without h"

    (low, high), (narrow, wide) = window.means, window.stds
    scale = mixture.std
    direction = np.zeros(2)

    def gradient_at(at: Path) -> Path:
        # The solver's trial points may lie far outside.
        mean = min(max(scale * float(at[0]), low), high)
        log_std = min(max(float(at[1]), math.log(narrow)), math.log(wide))
        by_mean, by_log_std = rule_gradient(integrand, mixture, mean, math.exp(log_std))
        return np.array([scale * by_mean, by_log_std])

    def velocity(_: float, at: Path) -> Path:
        # Slowing down where the gradient is steep leaves the path as it is. Where it is infinite, the path has left.
        nonlocal direction
        gradient = gradient_at(at)
        if np.isfinite(gradient).all():
            direction = -gradient / (1 + np.linalg.norm(gradient))
        return direction

    def inside(_: float, at: Path) -> float:
        mean, std = scale * float(at[0]), math.exp(float(at[1]))
        room = min(mean - low, high - mean, std - narrow, wide - std)
        return room if np.isfinite(gradient_at(at)).all() else -1.0

    def moving(_: float, at: Path) -> float:
        gradient = np.abs(gradient_at(at)).max()
        return float(gradient) - AT_REST if np.isfinite(gradient) else 1.0

    inside.terminal = moving.terminal = True  # type: ignore[attr-defined]
    found = solve_ivp(
        velocity,
        (0.0, LONGEST),
        np.array([start[0] / scale, math.log(start[1])]),
        method="LSODA",
        events=(inside, moving),
        rtol=1e-6,
        atol=1e-8,
    )
    path = np.stack([scale * found.y[0], np.exp(found.y[1])], axis=1)
    return Flow(path, left=len(found.t_events[0]) > 0)
