"""Constraints on the discriminator besides its loss. Each is one module; `REGULARIZERS` lists them.

A regularizer is a dataclass of its options that also computes its penalties. The section `regularizer.*` of the
configuration consists of the options of all of them, so names must differ. To add one, write a module like this:

    @dataclass(slots=True, kw_only=True)
    class ZeroCenteredInterpolates(Regularizer):
        \"\"\"E‖∇v‖² at random points between real and fake images (Thanh-Tung et al. 2019, arXiv:1902.03984).\"\"\"

        gp0: float = option(0.0, "λ of the zero-centered gradient penalty between real and fake; 0: off")

        def __post_init__(self) -> None:
            at_least_0("regularizer.gp0", self.gp0, "0 turns it off")

        def active(self) -> tuple[str, ...]:
            return ("gp0",) if self.gp0 else ()

        def penalties(self, batch: DiscriminatorBatch) -> dict[str, Tensor]:
            x = interpolate(batch.real, batch.fake, batch.draws).requires_grad_()
            gradient = input_gradient(batch.discriminate(x), x)
            return {"gp0": self.gp0 * gradient.square().sum(dim=1).mean()}

and add the class to `REGULARIZERS`. The key `regularizer.gp0`, its line in --help, its check and the scalar
`penalty/gp0` then exist.
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
