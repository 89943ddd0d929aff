"""Constraints on the discriminator besides its loss. Each is one module; `REGULARIZERS` lists them.

A regularizer is a dataclass of its options that also computes its penalties. The section `regularizer.*` of the
configuration consists of the options of all of them, so names must differ. docs/extending.md shows how to add one.
"""

from gantrain.training.regularizers.base import DiscriminatorBatch, Regularizer, input_gradient
from gantrain.training.regularizers.gradient_norm import (
    GradientNormPenalty,
    distance_from_one,
    dragan_penalty,
    gradient_penalty,
    interpolate,
)
from gantrain.training.regularizers.weight_clipping import WeightClipping, clip_weights
from gantrain.training.regularizers.zero_centered import ZeroCenteredPenalty, zero_centered_penalty

REGULARIZERS: tuple[type[Regularizer], ...] = (GradientNormPenalty, ZeroCenteredPenalty, WeightClipping)
"""In the order in which their keys are listed and their penalties are added."""

__all__ = [
    "REGULARIZERS",
    "DiscriminatorBatch",
    "GradientNormPenalty",
    "Regularizer",
    "WeightClipping",
    "ZeroCenteredPenalty",
    "clip_weights",
    "distance_from_one",
    "dragan_penalty",
    "gradient_penalty",
    "input_gradient",
    "interpolate",
    "zero_centered_penalty",
]
