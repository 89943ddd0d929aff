"""f-divergences, each declared once as mathematics.

Symbols: q is the data density, p the generator's, r = q/p their ratio, x = log r, v the
discriminator's raw output (logit) and T = g(v) the variational function. Everything below works on
x or v, never on r, so that nothing overflows before its true value does.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from gantrain.objectives.numerics import exp_softplus, expm1, expm1_over, jeffreys_log_ratio, softplus

LOG2 = math.log(2.0)
TensorMap = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Divergence:
    """D_f(q‖p) = E_p[f(q/p)] in variational form (Nowozin et al. 2016, arXiv:1606.00709).

    The discriminator minimizes -E_q[g(v)] + E_p[f*(g(v))]; its optimum is g(v) = f'(q/p).
    Every function is elementwise and takes a tensor of any shape and floating dtype.
    """

    name: str
    title: str
    source: str
    f_formula: str
    """f(u) in text, for help and tables."""
    exact_formula: str
    """f(u) - u f'(u) in text: the exact generator rule's integrand."""
    disc_formula: str
    """The discriminator's terms on a real and on a fake example, in text."""
    f: TensorMap
    """x -> f(e^x)."""
    activation: TensorMap
    """v -> g(v), in the domain of f*."""
    conjugate: TensorMap
    """v -> f*(g(v)), simplified by hand."""
    exact_integrand: TensorMap | None
    """x -> f(e^x) - e^x f'(e^x) = -f*(f'(e^x)); None where its gradient vanishes almost everywhere."""
    f_prime: TensorMap | None
    """x -> f'(e^x); None where f' has no inverse."""
    log_ratio: TensorMap | None
    """v -> log r at the optimal discriminator; None where v does not determine it."""
    logit_from_log_ratio: TensorMap | None
    """x -> v, the inverse of log_ratio."""


def _identity(v: Tensor) -> Tensor:
    return v


def _sinh_squared(x: Tensor) -> Tensor:
    """e^x - 2 + e^{-x}, without cancellation at 0."""
    return 4 * torch.sinh(x / 2).square()


def alpha_divergence(order: float) -> Divergence:
    """The Cressie–Read power divergence of any finite real `order`.

    f(u) = (u^a - 1 - a(u - 1)) / (a(a - 1)), continued to KL at a = 1 and reverse KL at a = 0 (each
    with the affine term of the family, u - 1 with the sign that makes f touch 0 at u = 1).
    Order ½ is twice `hellinger`, 2 half `pearson`, -1 half `neyman`.
    """
    a = order

    def f(x: Tensor) -> Tensor:
        # Two writings of the same function, each well-conditioned on its half of the orders.
        if abs(a - 1) < abs(a):
            # e^x expm1((a-1)x)/(a-1), with the exponential outside that does not overflow where u goes to 0
            power = (a * x).exp() * expm1_over(1 - a, x) if a < 1 else x.exp() * expm1_over(a - 1, x)
            return (power - expm1(x)) / a
        return (expm1_over(a, x) - expm1(x)) / (a - 1)

    def slope(x: Tensor) -> Tensor:
        return expm1_over(a - 1, x)

    def conjugate(v: Tensor) -> Tensor:
        return expm1_over(a, v)

    return Divergence(
        name="alpha",
        title="power divergence of order a",
        source="Cressie & Read 1984, with a = λ + 1",
        f_formula="(u^a - 1 - a(u-1))/(a(a-1))",
        exact_formula="(1 - u^a)/a",
        disc_formula="(1 - e^((a-1)v))/(a-1), (e^(av) - 1)/a",
        f=f,
        activation=slope,
        conjugate=conjugate,
        exact_integrand=lambda x: -conjugate(x),
        f_prime=slope,
        log_ratio=_identity,
        logit_from_log_ratio=_identity,
    )


def _jeffreys_conjugate(v: Tensor) -> Tensor:
    x = jeffreys_log_ratio(v)
    return expm1(x) + x


_FGAN = "Nowozin et al. 2016, Tables 1, 2 and 6"

