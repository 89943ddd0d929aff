"""The f-divergences, one record each.

Symbols: q is the data density, p the generator's density, r = q/p, x = log r, v the discriminator's raw output (logit)
and T = g(v) the variational function. Every function takes x or v, never r, so that nothing overflows unless its true
value does.

To add a divergence, add its record to `_RECORDS` and its test values to tests/objectives/reference.py (see
docs/extending.md). The names that the command line accepts, the help, the README table and the theory figures follow.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from gantrain.objectives.numerics import exp_softplus, expm1, expm1_over, jeffreys_log_ratio, softplus

LOG2 = math.log(2.0)
TensorMap = Callable[[Tensor], Tensor]


def _identity(v: Tensor) -> Tensor:
    return v


@dataclass(frozen=True, slots=True)
class Divergence:
    """D_f(q‖p) = E_p[f(q/p)] in variational form (Nowozin et al. 2016, arXiv:1606.00709).

    The discriminator minimizes -E_q[g(v)] + E_p[f*(g(v))]. Its optimum is g(v) = f'(q/p), so v determines q/p wherever
    f' is invertible. Every function is elementwise and takes a tensor of any shape and floating dtype.
    """

    name: str
    title: str
    source: str
    """Paper, with its table or equation."""
    f_formula: str
    """f(u) as text, for help and tables."""
    exact_formula: str
    """f(u) - u f'(u) as text."""
    disc_formula: str
    """-g(v) on a real and f*(g(v)) on a fake example, as text."""
    f: TensorMap
    """x -> f(e^x)."""
    activation: TensorMap
    """v -> g(v), in the domain of f*."""
    conjugate: TensorMap
    """v -> f*(g(v)), simplified by hand: the composition of f* and g overflows early."""
    logit_formula: str = "log r"
    """The optimal v as text."""
    log_ratio: TensorMap | None = _identity
    """v -> log r at the optimal discriminator; None if f' is not invertible, so that v does not determine r."""
    logit_from_log_ratio: TensorMap | None = _identity
    """x -> v, the inverse of `log_ratio`; None with it."""
    f_prime: TensorMap | None = None
    """x -> f'(e^x). Default: g(v) at the optimal v; None if f' is not invertible."""
    exact_integrand: TensorMap | None = None
    """x -> f(e^x) - e^x f'(e^x), what the exact generator rule averages. Default: -f*(g(v)) at the optimal v; None if
    f' is not invertible."""

    def __post_init__(self) -> None:
        """Derives `f_prime` and `exact_integrand` unless given."""
        logit, activation, conjugate = self.logit_from_log_ratio, self.activation, self.conjugate
        if logit is None:
            return
        if self.f_prime is None:
            object.__setattr__(self, "f_prime", lambda x: activation(logit(x)))
        if self.exact_integrand is None:
            object.__setattr__(self, "exact_integrand", lambda x: -conjugate(logit(x)))


def alpha_divergence(order: float) -> Divergence:
    """The Cressie–Read power divergence of order a, any finite number.

    f(u) = (u^a - 1 - a(u - 1)) / (a(a - 1)), with its limits at a = 1 and a = 0: KL and reverse KL, up to the multiple
    of u - 1 that makes f'(1) = 0. Order ½ is twice `hellinger`, 2 half `pearson`, -1 half `neyman`.
    """
    a = order

    def f(x: Tensor) -> Tensor:
        # Two forms of the same function, each well conditioned for half of the orders.
        if abs(a - 1) < abs(a):
            # e^x expm1((a-1)x)/(a-1); for a < 1 factored so that no exponential overflows as u goes to 0
            power = (a * x).exp() * expm1_over(1 - a, x) if a < 1 else x.exp() * expm1_over(a - 1, x)
            return (power - expm1(x)) / a
        return (expm1_over(a, x) - expm1(x)) / (a - 1)

    return Divergence(
        name="alpha",
        title="power divergence of order a",
        source="Cressie & Read 1984, with a = λ + 1",
        f_formula="(u^a - 1 - a(u-1))/(a(a-1))",
        exact_formula="(1 - u^a)/a",
        disc_formula="(1 - e^((a-1)v))/(a-1), (e^(av) - 1)/a",
        f=f,
        activation=lambda v: expm1_over(a - 1, v),
        conjugate=lambda v: expm1_over(a, v),
    )


def _jeffreys_conjugate(v: Tensor) -> Tensor:
    x = jeffreys_log_ratio(v)
    return expm1(x) + x


_FGAN = "Nowozin et al. 2016, Tables 1, 2 and 6"

_RECORDS = (
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
        logit_formula="log r + 1",
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
        logit_formula="½ log r",
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
        logit_formula="2(r - 1)",
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
        f=lambda x: 4 * torch.sinh(x / 2).square(),
        activation=lambda v: -expm1(-v),
        conjugate=lambda v: -2 * expm1(-v / 2),
        logit_formula="2 log r",
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
        logit_formula="log r + 1 - 1/r",
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
        logit_formula="the sign of log r",
        log_ratio=None,
        logit_from_log_ratio=None,
    ),
)

DIVERGENCES: dict[str, Divergence] = {record.name: record for record in _RECORDS}
"""Every divergence without a parameter, by name; `register_divergence` adds to it."""


def register_divergence(record: Divergence) -> None:
    """Adds a divergence to the discriminators and generators of this process.

    Raises:
        ValueError: the name is taken.
    """
    if record.name in divergence_names():
        raise ValueError(f"a divergence named {record.name!r} exists already; choose another name")
    DIVERGENCES[record.name] = record


def divergence_names() -> tuple[str, ...]:
    """Names of all divergences; `alpha` denotes the power divergences, whose order is a separate argument."""
    return (*DIVERGENCES, "alpha")


def get_divergence(name: str, order: float | None = None) -> Divergence:
    """Finds a divergence by name.

    Args:
        name: one of `divergence_names`.
        order: order of the power divergence for `alpha`, ½ by default; ignored otherwise.
    """
    return alpha_divergence(0.5 if order is None else order) if name == "alpha" else DIVERGENCES[name]
