"""Constraints on the discriminator beside its loss: penalties on its gradient by the image, and weight clipping."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gantrain.distributed import batch_std, rand, randn

Judge = Callable[[Tensor], Tensor]
"""Images (N, 3, H, W) -> logits (N,)."""


def input_gradient(logits: Tensor, images: Tensor) -> Tensor:
    """∇_x v(x) of each example, (N, C·H·W) float32 with its graph, so that it can be trained on.

    Exact where an example's logit depends on no other example: batch norm mixes them.
    """
    (gradient,) = torch.autograd.grad(logits.float().sum(), images, create_graph=True)
    flat: Tensor = gradient.float().flatten(1)
    return flat


def distance_from_one(gradient: Tensor, one_sided: bool) -> Tensor:
    """Mean of (‖∇v‖ - 1)², or of max(0, ‖∇v‖ - 1)² if `one_sided`, over gradients (N, D)."""
    excess: Tensor = gradient.norm(dim=1) - 1
    return (excess.relu() if one_sided else excess).square().mean()


def gradient_penalty(
    discriminate: Judge, real: Tensor, fake: Tensor, draws: torch.Generator, *, one_sided: bool = False
) -> Tensor:
    """WGAN-GP's (Gulrajani et al. 2017, eq. 3): `distance_from_one` at random points between real and fake."""
    share = rand((len(real), *[1] * (real.ndim - 1)), draws)
    between = torch.lerp(real.detach().float(), fake.detach().float(), share).requires_grad_()
    return distance_from_one(input_gradient(discriminate(between), between), one_sided)


def dragan_penalty(discriminate: Judge, real: Tensor, draws: torch.Generator, *, one_sided: bool = False) -> Tensor:
    """DRAGAN's (Kodali et al. 2017, Algorithm 1): `distance_from_one` around real images.

    The Gaussian noise there has half the standard deviation of the batch, the scale of the authors' code.
    """
    real = real.detach().float()
    noise = randn(tuple(real.shape), draws)
    around = (real + 0.5 * batch_std(real, draws) * noise).requires_grad_()
    return distance_from_one(input_gradient(discriminate(around), around), one_sided)


def zero_centered_penalty(logits: Tensor, images: Tensor) -> Tensor:
    """½ E‖∇v‖² on those images (Mescheder et al. 2018, eq. 9 and 10): R1 on real, R2 on fake ones."""
    return input_gradient(logits, images).square().sum(dim=1).mean() / 2


@torch.no_grad()
def clip_weights(network: nn.Module, bound: float) -> None:
    """Every parameter into [-bound, bound] (Arjovsky et al. 2017, Algorithm 1)."""
    parameters: list[Tensor] = list(network.parameters())
    torch._foreach_clamp_min_(parameters, -bound)
    torch._foreach_clamp_max_(parameters, bound)


@dataclass(frozen=True, slots=True, kw_only=True)
class Regularizer:
    """Which constraints, how strong; 0 is off.

    Attributes:
        gp: λ of the gradient penalty.
        dragan: λ of DRAGAN's.
        one_sided: whether these two leave gradients below 1 alone.
        r1: γ of the penalty on real images.
        r2: γ of that on fakes.
        interval: R1 and R2 are computed at every `interval`-th discriminator step only, and weigh
            `interval` times as much (Karras et al. 2020's lazy regularization).
        clip: bound of the weights.
    """

    gp: float = 0.0
    dragan: float = 0.0
    one_sided: bool = False
    r1: float = 0.0
    r2: float = 0.0
    interval: int = 1
    clip: float = 0.0

    def is_due(self, turn: int) -> bool:
        """Whether R1 and R2 are computed in discriminator step `turn` (from 0)."""
        return bool(self.r1 or self.r2) and turn % self.interval == 0

    def penalties(
        self,
        discriminate: Judge,
        real: Tensor,
        fake: Tensor,
        real_logits: Tensor,
        fake_logits: Tensor,
        draws: torch.Generator,
        *,
        due: bool,
    ) -> dict[str, Tensor]:
        """What is added to the loss of a discriminator step, by name, weighed; R1 and R2 where they are `due`.

        For these `real` or `fake` must require gradients and the logits be theirs.
        """
        found: dict[str, Tensor] = {}
        if self.gp:
            found["gp"] = self.gp * gradient_penalty(discriminate, real, fake, draws, one_sided=self.one_sided)
        if self.dragan:
            found["dragan"] = self.dragan * dragan_penalty(discriminate, real, draws, one_sided=self.one_sided)
        if due:
            if self.r1:
                found["r1"] = self.r1 * self.interval * zero_centered_penalty(real_logits, real)
            if self.r2:
                found["r2"] = self.r2 * self.interval * zero_centered_penalty(fake_logits, fake)
        return found
