"""The list of network pairs, and the function that builds one of them."""

import sys
from dataclasses import dataclass, fields
from typing import Any

from torch import nn

from gantrain.networks.conv import DCGAN, POOLE, SNGAN
from gantrain.networks.mlp import MLP
from gantrain.networks.resnet import RESNET
from gantrain.networks.spec import NetworkOptions, NetworkSpec, Target
from gantrain.networks.spectral import add_spectral_norm
from gantrain.options import ConfigError, choice

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
        classes: number of classes that the networks read labels of; 0 if they read none.
    """

    generator: nn.Module
    discriminator: nn.Module
    image_range: tuple[float, float] | None
    latent_dim: int
    prior: str
    classes: int = 0


def find_network(name: str) -> NetworkSpec:
    """The pair of that name.

    Raises:
        ConfigError: there is none.
    """
    choice("model.name", name, tuple(spec.name for spec in NETWORKS))
    return next(spec for spec in NETWORKS if spec.name == name)


def register_network(spec: NetworkSpec) -> None:
    """Adds a pair, so that `model.name` can choose it.

    Raises:
        ConfigError: the name is taken, or the pair has new keys and the schema has already been made.
    """
    if any(known.name == spec.name for known in NETWORKS):
        raise ConfigError(f"a network named {spec.name!r} is already registered")
    known_keys = {f.name for known in NETWORKS for f in fields(known.options)}
    new = [f.name for f in fields(spec.options) if f.name not in known_keys]
    if new and "gantrain.config" in sys.modules:
        raise ConfigError(f"register {spec.name!r} before importing gantrain.config: its key {new[0]!r} is new")
    NETWORKS.append(spec)


def build_pair(spec: NetworkSpec, options: NetworkOptions, target: Target) -> NetworkPair:
    """A pair with fresh weights from the global RNG, on the CPU.

    Raises:
        ConfigError: the pair does not have the normalization.
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
    """`build_pair` by name and keywords.

    Args:
        name: of the pair.
        image_size: height and width in pixels.
        labels: how the discriminator reads labels: none, acgan or projection.
        g_labels: how the generator reads labels: batch_norm or embedding.
        classes: number of classes; ignored for labels=none.
        options: fields of the pair's options dataclass.
    """
    spec = find_network(name)
    classes = 0 if labels == "none" else classes
    target = Target(image_size=image_size, classes=classes, labels=labels, g_labels=g_labels)
    return build_pair(spec, spec.options(**options), target)
