"""The Gaussian that minimizes a divergence from a mixture: every local minimum, the global one first."""

import math
from dataclasses import dataclass

import numpy as np

from gantrain.objectives import Divergence
from gantrain.theory.mixture import Mixture
from gantrain.theory.quadrature import divergence

TIE = 1e-7
"""Values this close (relative above 1) count as equal, since rounding differs between equal minima."""
SAME = 1e-4
"""Searches that end this close in μ and log σ count as the same minimum."""


@dataclass(frozen=True, slots=True)
class Fit:
    """A minimum of D_f(q‖N(mean, std²))."""

    mean: float
    std: float
    value: float


def best_gaussians(record: Divergence, mixture: Mixture, near: tuple[Fit, ...] = ()) -> tuple[Fit, ...]:
    """The local minima over μ and log σ found by searches, in ascending order of value.

    The searches start at the Gaussian with the mixture's moments, at each component, and at `near`.

    Args:
        record: the divergence.
        mixture: q.
        near: additional starts, such as the minima of a similar divergence; of equal minima, the nearest to the first
            of these comes first.

    Returns:
        At least one unless the divergence is infinite around every start. The first is the global minimum if one of
        the starts leads to it.
    """
    starts = [(mixture.mean, mixture.std), *zip(mixture.means, mixture.stds, strict=True)]
    starts += [(fit.mean, fit.std) for fit in near]
    found: list[Fit] = []
    for mean, std in starts:
        fit = _search(record, mixture, mean, std)
        if fit is not None and not any(_same(fit, other, mixture) for other in found):
            found.append(fit)
    return tuple(_in_order(found, near[0] if near else None, mixture))


def _in_order(found: list[Fit], before: Fit | None, mixture: Mixture) -> list[Fit]:
    """Sorted by value; equal best fits by distance to `before`, or without it the widest first, then the leftmost."""
    ordered = sorted(found, key=lambda fit: fit.value)
    tied = [fit for fit in ordered if fit.value - ordered[0].value <= TIE * max(1.0, abs(ordered[0].value))]

    def preference(fit: Fit) -> tuple[float, float]:
        if before is None:
            return -round(fit.std / mixture.std, 4), fit.mean
        return abs(fit.mean - before.mean) / mixture.std + abs(math.log(fit.std / before.std)), fit.mean

    tied.sort(key=preference)
    return tied + ordered[len(tied) :]


def _same(one: Fit, other: Fit, mixture: Mixture) -> bool:
    return abs(one.mean - other.mean) < SAME * mixture.std and abs(math.log(one.std / other.std)) < SAME


def _search(record: Divergence, mixture: Mixture, mean: float, std: float) -> Fit | None:
    """Nelder–Mead, which needs no gradient and tolerates infinite values."""
    from scipy.optimize import minimize

    scale = mixture.std
    low, high = min(mixture.means) - 3 * scale, max(mixture.means) + 3 * scale
    narrow, wide = min(mixture.stds) / 8, 8 * scale

    def value(at: np.ndarray) -> float:
        m, s = float(at[0]) * scale, math.exp(float(at[1]))
        return divergence(record, mixture, m, s) if low <= m <= high and narrow <= s <= wide else math.inf

    start = np.array([mean / scale, math.log(std)])
    if not math.isfinite(value(start)):
        return None
    simplex = start + np.array([[0, 0], [0.1, 0], [0, 0.1]])
    result = minimize(
        value, start, method="Nelder-Mead", options={"initial_simplex": simplex, "xatol": 1e-7, "fatol": 1e-13}
    )
    m, s = float(result.x[0]) * scale, math.exp(float(result.x[1]))
    return Fit(m, s, float(result.fun)) if result.success else None
