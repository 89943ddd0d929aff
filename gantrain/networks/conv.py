"""Convolutional pairs, each declared as a table of layers, and the functions that build them.

`dcgan`: Radford, Metz & Chintala 2016, at 32 and 64 pixels. `sngan`: the "standard CNN" of Miyato et al. 2018,
Table 3. `poole`: the maxout pair of Poole et al. 2016, Appendix B (the layers of ALI, Dumoulin et al. 2016).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

from torch import nn

from gantrain.networks.conditional import ConditionalBatchNorm2d, Network, label_embedding, make_discriminator
from gantrain.networks.layers import AsImages, Maxout, PixelConvTranspose2d, init_normal_
from gantrain.networks.normalization import make_norm
from gantrain.networks.spec import ConvOptions, NetworkSpec, Target
from gantrain.options import choice, option, require


@dataclass(frozen=True, slots=True)
class ConvLayer:
    """One row of a table of layers.

    Attributes:
        channels: number of output channels, in multiples of the width; 0 means the three colors.
        kernel: height and width of the kernel; for `linear`, of the output.
        kind: up (transposed convolution), conv, or linear.
        norm: whether a normalization may follow.
        dropout: rate of dropout before the layer.
    """

    channels: int
    kernel: int
    stride: int = 1
    padding: int = 0
    kind: str = "conv"
    norm: bool = True
    dropout: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ConvPair:
    """The tables of a generator and its discriminator.

    Attributes:
        generator: image size -> layers; the last one outputs the image and has no norm.
        discriminator: image size, options -> layers before the logit.
        generator_slope: slope of the generator's leaky ReLU; 0 for ReLU.
        discriminator_slope: slope of the discriminator's leaky ReLU; None for maxout with two pieces.
        weight_std: standard deviation of the initial weights.
        gain_std: standard deviation of the initial gains of norms, around 1.
        image_range: the output is tanh for (-1, 1), the sigmoid for (0, 1).
    """

    generator: Callable[[int], tuple[ConvLayer, ...]]
    discriminator: Callable[[int, Any], tuple[ConvLayer, ...]]
    generator_slope: float = 0.0
    discriminator_slope: float | None
    weight_std: float
    gain_std: float = 0.0
    dropout_before_logit: float = 0.0
    image_range: tuple[float, float] = (-1.0, 1.0)


def doublings(image_size: int) -> int:
    """Number of doublings from 4 pixels to the image size."""
    count = int(math.log2(image_size // 4))
    assert 4 << count == image_size, f"image size must be 4·2^n, not {image_size}"
    return count


# --- dcgan ---------------------------------------------------------------------------------------


def _dcgan_generator(image_size: int) -> tuple[ConvLayer, ...]:
    count = doublings(image_size)
    first = ConvLayer(1 << (count - 1), 4, kind="up")
    middle = [ConvLayer(1 << level, 4, 2, 1, "up") for level in reversed(range(count - 1))]
    return (first, *middle, ConvLayer(0, 4, 2, 1, "up"))


def _dcgan_discriminator(image_size: int, options: ConvOptions) -> tuple[ConvLayer, ...]:
    return tuple(ConvLayer(1 << level, 4, 2, 1, norm=level > 0) for level in range(doublings(image_size)))


DCGAN_PAIR = ConvPair(
    generator=_dcgan_generator,
    discriminator=_dcgan_discriminator,
    discriminator_slope=0.2,
    weight_std=0.02,
    gain_std=0.02,
)

# --- sngan ---------------------------------------------------------------------------------------

SNGAN_GENERATOR = (
    ConvLayer(8, 4, kind="linear"),
    ConvLayer(4, 4, 2, 1, "up"),
    ConvLayer(2, 4, 2, 1, "up"),
    ConvLayer(1, 4, 2, 1, "up"),
    ConvLayer(0, 3, 1, 1),
)
SNGAN_CHANNELS = {"paper": (1, 1, 2, 2, 4, 4, 8), "code": (1, 2, 2, 4, 4, 8, 8)}
"""Widths of the discriminator's layers, in Table 3 of the paper and in its released code."""


