"""Instance noise (Sønderby et al. 2017, arXiv:1610.04490; Arjovsky & Bottou 2017, arXiv:1701.04862)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from gantrain.options import at_least_0, option, require, unread
from gantrain.system.distributed import randn
from gantrain.training.tricks.base import Decision, Trick, TrickOptions, TrickSetup


@dataclass(slots=True, kw_only=True)
class InstanceNoiseOptions(TrickOptions):
    """Options of `InstanceNoise`."""

    instance_noise: float = option(
        0.0, "standard deviation of noise on D's inputs, in units of half the image range; 0: off"
    )
    instance_noise_until: float = option(1.0, "share of the run over which the noise decreases linearly to 0")

    def __post_init__(self) -> None:
        """Checks ranges."""
        at_least_0("tricks.instance_noise", self.instance_noise, "0 turns it off")
        require(
            0 < self.instance_noise_until <= 1,
            "tricks.instance_noise_until",
            self.instance_noise_until,
            "must be in (0, 1], a share of the run",
        )
        if not self.instance_noise:
            unread("tricks.instance_noise_until", self.instance_noise_until, 1.0, "tricks.instance_noise")

    def build(self, setup: TrickSetup) -> "InstanceNoise | None":
        """See `TrickOptions`; the noise of points is in their own unit."""
        if not self.instance_noise:
            return None
        unit = 1.0 if setup.image_range is None else (setup.image_range[1] - setup.image_range[0]) / 2
        until = max(1, round(self.instance_noise_until * setup.steps))
        return InstanceNoise(self.instance_noise * unit, until, setup.device)


class InstanceNoise(Trick):
    """Gaussian noise on all inputs of the discriminator, decreasing linearly to 0."""

    def __init__(self, sigma: float, until: int, device: torch.device) -> None:
        """`sigma` is the standard deviation at the start, `until` the generator step at which it is 0."""
        self.sigma, self.until = sigma, until
        self._now = torch.zeros((), device=device)

    def prepare(self, step: int, epoch: int) -> bool:
        """Sets the noise of the next iteration; returns whether there is any left."""
        sigma = self.sigma * max(0.0, 1 - step / self.until)
        self._now.fill_(sigma)
        return sigma > 0

    def augment_inputs(self, images: Tensor, draws: torch.Generator, decision: Decision) -> Tensor:
        """Adds fresh noise."""
        return images + self._now * randn(tuple(images.shape), draws) if decision else images
