"""GAN objectives as pure tensor mathematics, usable in any training loop."""

from gantrain.objectives.divergences import DIVERGENCE_NAMES, DIVERGENCES, Divergence, alpha_divergence
from gantrain.objectives.objective import (
    DISCRIMINATOR_NAMES,
    GENERATOR_NAMES,
    Objective,
    ObjectiveError,
    discriminators_for,
    generators_for,
    make_objective,
)

__all__ = [
    "DISCRIMINATOR_NAMES",
    "DIVERGENCES",
    "DIVERGENCE_NAMES",
    "GENERATOR_NAMES",
    "Divergence",
    "Objective",
    "ObjectiveError",
    "alpha_divergence",
    "discriminators_for",
    "generators_for",
    "make_objective",
]