@dataclass(kw_only=True)
class SnganOptions(ConvOptions):
    """Options of `model=sngan`."""

    d_pattern: str = option("paper", "sngan: the discriminator's widths of the paper's table or of its released code")

    def __post_init__(self) -> None:
        """Checks the pattern."""
        super().__post_init__()
        choice("model.d_pattern", self.d_pattern, tuple(SNGAN_CHANNELS))


def _sngan_discriminator(image_size: int, options: SnganOptions) -> tuple[ConvLayer, ...]:
    kernels = ((3, 1), (4, 2)) * 3 + ((3, 1),)
    rows = zip(SNGAN_CHANNELS[options.d_pattern], kernels, strict=True)
    return tuple(ConvLayer(channels, *kernel, 1, norm=k > 0) for k, (channels, kernel) in enumerate(rows))


SNGAN_PAIR = ConvPair(
    generator=lambda image_size: SNGAN_GENERATOR,
    discriminator=_sngan_discriminator,
    discriminator_slope=0.1,
    weight_std=0.02,
)

# --- poole; every convolution is valid (no padding) ----------------------------------------------

POOLE_GENERATOR = (
    ConvLayer(8, 4, 1, kind="up"),
    ConvLayer(4, 4, 2, kind="up"),
    ConvLayer(2, 4, 1, kind="up"),
    ConvLayer(1, 4, 2, kind="up"),
    ConvLayer(1, 5, 1, kind="up"),
    ConvLayer(1, 1),
    ConvLayer(0, 1),
)
POOLE_DISCRIMINATOR = (
    ConvLayer(1, 5, 1, norm=False, dropout=0.2),
    ConvLayer(2, 4, 2, norm=False, dropout=0.5),
    ConvLayer(4, 4, 1, norm=False, dropout=0.5),
    ConvLayer(8, 4, 2, norm=False, dropout=0.5),
    ConvLayer(16, 4, 1, norm=False, dropout=0.5),
    ConvLayer(32, 1, 1, norm=False, dropout=0.5),
    ConvLayer(32, 1, 1, norm=False, dropout=0.5),
)


@dataclass(kw_only=True)
class PooleOptions(ConvOptions):
    """Options of `model=poole`."""

    maxout_count: str = option(
        "after", "poole: feature maps counted after the maximum (the paper) or before (ALI's code)"
    )

    def __post_init__(self) -> None:
        """Checks that the width can be halved."""
        super().__post_init__()
        choice("model.maxout_count", self.maxout_count, ("after", "before"))
        if self.maxout_count == "before":
            width = self.d_width or self.width
            require(width % 2 == 0, "model.width", width, "must be even for model.maxout_count=before")

    @property
    def discriminator_width(self) -> int:
        """Base number of feature maps after the maximum."""
        width = self.d_width or self.width
        return width if self.maxout_count == "after" else width // 2


POOLE_PAIR = ConvPair(
    generator=lambda image_size: POOLE_GENERATOR,
    discriminator=lambda image_size, options: POOLE_DISCRIMINATOR,
    generator_slope=0.1,
    discriminator_slope=None,
    weight_std=0.01,
    dropout_before_logit=0.5,
    image_range=(0.0, 1.0),
)

# -------------------------------------------------------------------------------------------------


def build_conv_pair(pair: ConvPair, options: ConvOptions, target: Target) -> tuple[nn.Module, nn.Module]:
    """Generator and discriminator of a table, with initial weights N(0, weight_std²)."""
    generator = conv_generator(pair, options, target)
    init_normal_(generator, pair.weight_std, pair.gain_std)
    discriminator = make_discriminator(*conv_features(pair, options, target), target)
    init_normal_(discriminator, pair.weight_std, pair.gain_std)
    return generator, discriminator


