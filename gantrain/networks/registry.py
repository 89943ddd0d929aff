"""The list of network pairs, and the function that builds one of them."""

from dataclasses import dataclass
from typing import Any

from torch import nn

from gantrain.networks.conv import DCGAN, POOLE, SNGAN
from gantrain.networks.mlp import MLP
from gantrain.networks.resnet import RESNET
from gantrain.networks.spec import NetworkOptions, NetworkSpec, Target
from gantrain.networks.spectral import add_spectral_norm
from gantrain.options import find_choice, register_choice

NETWORKS: list[NetworkSpec] = [DCGAN, SNGAN, RESNET, POOLE, MLP]


@dataclass(frozen=True, slots=True)
class NetworkPair:
    """A generator and its discriminator; `NetworkSpec.build` describes their inputs and outputs.

    Attributes:
        generator: z (N, latent_dim) -> images or points.
        discriminator: images or points -> logits (N,).
        image_range: of the images; None for points.
        latent_dim: size of z.
        prior: distribution of z, see `sample_latent`.
        classes: number of classes; 0 if the networks read no labels.
    """

    generator: nn.Module
    discriminator: nn.Module
    image_range: tuple[float, float] | None
    latent_dim: int
    prior: str
    classes: int = 0


def find_network(name: str) -> NetworkSpec:
    """The pair of that name; ConfigError if there is none."""
    return find_choice("model", name, NETWORKS)


def register_network(spec: NetworkSpec) -> None:
    """Adds a pair, see `register_choice`."""
    register_choice("model", spec, NETWORKS)


def build_pair(spec: NetworkSpec, options: NetworkOptions, target: Target) -> NetworkPair:
    """A pair with fresh weights from the global RNG, on the CPU.

    Raises:
        ConfigError: the pair does not support the normalization.
    """
    spec.check(options)
    generator, discriminator = spec.build(options, target)
    if options.d_norm == "spectral":
        add_spectral_norm(discriminator, options.sn_schedule)
    return NetworkPair(generator, discriminator, spec.image_range, options.latent_dim, options.prior, target.classes)


def make_networks(
    name: str,
    *,
    image_size: int = 32,
    labels: str = "none",
    g_labels: str = "batch_norm",
    classes: int = 0,
    **options: Any,
) -> NetworkPair:
    """`build_pair` by name, with fields of `Target` and of the pair's options; labels=none ignores `classes`."""
    spec = find_network(name)
    classes = 0 if labels == "none" else classes
    target = Target(image_size=image_size, classes=classes, labels=labels, g_labels=g_labels)
    return build_pair(spec, spec.options(**options), target)
