"""Weight clipping (Arjovsky et al. 2017, arXiv:1701.07875)."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gantrain.options import at_least_0, option
from gantrain.training.regularizers.base import Regularizer


@dataclass(slots=True, kw_only=True)
class WeightClipping(Regularizer):
    """Clamps the discriminator's weights after each update."""

    needs_input_gradient = False

    clip: float = option(0.0, "bound of the discriminator's weights after each step; 0.01 in the WGAN paper; 0: off")

    def __post_init__(self) -> None:
        """Checks ranges."""
        at_least_0("regularizer.clip", self.clip, "0 turns it off")

    def active(self) -> tuple[str, ...]:
        """See `Regularizer`."""
        return ("clip",) if self.clip else ()

    def after_update(self, discriminator: nn.Module) -> None:
        """See `Regularizer`."""
        clip_weights(discriminator, self.clip)


@torch.no_grad()
def clip_weights(network: nn.Module, bound: float) -> None:
    """Clamps every parameter to [-bound, bound] (Algorithm 1 of the paper)."""
    parameters: list[Tensor] = list(network.parameters())
    torch._foreach_clamp_min_(parameters, -bound)
    torch._foreach_clamp_max_(parameters, bound)
