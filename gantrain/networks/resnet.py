"""The residual pair of SNGAN (Miyato et al. 2018, Table 4) for 4·2^n pixels; the paper's CIFAR-10 has 32."""

import torch.nn.functional as F
from torch import Tensor, nn

from gantrain.networks.conditional import (
    ConditionalBatchNorm2d,
    Network,
    ReadsLabels,
    label_embedding,
    make_discriminator,
)
from gantrain.networks.conv import doublings
from gantrain.networks.layers import AsImages, SumOverPixels, init_xavier_
from gantrain.networks.normalization import make_norm
from gantrain.networks.spec import ConvOptions, NetworkSpec, Target

DISCRIMINATOR_BLOCKS = (True, True, False, False)
"""Whether a block of the discriminator halves the image."""


class UpBlock(ReadsLabels):
    """Residual block that doubles the image: norm, ReLU, upsampling, 3×3, norm, ReLU, 3×3; shortcut upsampling, 1×1."""

    def __init__(self, channels: int, norm: str, classes: int, reference_size: int) -> None:
        """Uses class-conditional batch norm if `classes` is above 0, else the `norm` of that name."""
        super().__init__()
        self.norms = nn.ModuleList(
            ConditionalBatchNorm2d(channels, classes)
            if classes
            else make_norm(norm, channels, reference_size=reference_size)
            for _ in range(2)
        )
        self.residual = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in range(2))
        self.shortcut = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor, labels: Tensor | None) -> Tensor:
        """(N, C, H, W), labels (N,) -> (N, C, 2H, 2W)."""
        h: Tensor = F.interpolate(F.relu(self._normalize(0, x, labels)), scale_factor=2)
        h = self.residual[0](h)
        h = self.residual[1](F.relu(self._normalize(1, h, labels)))
        # A 1×1 convolution and nearest-neighbor upsampling commute; this order is the cheaper one.
        shortcut: Tensor = F.interpolate(self.shortcut(x), scale_factor=2)
        return shortcut + h

    def _normalize(self, which: int, x: Tensor, labels: Tensor | None) -> Tensor:
        norm = self.norms[which]
        normalized: Tensor = norm(x, labels) if isinstance(norm, ReadsLabels) else norm(x)
        return normalized


class DownBlock(nn.Module):
    """Residual block: ReLU, 3×3, ReLU, 3×3, optional halving; the first block of a network omits its first ReLU."""

    def __init__(self, before: int, after: int, *, halves: bool, first: bool) -> None:
        """The shortcut is the identity if neither channels nor size change, else a 1×1 convolution."""
        super().__init__()
        self.first, self.halves = first, halves
        self.residual = nn.ModuleList((nn.Conv2d(before, after, 3, padding=1), nn.Conv2d(after, after, 3, padding=1)))
        self.shortcut = nn.Conv2d(before, after, 1) if halves or before != after else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(N, before, H, W) -> (N, after, H/2, W/2), or (N, after, H, W)."""
        h = self.residual[0](x if self.first else F.relu(x))
        h = self.residual[1](F.relu(h))
        # Averaging and a 1×1 convolution commute: the smaller image is convolved.
        shortcut: Tensor = self.shortcut(self._halve(x))
        return shortcut + self._halve(h)

    def _halve(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 2) if self.halves else x


def resnet_generator(options: ConvOptions, target: Target) -> Network:
    """Maps z (N, latent_dim) to images (N, 3, size, size) in [-1, 1]; the paper's width is 256."""
    width, reference_size = options.width, options.virtual_reference
    layers, inputs = label_embedding(options.latent_dim, target)
    layers += [nn.Linear(inputs, 16 * width), AsImages(4)]
    for _ in range(doublings(target.image_size)):
        layers.append(UpBlock(width, options.g_norm, target.batch_norm_classes, reference_size))
        if options.g_dropout:
            layers.append(nn.Dropout(options.g_dropout))
    layers += [make_norm(options.g_norm, width, reference_size=reference_size), nn.ReLU(True)]
    layers += [nn.Conv2d(width, 3, 3, padding=1), nn.Tanh()]
    return Network(*layers, input_shape=(options.latent_dim,))


def resnet_features(options: ConvOptions, target: Target) -> tuple[Network, int, int]:
    """The discriminator's layers before the logit, from images (N, 3, size, size) to (N, width, 1, 1).

    Returns:
        The layers, the number of channels and 1.
    """
    layers: list[nn.Module] = []
    before, after = 3, options.discriminator_width
    for halves in DISCRIMINATOR_BLOCKS:
        layers.append(DownBlock(before, after, halves=halves, first=not layers))
        if options.d_dropout:
            layers.append(nn.Dropout(options.d_dropout))
        before = after
    layers += [nn.ReLU(True), SumOverPixels()]
    return Network(*layers, input_shape=(3, target.image_size, target.image_size)), after, 1


def build_resnet(options: ConvOptions, target: Target) -> tuple[nn.Module, nn.Module]:
    """The pair with Glorot's uniform weights."""
    generator = resnet_generator(options, target)
    init_xavier_(generator)
    discriminator = make_discriminator(*resnet_features(options, target), target)
    init_xavier_(discriminator)
    return generator, discriminator


RESNET = NetworkSpec(
    name="resnet", title="SNGAN's", build=build_resnet, image_sizes=(32, 64), d_norms=("spectral", "none")
)