_FIXED = (
    Divergence(
        name="gan",
        title="the original GAN's, 2 JS - 2 log 2",
        source=_FGAN + "; Goodfellow et al. 2014",
        f_formula="u log u - (u+1) log(u+1)",
        exact_formula="-log(1+u)",
        disc_formula="sp(-v), sp(v)",
        f=lambda x: -exp_softplus(x) - softplus(x),
        activation=lambda v: -softplus(-v),
        conjugate=softplus,
        exact_integrand=lambda x: -softplus(x),
        f_prime=lambda x: -softplus(-x),
        log_ratio=_identity,
        logit_from_log_ratio=_identity,
    ),
    Divergence(
        name="js",
        title="Jensen–Shannon (twice)",
        source=_FGAN,
        f_formula="u log u - (u+1) log((u+1)/2)",
        exact_formula="-log((1+u)/2)",
        disc_formula="sp(-v) - log 2, sp(v) - log 2",
        f=lambda x: x.exp() * (LOG2 - softplus(-x)) - (softplus(x) - LOG2),
        activation=lambda v: LOG2 - softplus(-v),
        conjugate=lambda v: softplus(v) - LOG2,
        exact_integrand=lambda x: LOG2 - softplus(x),
        f_prime=lambda x: LOG2 - softplus(-x),
        log_ratio=_identity,
        logit_from_log_ratio=_identity,
    ),
    Divergence(
        name="kl",
        title="KL(q‖p)",
        source=_FGAN,
        f_formula="u log u",
        exact_formula="-u",
        disc_formula="-v, e^(v-1)",
        f=lambda x: x * x.exp(),
        activation=_identity,
        conjugate=lambda v: (v - 1).exp(),
        exact_integrand=lambda x: -x.exp(),
        f_prime=lambda x: 1 + x,
        log_ratio=lambda v: v - 1,
        logit_from_log_ratio=lambda x: x + 1,
    ),
    Divergence(
        name="rkl",
        title="reverse KL, KL(p‖q)",
        source=_FGAN,
        f_formula="-log u",
        exact_formula="1 - log u",
        disc_formula="e^(-v), v - 1",
        f=lambda x: -x,
        activation=lambda v: -(-v).exp(),
        conjugate=lambda v: v - 1,
        exact_integrand=lambda x: 1 - x,
        f_prime=lambda x: -(-x).exp(),
        log_ratio=_identity,
        logit_from_log_ratio=_identity,
    ),
    Divergence(
        name="hellinger",
        title="squared Hellinger",
        source=_FGAN,
        f_formula="(√u - 1)²",
        exact_formula="1 - √u",
        disc_formula="e^(-v) - 1, e^v - 1",
        f=lambda x: expm1(x / 2).square(),
        activation=lambda v: -expm1(-v),
        conjugate=expm1,
        exact_integrand=lambda x: -expm1(x / 2),
        f_prime=lambda x: -expm1(-x / 2),
        log_ratio=lambda v: 2 * v,
        logit_from_log_ratio=lambda x: x / 2,
    ),
    Divergence(
        name="pearson",
        title="Pearson χ²",
        source=_FGAN,
        f_formula="(u-1)²",
        exact_formula="1 - u²",
        disc_formula="-v, v²/4 + v",
        f=lambda x: expm1(x).square(),
        activation=_identity,
        conjugate=lambda v: v.square() / 4 + v,
        exact_integrand=lambda x: -expm1(2 * x),
        f_prime=lambda x: 2 * expm1(x),
        log_ratio=lambda v: torch.log1p(v / 2),  # NaN below v = -2, where no ratio exists
        logit_from_log_ratio=lambda x: 2 * expm1(x),
    ),
    Divergence(
        name="neyman",
        title="Neyman χ²",
        source=_FGAN,
        f_formula="(1-u)²/u",
        exact_formula="2/u - 2",
        disc_formula="e^(-v) - 1, 2 - 2e^(-v/2)",
        f=_sinh_squared,
        activation=lambda v: -expm1(-v),
        conjugate=lambda v: -2 * expm1(-v / 2),
        exact_integrand=lambda x: 2 * expm1(-x),
        f_prime=lambda x: -expm1(-2 * x),
        log_ratio=lambda v: v / 2,
        logit_from_log_ratio=lambda x: 2 * x,
    ),
    Divergence(
        name="jeffreys",
        title="Jeffreys, KL both ways",
        source=_FGAN,
        f_formula="(u-1) log u",
        exact_formula="1 - u - log u",
        disc_formula="-v, w + 1/w + v - 2 with w = ω(1-v)",
        f=lambda x: x * expm1(x),
        activation=_identity,
        conjugate=_jeffreys_conjugate,
        exact_integrand=lambda x: -expm1(x) - x,
        f_prime=lambda x: x - expm1(-x),
        log_ratio=jeffreys_log_ratio,
        logit_from_log_ratio=lambda x: x - expm1(-x),
    ),
    Divergence(
        name="tv",
        title="total variation",
        source=_FGAN,
        f_formula="½|u-1|",
        exact_formula="none",
        disc_formula="-½ tanh v, ½ tanh v",
        f=lambda x: expm1(x).abs() / 2,
        activation=lambda v: torch.tanh(v) / 2,
        conjugate=lambda v: torch.tanh(v) / 2,
        exact_integrand=None,
        f_prime=None,
        log_ratio=None,
        logit_from_log_ratio=None,
    ),
)

DIVERGENCES: dict[str, Divergence] = {d.name: d for d in _FIXED}
"""Every divergence without a parameter, by name."""

DIVERGENCE_NAMES = (*DIVERGENCES, "alpha")


def get_divergence(name: str, alpha: float | None) -> Divergence:
    """The record of that name; `alpha` is the order of the power divergence and of no other."""
    if name == "alpha":
        assert alpha is not None, "the order is checked by make_objective"
        return alpha_divergence(alpha)
    return DIVERGENCES[name]
