"""What every metric has in common: it reads generated images and states its protocol."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from gantrain.data import to_uint8
from gantrain.networks import sample_latent


@dataclass(frozen=True, slots=True)
class Measurement:
    """One figure with everything it must be compared under."""

    name: str
    value: float
    protocol: dict[str, Any] = field(default_factory=dict)


class Metric(Protocol):
    """A set of figures computed together from generated images."""

    @property
    def headline(self) -> tuple[str, bool]:
        """The figure that decides which checkpoint is best, and whether lower is better."""

    def measure(self, images: Tensor) -> list[Measurement]:
        """Figures of uint8 images (N, 3, H, W)."""


@contextlib.contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """The network in eval mode; its own mode again afterwards."""
    training = network.training
    network.eval()
    try:
        yield
    finally:
        network.train(training)


@torch.no_grad()
def generate_images(
    generator: nn.Module,
    *,
    count: int,
    latent_dim: int,
    prior: str,
    image_range: tuple[float, float],
    batch_size: int,
    seed: int,
    device: torch.device,
) -> Tensor:
    """uint8 images (count, 3, H, W) on the device, from z of that seed; the generator is in eval mode meanwhile."""
    source = torch.Generator(device).manual_seed(seed)
    z = sample_latent(prior, (count, latent_dim), source)  # at once, so that batch_size changes nothing
    with evaluating(generator):
        return torch.cat([to_uint8(generator(part), image_range) for part in z.split(batch_size)])
