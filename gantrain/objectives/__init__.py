"""GAN objectives as pure tensor mathematics, usable in any training loop.

Symbols, in every module here: q is the data density, p the generator's density, r = q/p their ratio, x = log r,
v the discriminator's raw output (logit), T = g(v) the variational function, f* the Fenchel conjugate of f.
"""

from gantrain.objectives.divergences import (
    DIVERGENCES,
    Divergence,
    alpha_divergence,
    divergence_names,
    register_divergence,
)
from gantrain.objectives.objective import (
    Objective,
    ObjectiveError,
    discriminator_names,
    discriminators_for,
    generator_choices,
    generator_names,
    generators_for,
    make_objective,
)
from gantrain.objectives.other_losses import GENERATOR_ALIASES

__all__ = [
    "DIVERGENCES",
    "GENERATOR_ALIASES",
    "Divergence",
    "Objective",
    "ObjectiveError",
    "alpha_divergence",
    "discriminator_names",
    "discriminators_for",
    "divergence_names",
    "generator_choices",
    "generator_names",
    "generators_for",
    "make_objective",
    "register_divergence",
]
