"""The interface of a regularizer."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class DiscriminatorBatch:
    """Tensors of a discriminator step that penalties are computed from.

    Attributes:
        real: images (N, 3, H, W) or points (N, 2), as the discriminator sees them.
        fake: the same, without a graph to the generator.
        real_logits: v on `real`, (N,).
        fake_logits: v on `fake`, (N,).
        discriminate: images -> logits (N,), with the labels of `real`; twice differentiable.
        draws: generator for all random numbers.
    """

    real: Tensor
    fake: Tensor
    real_logits: Tensor
    fake_logits: Tensor
    discriminate: Callable[[Tensor], Tensor]
    draws: torch.Generator


class Regularizer:
    """Base class: does nothing.

    Attributes:
        alternatives: what users can choose, for the message that only one constraint may be active; if (), all of the
            class's keys.
        needs_input_gradient: whether its penalties use the gradient of each example's logit with respect to the
            example, which does not exist with batch norm.
    """

    __slots__ = ()
    alternatives: ClassVar[tuple[str, ...]] = ()
    needs_input_gradient: ClassVar[bool] = True

    @property
    def differentiated_inputs(self) -> tuple[str, ...]:
        """Which of ("real", "fake") the penalties differentiate the batch's logits with respect to.

        In steps with the penalty these images require gradients, and the discriminator runs uncompiled.
        """
        return ()

    def active(self) -> tuple[str, ...]:
        """Names of the constraints that are on; if (), no other method is called."""
        return ()

    def is_due(self, d_update: int) -> bool:
        """Whether penalties are added in discriminator step `d_update` (from 0); the host decides this."""
        return True

    def penalties(self, batch: DiscriminatorBatch) -> dict[str, Tensor]:
        """Scalars added to the discriminator's loss, weighted, by name (logged as `penalty/NAME`)."""
        return {}

    def after_update(self, discriminator: nn.Module) -> None:
        """Called after each discriminator update."""


def input_gradient(logits: Tensor, images: Tensor) -> Tensor:
    """∇_x v(x) of each example, (N, C·H·W) float32 with its graph, so that it can be trained on.

    Exact only if each logit depends on its own example alone, which batch norm violates.
    """
    (gradient,) = torch.autograd.grad(logits.float().sum(), images, create_graph=True)
    flat: Tensor = gradient.float().flatten(1)
    return flat
