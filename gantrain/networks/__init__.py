"""Generators and discriminators, each declared as data plus one builder."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from torch import nn

from gantrain.networks.conditional import Discriminator, GeneratorOptions, LabeledDiscriminator, Network
from gantrain.networks.conv import CONV_PAIRS, conv_features, conv_generator
from gantrain.networks.layers import count_parameters, init_normal_, init_xavier_, sample_latent, to_channels_last
from gantrain.networks.mlp import MlpDiscriminator, init_he_, mlp_generator
from gantrain.networks.normalization import in_parts, synchronize
from gantrain.networks.resnet import resnet_features, resnet_generator
from gantrain.networks.spectral import add_spectral_norm, power_iterate, shared_spectral_norm


@dataclass(frozen=True, slots=True)
class NetworkPair:
    """A generator and the discriminator made for it.

    The generator takes z (N, latent_dim) and gives images (N, 3, size, size) in `image_range`, or points (N, 2)
    where that is None; the discriminator takes the same and gives logits (N,). With `classes` both take labels (N,)
    as well, and the discriminator gives (logits, class scores (N, classes)).
    """

    generator: nn.Module
    discriminator: nn.Module
    image_range: tuple[float, float] | None
    latent_dim: int
    prior: str
    classes: int = 0


def make_networks(
    name: str,
    *,
    width: int,
    latent_dim: int,
    prior: str,
    d_norm: str,
    image_size: int,
    sn_schedule: str = "per_forward",
    d_width: int | None = None,
    g_norm: str = "batch",
    g_dropout: float = 0.0,
    d_dropout: float = 0.0,
    maxout_count: str = "after",
    d_pattern: str = "paper",
    virtual_reference: int = 64,
    labels: str = "none",
    g_labels: str = "batch_norm",
    classes: int = 0,
) -> NetworkPair:
    """Builds a pair with fresh weights from the global RNG, on the CPU.

    Args:
        name: dcgan, sngan, resnet, poole, or mlp for points.
        width: base number of feature maps.
        latent_dim: size of z.
        prior: distribution of z, see `sample_latent`.
        d_norm: spectral, or one that `make_norm` knows, in the discriminator.
        image_size: height and width.
        sn_schedule: of d_norm=spectral, see `add_spectral_norm`.
        d_width: the discriminator's width, where it differs.
        g_norm: one that `make_norm` knows, in the generator.
        g_dropout: rate after the generator's activations.
        d_dropout: rate after the discriminator's.
        maxout_count: poole: feature maps counted `after` the maximum or `before` it.
        d_pattern: sngan: the discriminator's widths of the `paper` or of its released `code`.
        virtual_reference: size of the reference batch of virtual batch norm.
        labels: how the discriminator reads labels: none, acgan or projection.
        g_labels: how the generator does: batch_norm or embedding.
        classes: how many there are; read where `labels` is not none.
    """
    side_width = d_width or width
    if name == "mlp":
        generator, critic = mlp_generator(width, latent_dim), MlpDiscriminator(side_width)
        for network in (generator, critic):
            init_he_(network)
        if d_norm == "spectral":
            add_spectral_norm(critic, sn_schedule)
        return NetworkPair(generator, critic, None, latent_dim, prior)
    classes = 0 if labels == "none" else classes
    options = GeneratorOptions(
        width=width,
        latent_dim=latent_dim,
        image_size=image_size,
        norm=g_norm,
        dropout=g_dropout,
        classes=classes,
        labels=g_labels,
        reference_size=virtual_reference,
    )
    init_weights: Callable[[nn.Module], None]
    pair = CONV_PAIRS.get(name)
    if pair is None:
        assert name == "resnet", name
        range_, init_weights = (-1.0, 1.0), init_xavier_
        generator = resnet_generator(options)
        features, channels, size = resnet_features(side_width, image_size, d_dropout)
    else:
        range_, init_weights = pair.image_range, partial(init_normal_, std=pair.std, gain_std=pair.gain_std)
        generator = conv_generator(pair, options)
        features, channels, size = conv_features(
            pair,
            width=side_width,
            image_size=image_size,
            norm=d_norm,
            dropout=d_dropout,
            maxout_count=maxout_count,
            pattern=d_pattern,
            reference_size=virtual_reference,
        )
    if classes:
        discriminator: nn.Module = LabeledDiscriminator(features, channels, size, classes=classes, kind=labels)
    else:
        discriminator = Discriminator(features, channels, size)
    init_weights(discriminator)
    if d_norm == "spectral":
        add_spectral_norm(discriminator, sn_schedule)
    return NetworkPair(generator, discriminator, range_, latent_dim, prior, classes)


__all__ = [
    "Network",
    "NetworkPair",
    "count_parameters",
    "in_parts",
    "make_networks",
    "power_iterate",
    "sample_latent",
    "shared_spectral_norm",
    "synchronize",
    "to_channels_last",
]
