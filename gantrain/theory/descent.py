"""Gradient descent of a single Gaussian by a generator rule with the true ratio, in the limit of small steps."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from gantrain.objectives import Divergence
from gantrain.theory.mixture import Mixture
from gantrain.theory.quadrature import rule_gradient

Path = npt.NDArray[np.float64]
"""Points (μ, σ), shape (points, 2)."""
Point = tuple[float, float]
RULES = ("exact", "poole")
LONGEST = 1e4
AT_REST = 1e-7
"""Descent stops when the largest component of the gradient is below this."""


@dataclass(frozen=True, slots=True)
class Window:
    """The part of the (μ, σ) plane that the figure shows; paths end at its edge."""

    means: tuple[float, float]
    stds: tuple[float, float]


def window_of(mixture: Mixture) -> Window:
    """Contains every component and the Gaussian with the mixture's moments, with σ down to a third of the smallest."""
    return Window(
        (min(mixture.means) - mixture.std, max(mixture.means) + mixture.std),
        (min(*mixture.stds, mixture.std) / 3, 2.5 * max(*mixture.stds, mixture.std)),
    )


@dataclass(frozen=True, slots=True)
class Descent:
    """A path, and whether it left the window instead of converging."""

    path: Path
    left: bool

    @property
    def end(self) -> Point:
        """The last (μ, σ)."""
        return float(self.path[-1, 0]), float(self.path[-1, 1])


def descend(record: Divergence, rule: str, mixture: Mixture, start: Point, window: Window) -> Descent:
    """Follows the negative gradient of a rule in (μ/s, log σ), s the mixture's std, until it converges or leaves.

    As for a generator, q/p is held fixed as a function of the sample. With `poole` the field is not the gradient of
    any function, so nothing needs to decrease along the path.

    Args:
        record: the divergence; for `exact`, one with an exact integrand.
        rule: `exact` or `poole`.
        mixture: q.
        start: (μ, σ) inside the window.
        window: where the path is followed.
    """
    from scipy.integrate import solve_ivp

    integrand = record.f if rule == "poole" else record.exact_integrand
    assert integrand is not None, "check_names refuses a divergence without the exact rule"

    (low, high), (narrow, wide) = window.means, window.stds
    scale = mixture.std
    direction = np.zeros(2)

    def gradient_at(at: Path) -> Path:
        # Clamped, since the solver's trial points may be far outside.
        mean = min(max(scale * float(at[0]), low), high)
        log_std = min(max(float(at[1]), math.log(narrow)), math.log(wide))
        by_mean, by_log_std = rule_gradient(integrand, mixture, mean, math.exp(log_std))
        return np.array([scale * by_mean, by_log_std])

    def velocity(_: float, at: Path) -> Path:
        # The path does not depend on its speed, so steep parts are slowed down. A path with an infinite gradient ends.
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
    return Descent(path, left=len(found.t_events[0]) > 0)
