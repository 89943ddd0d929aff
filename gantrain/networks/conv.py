"""ConvPair convolutional pairs, each declared as a table of layers, and one builder for either side.

`dcgan`: Radford, Metz & Chintala 2016, at 32 and 64 pixels. `sngan`: the "standard CNN" of Miyato et al. 2018,
Table 3. `poole`: the maxout pair of Poole et al. 2016, Appendix B (the layers of ALI, Dumoulin et al. 2016).
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from gantrain.networks.conditional import ConditionalBatchNorm2d, GeneratorOptions, Network
from gantrain.networks.layers import AsImages, Maxout, PixelConvTranspose2d, init_normal_
from gantrain.networks.normalization import make_norm


@dataclass(frozen=True, slots=True)
class Layer:
    """One row of a table of layers.

    Attributes:
        maps: feature maps after it, in multiples of the width; 0 stands for the three colors.
        kernel: height and width of the kernel; of a `linear` layer, of what it makes out of the vector z.
        kind: up (transposed convolution), conv, or linear.
        norm: whether a normalization may follow.
        dropout: the table's own rate of dropout before the layer.
    """

    maps: int
    kernel: int
    stride: int = 1
    padding: int = 0
    kind: str = "conv"
    norm: bool = True
    dropout: float = 0.0


@dataclass(frozen=True, slots=True)
class ConvPair:
    """A pair: the layers of either side and what they have in common."""

    generator: Callable[[int], tuple[Layer, ...]]
    """Image size -> layers; the last one gives the image and has neither norm nor slope."""
    discriminator: Callable[[int, str], tuple[Layer, ...]]
    """Image size, pattern -> layers before the logit."""
    generator_slope: float
    """Of the leaky ReLU; 0 is the ReLU."""
    discriminator_slope: float | None
    """None for maxout of two pieces."""
    image_range: tuple[float, float]
    std: float
    """Of the first weights."""
    gain_std: float
    """Of the first gains of norms, around 1."""
    dropout_before_logit: float = 0.0


def levels(image_size: int) -> int:
    """How often 4 doubles to the image size."""
    doublings = int(math.log2(image_size // 4))
    assert 4 << doublings == image_size, f"built for 4·2^n pixels, not {image_size}"
    return doublings


def _dcgan_generator(image_size: int) -> tuple[Layer, ...]:
    ups = [Layer(1 << level, 4, 2, 1, "up") for level in reversed(range(levels(image_size) - 1))]
    first = Layer(1 << (levels(image_size) - 1), 4, kind="up")
    return (first, *ups, Layer(0, 4, 2, 1, "up"))


def _dcgan_discriminator(image_size: int, pattern: str) -> tuple[Layer, ...]:
    return tuple(Layer(1 << level, 4, 2, 1, norm=level > 0) for level in range(levels(image_size)))


SNGAN_GENERATOR = (
    Layer(8, 4, kind="linear"),
    Layer(4, 4, 2, 1, "up"),
    Layer(2, 4, 2, 1, "up"),
    Layer(1, 4, 2, 1, "up"),
    Layer(0, 3, 1, 1),
)
SNGAN_MAPS = {"paper": (1, 1, 2, 2, 4, 4, 8), "code": (1, 2, 2, 4, 4, 8, 8)}
"""Table 3 of the paper, and the wider ones of its released code."""


def _sngan_discriminator(image_size: int, pattern: str) -> tuple[Layer, ...]:
    kernels = ((3, 1), (4, 2)) * 3 + ((3, 1),)
    rows = zip(SNGAN_MAPS[pattern], kernels, strict=True)
    return tuple(Layer(maps, kernel, stride, 1, norm=k > 0) for k, (maps, (kernel, stride)) in enumerate(rows))


# Every convolution of Poole's pair is valid (no padding).
POOLE_GENERATOR = (
    Layer(8, 4, 1, kind="up"),
    Layer(4, 4, 2, kind="up"),
    Layer(2, 4, 1, kind="up"),
    Layer(1, 4, 2, kind="up"),
    Layer(1, 5, 1, kind="up"),
    Layer(1, 1),
    Layer(0, 1),
)
POOLE_DISCRIMINATOR = (
    Layer(1, 5, 1, norm=False, dropout=0.2),
    Layer(2, 4, 2, norm=False, dropout=0.5),
    Layer(4, 4, 1, norm=False, dropout=0.5),
    Layer(8, 4, 2, norm=False, dropout=0.5),
    Layer(16, 4, 1, norm=False, dropout=0.5),
    Layer(32, 1, 1, norm=False, dropout=0.5),
    Layer(32, 1, 1, norm=False, dropout=0.5),
)

CONV_PAIRS = {
    "dcgan": ConvPair(_dcgan_generator, _dcgan_discriminator, 0.0, 0.2, (-1.0, 1.0), 0.02, 0.02),
    "sngan": ConvPair(
        lambda image_size: SNGAN_GENERATOR,
        _sngan_discriminator,
        0.0,
        0.1,
        (-1.0, 1.0),
        0.02,
        0.0,
    ),
    "poole": ConvPair(
        lambda image_size: POOLE_GENERATOR,
        lambda image_size, pattern: POOLE_DISCRIMINATOR,
        0.1,
        None,
        (0.0, 1.0),
        0.01,
        0.0,
        dropout_before_logit=0.5,
    ),
}


def conv_generator(pair: ConvPair, options: GeneratorOptions) -> Network:
    """Z (N, latent_dim) -> images (N, 3, size, size) in the pair's range.

    A layer has a bias where no batch norm follows (a linear one always: its bias differs by pixel).
    """
    layers: list[nn.Module] = options.joined()
    rows = pair.generator(options.image_size)
    before = options.inputs
    if rows[0].kind != "linear":
        layers.append(AsImages())
    for number, row in enumerate(rows[:-1]):
        after, bias = row.maps * options.width, options.norm == "none"
        if number == 0 and row.kind == "up":
            layers.append(PixelConvTranspose2d(before, after, row.kernel, bias=bias))
        else:
            layers += _convolution(row, before, after, bias=bias)
        if options.normed_classes:
            layers.append(ConditionalBatchNorm2d(after, options.normed_classes))
        elif options.norm != "none":
            layers.append(make_norm(options.norm, after, reference_size=options.reference_size))
        layers.append(nn.LeakyReLU(pair.generator_slope, inplace=True) if pair.generator_slope else nn.ReLU(True))
        if options.dropout:
            layers.append(nn.Dropout(options.dropout))
        before = after
    layers += [*_convolution(rows[-1], before, 3, bias=True), nn.Tanh() if pair.image_range[0] < 0 else nn.Sigmoid()]
    generator = Network(*layers, input_shape=(options.latent_dim,))
    init_normal_(generator, pair.std, pair.gain_std)
    return generator


def conv_features(
    pair: ConvPair,
    *,
    width: int,
    image_size: int,
    norm: str,
    dropout: float = 0.0,
    maxout_count: str = "after",
    pattern: str = "paper",
    reference_size: int = 0,
) -> tuple[Network, int, int]:
    """What a discriminator computes before its logit: images (N, 3, size, size) -> (N, channels, side, side).

    `maxout_count` says whether a maxout layer's feature maps are counted `after` the maximum or `before` it
    (ALI's released code), which halves them. `dropout` follows every activation, beside the table's own.

    Returns:
        The layers, channels and side.
    """
    layers: list[nn.Module] = []
    before, side, pieces = 3, image_size, 2
    for row in pair.discriminator(image_size, pattern):
        after = row.maps * width
        if row.dropout:
            layers.append(nn.Dropout(row.dropout))
        if pair.discriminator_slope is None:
            outputs = after * (pieces if maxout_count == "after" else 1)
            layers += [*_convolution(row, before, outputs, bias=True), Maxout(pieces)]
            after = outputs // pieces
        else:
            normed = row.norm and norm not in ("none", "spectral")
            layers += _convolution(row, before, after, bias=not normed)
            if normed:
                layers.append(make_norm(norm, after, reference_size=reference_size))
            layers.append(nn.LeakyReLU(pair.discriminator_slope, inplace=True))
        if dropout:
            layers.append(nn.Dropout(dropout))
        before, side = after, (side + 2 * row.padding - row.kernel) // row.stride + 1
    if pair.dropout_before_logit:
        layers.append(nn.Dropout(pair.dropout_before_logit))
    return Network(*layers, input_shape=(3, image_size, image_size)), before, side


def _convolution(row: Layer, before: int, after: int, *, bias: bool) -> list[nn.Module]:
    if row.kind == "linear":
        return [nn.Linear(before, after * row.kernel**2), AsImages(row.kernel)]
    make = nn.ConvTranspose2d if row.kind == "up" else nn.Conv2d
    return [make(before, after, row.kernel, row.stride, row.padding, bias=bias)]
