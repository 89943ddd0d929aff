"""Test values: each divergence as the papers print it, in u = q/p and t, written without gantrain's simplifications."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import wrightomega

Function = Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Reference:
    """Functions of numpy arrays; u > 0, t in the domain of f*."""

    f: Function
    f_prime: Function
    curvature: Function | None
    """u² f''(u), the size of the exact rule's gradient in log r; None for no second derivative."""
    conjugate: Function
    """f*(t)."""
    at_one: float = 0.0
    """f(1)."""


def power(a: float) -> Reference:
    """The power divergence of order a."""
    if a == 0:
        return Reference(
            f=lambda u: u - 1 - np.log(u),
            f_prime=lambda u: 1 - 1 / u,
            curvature=np.ones_like,
            conjugate=lambda t: -np.log(1 - t),
        )
    if a == 1:
        return Reference(
            f=lambda u: u * np.log(u) - (u - 1),
            f_prime=np.log,
            curvature=lambda u: u,
            conjugate=lambda t: np.exp(t) - 1,
        )
    return Reference(
        f=lambda u: (u**a - 1 - a * (u - 1)) / (a * (a - 1)),
        f_prime=lambda u: (u ** (a - 1) - 1) / (a - 1),
        curvature=lambda u: u**a,
        conjugate=lambda t: ((1 + (a - 1) * t) ** (a / (a - 1)) - 1) / a,
    )


REFERENCES = {
    "gan": Reference(
        f=lambda u: u * np.log(u) - (u + 1) * np.log(u + 1),
        f_prime=lambda u: np.log(u / (u + 1)),
        curvature=lambda u: u / (u + 1),
        conjugate=lambda t: -np.log(1 - np.exp(t)),
        at_one=-2 * np.log(2),
    ),
    "js": Reference(
        f=lambda u: u * np.log(u) - (u + 1) * np.log((u + 1) / 2),
        f_prime=lambda u: np.log(2 * u / (u + 1)),
        curvature=lambda u: u / (u + 1),
        conjugate=lambda t: -np.log(2 - np.exp(t)),
    ),
    "kl": Reference(
        f=lambda u: u * np.log(u),
        f_prime=lambda u: 1 + np.log(u),
        curvature=lambda u: u,
        conjugate=lambda t: np.exp(t - 1),
    ),
    "rkl": Reference(
        f=lambda u: -np.log(u),
        f_prime=lambda u: -1 / u,
        curvature=np.ones_like,
        conjugate=lambda t: -1 - np.log(-t),
    ),
    "hellinger": Reference(
        f=lambda u: (np.sqrt(u) - 1) ** 2,
        f_prime=lambda u: 1 - 1 / np.sqrt(u),
        curvature=lambda u: np.sqrt(u) / 2,
        conjugate=lambda t: t / (1 - t),
    ),
    "pearson": Reference(
        f=lambda u: (u - 1) ** 2,
        f_prime=lambda u: 2 * (u - 1),
        curvature=lambda u: 2 * u**2,
        conjugate=lambda t: t**2 / 4 + t,
    ),
    "neyman": Reference(
        f=lambda u: (1 - u) ** 2 / u,
        f_prime=lambda u: 1 - 1 / u**2,
        curvature=lambda u: 2 / u,
        conjugate=lambda t: 2 - 2 * np.sqrt(1 - t),
    ),
    "jeffreys": Reference(
        f=lambda u: (u - 1) * np.log(u),
        f_prime=lambda u: np.log(u) + 1 - 1 / u,
        curvature=lambda u: u + 1,
        conjugate=lambda t: wrightomega(1 - t) + 1 / wrightomega(1 - t) + t - 2,
    ),
    "tv": Reference(
        f=lambda u: np.abs(u - 1) / 2,
        f_prime=lambda u: np.sign(u - 1) / 2,
        curvature=None,
        conjugate=lambda t: t,
    ),
}
"""The test values of every divergence without a parameter; a new divergence adds its own here."""
