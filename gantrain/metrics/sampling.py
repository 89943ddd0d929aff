"""Generates images for metrics: from a seed, in eval mode, as uint8."""

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from gantrain.data import to_uint8
from gantrain.networks import sample_latent
from gantrain.system.distributed import SINGLE_PROCESS, Processes


def default_batch_size(device: torch.device) -> int:
    """Images per forward pass while measuring: on CUDA enough to fill a large GPU (the Inception takes 6 GB)."""
    return 500 if device.type == "cuda" else 100


@contextlib.contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Puts the network into eval mode, and back into its own mode afterwards."""
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
    """Generates images from z of a seed, and from labels drawn uniformly if there are classes.

    Each of several processes generates a part; all of them return all images.

    Returns:
        uint8 images (count, 3, H, W), or the generator's output unchanged if `image_range` is None, and labels
        (count,) or None, on the device.
    """
    source = torch.Generator(device).manual_seed(seed)
    z = sample_latent(prior, (count, latent_dim), source)  # all at once: independent of batch_size
    labels = torch.randint(classes, (count,), generator=source, device=device) if classes else None
    own = processes.local_slice(count)
    own_labels = None if labels is None else labels[own]
    part = draw_images(generator, z[own], own_labels, image_range=image_range, batch_size=batch_size)
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
    """uint8 images (N, 3, H, W) of z (N, dim) and labels (N,) if the generator takes them, in eval mode.

    Without `image_range` the generator's output is returned unchanged.
    """

    def draw(*inputs: Tensor) -> Tensor:
        output: Tensor = generator(*inputs)
        return output if image_range is None else to_uint8(output, image_range)  # per batch: a quarter of the memory

    with evaluating(generator):
        inputs = (z,) if labels is None else (z, labels)
        parts = zip(*(tensor.split(batch_size) for tensor in inputs), strict=True)
        return torch.cat([draw(*part) for part in parts])