def conv_generator(pair: ConvPair, options: ConvOptions, target: Target) -> Network:
    """Maps z (N, latent_dim) to images (N, 3, size, size) in the pair's range.

    Convolutions have a bias unless a norm follows; linear layers always have one, since it differs between pixels.
    """
    layers, before = label_embedding(options.latent_dim, target)
    first, *_, last = rows = pair.generator(target.image_size)
    if first.kind != "linear":
        layers.append(AsImages())
    for row in rows[:-1]:
        after, bias = row.channels * options.width, options.g_norm == "none"
        if row is first and row.kind == "up":
            layers.append(PixelConvTranspose2d(before, after, row.kernel, bias=bias))
        else:
            layers += _convolution(row, before, after, bias=bias)
        if target.batch_norm_classes:
            layers.append(ConditionalBatchNorm2d(after, target.batch_norm_classes))
        elif options.g_norm != "none":
            layers.append(make_norm(options.g_norm, after, reference_size=options.virtual_reference))
        layers.append(nn.LeakyReLU(pair.generator_slope, inplace=True) if pair.generator_slope else nn.ReLU(True))
        if options.g_dropout:
            layers.append(nn.Dropout(options.g_dropout))
        before = after
    layers += [*_convolution(last, before, 3, bias=True), nn.Tanh() if pair.image_range[0] < 0 else nn.Sigmoid()]
    return Network(*layers, input_shape=(options.latent_dim,))


def conv_features(pair: ConvPair, options: ConvOptions, target: Target) -> tuple[Network, int, int]:
    """The discriminator's layers before the logit, from images (N, 3, size, size) to (N, channels, side, side).

    Returns:
        The layers, `channels` and `side`.
    """
    layers: list[nn.Module] = []
    before, side, pieces = 3, target.image_size, 2
    for row in pair.discriminator(target.image_size, options):
        after = row.channels * options.discriminator_width
        if row.dropout:
            layers.append(nn.Dropout(row.dropout))
        if pair.discriminator_slope is None:
            layers += [*_convolution(row, before, pieces * after, bias=True), Maxout(pieces)]
        else:
            normalized = row.norm and options.d_norm not in ("none", "spectral")
            layers += _convolution(row, before, after, bias=not normalized)
            if normalized:
                layers.append(make_norm(options.d_norm, after, reference_size=options.virtual_reference))
            layers.append(nn.LeakyReLU(pair.discriminator_slope, inplace=True))
        if options.d_dropout:
            layers.append(nn.Dropout(options.d_dropout))
        before, side = after, (side + 2 * row.padding - row.kernel) // row.stride + 1
    if pair.dropout_before_logit:
        layers.append(nn.Dropout(pair.dropout_before_logit))
    return Network(*layers, input_shape=(3, target.image_size, target.image_size)), before, side


def _convolution(row: ConvLayer, before: int, after: int, *, bias: bool) -> list[nn.Module]:
    if row.kind == "linear":
        return [nn.Linear(before, after * row.kernel**2), AsImages(row.kernel)]
    convolution = nn.ConvTranspose2d if row.kind == "up" else nn.Conv2d
    return [convolution(before, after, row.kernel, row.stride, row.padding, bias=bias)]


DCGAN = NetworkSpec(name="dcgan", title="DCGAN", build=partial(build_conv_pair, DCGAN_PAIR), image_sizes=(32, 64))
SNGAN = NetworkSpec(
    name="sngan", title="standard CNN", build=partial(build_conv_pair, SNGAN_PAIR), options=SnganOptions
)
POOLE = NetworkSpec(
    name="poole",
    title="maxout",
    build=partial(build_conv_pair, POOLE_PAIR),
    options=PooleOptions,
    image_range=POOLE_PAIR.image_range,
    d_norms=("none", "spectral"),
    fixed={"d_dropout": (0.0, "which has its own dropout")},
    has_dropout=True,
    prefers_channels_last=False,
)
