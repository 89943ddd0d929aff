"""Generators and discriminators, each declared as data plus one builder."""

from dataclasses import dataclass

from torch import nn

from gantrain.networks.dcgan import dcgan_discriminator, dcgan_generator
from gantrain.networks.layers import count_parameters, sample_latent
from gantrain.networks.poole import poole_discriminator, poole_generator


@dataclass(frozen=True, slots=True)
class NetworkPair:
    """A generator and the discriminator made for it.

    The generator takes z (N, latent_dim) and gives images (N, 3, size, size) in `image_range`; the
    discriminator takes images in the same range and gives logits (N,).
    """

    generator: nn.Module
    discriminator: nn.Module
    image_range: tuple[float, float]
    latent_dim: int
    prior: str


def make_networks(
    name: str,
    *,
    width: int,
    latent_dim: int,
    prior: str,
    d_norm: str,
    maxout_count: str,
    image_size: int,
) -> NetworkPair:
    """Builds a pair with fresh weights from the global RNG, on the CPU; `name` is dcgan or poole."""
    if name == "poole":
        return NetworkPair(
            generator=poole_generator(width, latent_dim),
            discriminator=poole_discriminator(width, maxout_count, d_norm),
            image_range=(0.0, 1.0),
            latent_dim=latent_dim,
            prior=prior,
        )
    assert name == "dcgan", name
    return NetworkPair(
        generator=dcgan_generator(width, latent_dim, image_size),
        discriminator=dcgan_discriminator(width, image_size, d_norm),
        image_range=(-1.0, 1.0),
        latent_dim=latent_dim,
        prior=prior,
    )


__all__ = ["NetworkPair", "count_parameters", "make_networks", "sample_latent"]
