"""The divergences of figures 2 and 3 by name: training's own, `alt` as a divergence, and power divergences."""

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
)
"""f(u) = log(1 + 1/u), the divergence whose Poole rule is the generator's `alt` with a GAN discriminator.

It is not registered: in training, `alt` means -E_p[g(v)] for any f-divergence discriminator.
"""


class DivergenceNameError(GantrainError):
    """An unknown divergence, or one that the figure cannot show; the message lists the choices."""


def names() -> tuple[str, ...]:
    """Every name that `divergence_named` accepts, except the orders of `alpha`."""
    return (*DIVERGENCES, ALT.name)


def divergence_named(name: str) -> Divergence:
    """The record of `kl`, `alt`, ..., or of `alpha:ORDER`, e.g. `alpha:0.3`.

    Raises:
        DivergenceNameError: an unknown name, or an order that is not a finite number.
    """
    if name in names():
        return ALT if name == ALT.name else DIVERGENCES[name]
    order = order_of(name)
    if order is None:
        raise DivergenceNameError(f"divergence {name!r} is unknown; choose from [{', '.join(names())}, alpha:ORDER]")
    return alpha_divergence(order)


def order_of(name: str) -> float | None:
    """The order in `alpha:ORDER`; None if the name has another form."""
    family, colon, text = name.partition(":")
    try:
        order = float(text)
    except ValueError:
        return None
    return order if family == "alpha" and colon and math.isfinite(order) else None
