"""Integrals over the line of a mixture q against a Gaussian p = N(μ, σ²), by the trapezoid rule in float64."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from gantrain.objectives import Divergence
from gantrain.theory.mixture import Mixture, log_normal

NODES_PER_STD = 16
"""Nodes per standard deviation of the narrowest density: errors are far below 1e-12 for a smooth f."""
REACH = 20.0
"""Standard deviations covered, where a density is e^-200 of its peak."""
LARGEST_X = 300.0
"""The largest log r that is exponentiated; float64 holds e^709."""
UNRESOLVED = 1e-8
"""If the share of the integral at either end is above this, it has not converged."""
LARGEST = 1e30
"""A divergence above this counts as infinite."""

Integrand = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Nodes:
    """The quadrature's nodes, with the densities there; every field but `step` has shape (nodes,)."""

    step: float
    at: Tensor
    log_p: Tensor
    log_q: Tensor
    x: Tensor
    """log q/p."""


def nodes(mixture: Mixture, mean: float, std: float) -> Nodes:
    """Equidistant nodes over 20 standard deviations of p and of every component of q."""
    low = min(m - REACH * s for m, s in zip((*mixture.means, mean), (*mixture.stds, std), strict=True))
    high = max(m + REACH * s for m, s in zip((*mixture.means, mean), (*mixture.stds, std), strict=True))
    step = min(*mixture.stds, std) / NODES_PER_STD
    at = torch.linspace(low, high, math.ceil((high - low) / step) + 1, dtype=torch.float64)
    log_q, log_p = mixture.log_density(at), log_normal(at, mean, std)
    return Nodes(float(at[1] - at[0]), at, log_p, log_q, log_q - log_p)


def divergence(record: Divergence, mixture: Mixture, mean: float, std: float) -> float:
    """D_f(q‖p) = E_p[f(q/p)]; infinite if the integral diverges or has not converged at the outermost nodes."""
    on = nodes(mixture, mean, std)
    return _sum(on, _under_p(record.f, on)) + _at_kinks(record, on)


def rule_gradient(integrand: Integrand, mixture: Mixture, mean: float, std: float) -> tuple[float, float]:
    """The gradient (∂/∂μ, ∂/∂log σ) of E_p[integrand(log r)] for a generator μ + σz, with r a fixed function.

    z is standard normal, so this is E[d integrand/d sample · (1, σz)].

    Args:
        integrand: of x = log r; a divergence's f for Poole's rule, its exact_integrand for the exact rule.
        mixture: q.
        mean: μ.
        std: σ > 0.

    Returns:
        Two numbers, not finite if the integrals diverge.
    """
    on = nodes(mixture, mean, std)
    slope = _derivative(lambda at: mixture.log_density(at) - log_normal(at, mean, std), on.at)
    by_sample = _under_p(lambda x: _derivative(integrand, x), on) * slope
    return _sum(on, by_sample), _sum(on, by_sample * (on.at - mean))


def _under_p(integrand: Integrand, on: Nodes) -> Tensor:
    """p·integrand(log q/p) on the nodes.

    Where q/p overflows, p·integrand = q·(integrand/r), and integrand/r is extrapolated linearly in log r. That is
    exact for every f that grows like u or u log u; any faster one is too large to matter there.
    """
    near = on.log_p.exp() * integrand(on.x.clamp(max=LARGEST_X))
    edge = torch.tensor([LARGEST_X, LARGEST_X - 1], dtype=torch.float64)
    last, before = (integrand(edge) * (-edge).exp()).tolist()
    far = on.log_q.exp() * (last + (on.x - LARGEST_X) * (last - before))
    return torch.where(on.x > LARGEST_X, far, near)


def _at_kinks(record: Divergence, on: Nodes) -> float:
    """The correction of the trapezoid rule, to second order, where q = p and f has a kink (total variation).

    An integrand whose slope jumps by J at the fraction t of a step loses step²·J·B₂(t)/2 (Euler–Maclaurin).
    """
    ends = torch.tensor([-1e-6, 0.0, 1e-6], dtype=torch.float64)
    left, middle, right = record.f(ends).tolist()
    jump = (left - 2 * middle + right) / 1e-6
    if jump < 1e-3:
        return 0.0
    before = torch.nonzero(on.x[:-1] * on.x[1:] < 0).flatten()
    t = on.x[before] / (on.x[before] - on.x[before + 1])
    height = torch.lerp(on.log_p[before], on.log_p[before + 1], t).exp()
    slope = (on.x[before + 1] - on.x[before]).abs() / on.step
    missed = (slope * height * (t.square() - t + 1 / 6)).sum()
    at = 1 + torch.nonzero((on.x[1:-1] == 0) & (on.x[:-2] * on.x[2:] < 0)).flatten()  # the kink on a node: t = 0
    slope = (on.x[at + 1] - on.x[at - 1]).abs() / (2 * on.step)
    missed = missed + (slope * on.log_p[at].exp() / 6).sum()
    return float(on.step**2 * jump * missed / 2)


def _derivative(function: Integrand, x: Tensor) -> Tensor:
    x = x.detach().requires_grad_()
    (slope,) = torch.autograd.grad(function(x).sum(), x)
    return slope


def _sum(on: Nodes, values: Tensor) -> float:
    # Outside the nodes the densities are negligible, so the rest matters only if the integrand grows at the ends.
    total = float(values.sum())
    size = float(values.abs().sum())
    at_ends = max(abs(float(values[0])), abs(float(values[-1])))
    if not size < LARGEST or at_ends > UNRESOLVED * size:
        return math.inf
    return total * on.step
