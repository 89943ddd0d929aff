"""Divergences by name, as the figures' options give them: training's own, `alt` as a divergence, any power."""

import math

import torch

from gantrain.errors import GantrainError
from gantrain.objectives import DIVERGENCES, Divergence, alpha_divergence
from gantrain.objectives.numerics import softplus

ALT = Divergence(
    name="alt",
    title="the non-saturating loss as a divergence",
    source="Poole et al. 2016, Section 2; objectives.md, Section 2",
    f_formula="log(1 + 1/u)",
    exact_formula="log(1 + 1/u) + 1/(1+u)",
    disc_formula="e^(-v) σ(-v), -sp(-v) - σ(-v)",
    f=lambda x: softplus(-x),
    activation=lambda v: -(-v).exp() * torch.sigmoid(-v),
    conjugate=lambda v: -softplus(-v) - torch.sigmoid(-v),
    exact_integrand=lambda x: softplus(-x) + torch.sigmoid(-x),
    f_prime=lambda x: -(-x).exp() * torch.sigmoid(-x),
    log_ratio=lambda v: v,
    logit_from_log_ratio=lambda x: x,
)
"""f(u) = log(1 + 1/u): the f-divergence whose Poole rule is the generator's `alt` with a GAN discriminator.

It is no discriminator or generator of training, where `alt` means -E_p[g(v)] of whichever discriminator is chosen.
"""

NAMES = (*DIVERGENCES, "alt")


class DivergenceNameError(GantrainError):
    """A name of no divergence, or of one that the figure cannot show; the message lists those that it can."""


def divergence_named(name: str) -> Divergence:
    """The record of `kl`, `alt`, ..., or of `alpha:ORDER`, e.g. `alpha:0.3`.

    Raises:
        DivergenceNameError: no such name, or an order that is no finite number.
    """
    if name == ALT.name:
        return ALT
    if name in DIVERGENCES:
        return DIVERGENCES[name]
    order = order_of(name)
    if order is None:
        raise DivergenceNameError(f"divergence {name!r} is not known; choose from [{', '.join(NAMES)}, alpha:ORDER]")
    return alpha_divergence(order)


def order_of(name: str) -> float | None:
    """The order in `alpha:ORDER`; None if the name has another form."""
    family, colon, text = name.partition(":")
    try:
        order = float(text)
    except ValueError:
        return None
    return order if family == "alpha" and colon and math.isfinite(order) else None
