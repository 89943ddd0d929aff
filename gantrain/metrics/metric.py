"""What every metric has in common: it reads generated images and states its protocol."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from gantrain.data import to_uint8
from gantrain.distributed import SINGLE_PROCESS, Processes
from gantrain.networks import sample_latent

LOWER_IS_BETTER: dict[str, bool | None] = {
    "fid": True,
    "kid": True,
    "inception_score": False,
    "precision": False,
    "recall": False,
    "density": False,
    "coverage": False,
    "modes": False,
    "modes_kl": True,
    "high_quality": False,
    "kl": True,
    "classes": False,
    "classes_kl": True,
    "class_accuracy": False,
    "color_js": True,
    "green_brown": None,
    "duplicates": True,
    "exact_duplicates": True,
    "memorized": True,
    "train_distance": None,
}
"""Which way every figure that a metric gives is better; None for one that describes only."""


@dataclass(frozen=True, slots=True)
class MetricValue:
    """One figure with everything it must be compared under.

    Attributes:
        name: of the figure.
        value: the figure.
        protocol: what it depends on besides the generator. `real`, where it is there, is the same figure of real
            images.
        interval: where it would lie in 95 of 100 repetitions with other images, if that was asked for and is known.
    """

    name: str
    value: float
    protocol: dict[str, Any] = field(default_factory=dict)
    interval: tuple[float, float] | None = None


class Metric(Protocol):
    """A set of figures computed together from generated images."""

    @property
    def headline(self) -> str:
        """The figure that decides which checkpoint is best, by its place in `LOWER_IS_BETTER`."""

    def measure(self, images: Tensor, labels: Tensor | None) -> list[MetricValue]:
        """Figures of uint8 images (N, 3, H, W) or points (N, 2), and of the labels (N,) asked for, if any."""


@runtime_checkable
class Pictured(Protocol):
    """A metric that can also be looked at."""

    @property
    def picture(self) -> str | None:
        """The picture's name, or None where this one draws none."""

    def draw(self, picture: Any, images: Tensor) -> None:
        """Draws what it sees in uint8 images (N, 3, H, W) into a matplotlib Figure."""


def usual_batch_size(device: torch.device) -> int:
    """Images a forward pass while measuring: on CUDA as many as fill a large GPU, the Inception on them in 6 GB."""
    return 500 if device.type == "cuda" else 100


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
    image_range: tuple[float, float] | None,
    batch_size: int,
    seed: int,
    device: torch.device,
    classes: int = 0,
    processes: Processes = SINGLE_PROCESS,
) -> tuple[Tensor, Tensor | None]:
    """Images of z of that seed, and of labels drawn evenly from `classes` if there are any.

    The generator is in eval mode meanwhile. Several processes generate a part each, and all of them have all images.

    Returns:
        uint8 images (count, 3, H, W), or points as they are without `image_range`, and labels (count,), on the device.
    """
    source = torch.Generator(device).manual_seed(seed)
    z = sample_latent(prior, (count, latent_dim), source)  # at once, so that batch_size changes nothing
    labels = torch.randint(classes, (count,), generator=source, device=device) if classes else None
    own = processes.local_slice(count)
    of_own = None if labels is None else labels[own]
    part = draw_images(generator, z[own], of_own, image_range=image_range, batch_size=batch_size)
    return processes.gather_slices(part, count), labels


@torch.no_grad()
def draw_images(
    generator: nn.Module,
    z: Tensor,
    labels: Tensor | None,
    *,
    image_range: tuple[float, float] | None,
    batch_size: int,
) -> Tensor:
    """uint8 images (N, 3, H, W) of z (N, dim), and of labels (N,) where the generator reads them; in eval mode.

    Without `image_range` the generator gives no images, and what it gives is returned as it is.
    """

    def drawn(*inputs: Tensor) -> Tensor:
        found: Tensor = generator(*inputs)
        return found if image_range is None else to_uint8(found, image_range)  # at once: a quarter of the memory

    with evaluating(generator):
        inputs = (z,) if labels is None else (z, labels)
        parts = zip(*(tensor.split(batch_size) for tensor in inputs), strict=True)
        return torch.cat([drawn(*part) for part in parts])
