"""Penalties that pull the norm of the discriminator's input gradient towards 1: WGAN-GP and DRAGAN."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from gantrain.options import at_least_0, option, unread
from gantrain.system.distributed import batch_std, rand, randn
from gantrain.training.regularizers.base import DiscriminatorBatch, Regularizer, input_gradient


@dataclass(slots=True, kw_only=True)
class GradientNormPenalty(Regularizer):
    """(‖∇v‖ - 1)², between real and fake images (WGAN-GP) or around real images (DRAGAN)."""

    alternatives = ("gp", "dragan")

    gp: float = option(0.0, "λ of WGAN-GP's gradient penalty, between real and fake; 10 in the paper; 0: off")
    dragan: float = option(0.0, "λ of DRAGAN's gradient penalty, around real images; 10 in the paper; 0: off")
    one_sided: bool = option(False, "gp and dragan: do not penalize gradient norms below 1")

    def __post_init__(self) -> None:
        """Checks ranges."""
        at_least_0("regularizer.gp", self.gp, "0 turns it off")
        at_least_0("regularizer.dragan", self.dragan, "0 turns it off")
        if not self.active():
            unread("regularizer.one_sided", self.one_sided, False, "regularizer.gp and dragan")

    def active(self) -> tuple[str, ...]:
        """See `Regularizer`."""
        return tuple(name for name in self.alternatives if getattr(self, name))

    def penalties(self, batch: DiscriminatorBatch) -> dict[str, Tensor]:
        """See `Regularizer`."""
        found = {}
        if self.gp:
            penalty = gradient_penalty(
                batch.discriminate, batch.real, batch.fake, batch.draws, one_sided=self.one_sided
            )
            found["gp"] = self.gp * penalty
        if self.dragan:
            penalty = dragan_penalty(batch.discriminate, batch.real, batch.draws, one_sided=self.one_sided)
            found["dragan"] = self.dragan * penalty
        return found


def gradient_penalty(
    discriminate: Callable[[Tensor], Tensor],
    real: Tensor,
    fake: Tensor,
    draws: torch.Generator,
    *,
    one_sided: bool = False,
) -> Tensor:
    """WGAN-GP's penalty (Gulrajani et al. 2017, eq. 3): `distance_from_one` at random points between real and fake."""
    between = interpolate(real, fake, draws).requires_grad_()
    return distance_from_one(input_gradient(discriminate(between), between), one_sided)


def dragan_penalty(
    discriminate: Callable[[Tensor], Tensor], real: Tensor, draws: torch.Generator, *, one_sided: bool = False
) -> Tensor:
    """DRAGAN's penalty (Kodali et al. 2017, Algorithm 1): `distance_from_one` around real images.

    The Gaussian noise has half the standard deviation of the batch, as in the authors' code.
    """
    real = real.detach().float()
    noise = randn(tuple(real.shape), draws)
    around = (real + 0.5 * batch_std(real, draws) * noise).requires_grad_()
    return distance_from_one(input_gradient(discriminate(around), around), one_sided)


def interpolate(real: Tensor, fake: Tensor, draws: torch.Generator) -> Tensor:
    """A point on the line between each pair of a real and a fake example, uniform, float32 and without a graph."""
    share = rand((len(real), *[1] * (real.ndim - 1)), draws)
    return torch.lerp(real.detach().float(), fake.detach().float(), share)


def distance_from_one(gradient: Tensor, one_sided: bool) -> Tensor:
    """Mean of (‖∇v‖ - 1)², or of max(0, ‖∇v‖ - 1)² if `one_sided`, over gradients (N, D)."""
    excess: Tensor = gradient.norm(dim=1) - 1
    return (excess.relu() if one_sided else excess).square().mean()
