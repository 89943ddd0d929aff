"""The residual pair of SNGAN (Miyato et al. 2018, Table 4) at 4·2^n pixels; 32 in the paper's CIFAR-10."""

import torch.nn.functional as F
from torch import Tensor, nn

from gantrain.networks.conditional import ConditionalBatchNorm2d, GeneratorOptions, Network, ReadsLabels
from gantrain.networks.conv import levels
from gantrain.networks.layers import AsImages, SumOverPixels, init_xavier_
from gantrain.networks.normalization import make_norm

# Blocks of the discriminator: (feature maps in multiples of the width, halves the image).
DISCRIMINATOR = ((1, True), (1, True), (1, False), (1, False))


class UpBlock(ReadsLabels):
    """Norm, ReLU, twice the size, 3×3, norm, ReLU, 3×3; beside it twice the size and 1×1."""

    def __init__(self, channels: int, norm: str, classes: int, reference_size: int) -> None:
        """Class-conditional batch norm where there are `classes`, else the `norm` of that name."""
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
        beside: Tensor = F.interpolate(self.shortcut(x), scale_factor=2)
        return beside + h

    def _normalize(self, which: int, x: Tensor, labels: Tensor | None) -> Tensor:
        norm = self.norms[which]
        found: Tensor = norm(x, labels) if isinstance(norm, ReadsLabels) else norm(x)
        return found


class DownBlock(nn.Module):
    """ReLU, 3×3, ReLU, 3×3, half the size; beside it 1×1 and half the size. The first block has no ReLU before."""

    def __init__(self, before: int, after: int, *, halves: bool, first: bool) -> None:
        """The shortcut is the identity where neither maps nor size change."""
        super().__init__()
        self.first, self.halves = first, halves
        self.residual = nn.ModuleList((nn.Conv2d(before, after, 3, padding=1), nn.Conv2d(after, after, 3, padding=1)))
        self.shortcut = nn.Conv2d(before, after, 1) if halves or before != after else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(N, before, H, W) -> (N, after, H/2, W/2), or (N, after, H, W)."""
        h = self.residual[0](x if self.first else F.relu(x))
        h = self.residual[1](F.relu(h))
        # Averaging and a 1×1 convolution commute: the smaller image is convolved.
        beside: Tensor = self.shortcut(self._halve(x))
        return beside + self._halve(h)

    def _halve(self, x: Tensor) -> Tensor:
        return F.avg_pool2d(x, 2) if self.halves else x


def resnet_generator(options: GeneratorOptions) -> Network:
    """Z (N, latent_dim) -> images (N, 3, size, size) in [-1, 1]; the paper's width is 256.

    Dropout follows each block.
    """
    width, size = options.width, options.reference_size
    layers = [*options.joined(), nn.Linear(options.inputs, 16 * width), AsImages(4)]
    for _ in range(levels(options.image_size)):
        layers.append(UpBlock(width, options.norm, options.normed_classes, size))
        if options.dropout:
            layers.append(nn.Dropout(options.dropout))
    layers += [make_norm(options.norm, width, reference_size=size), nn.ReLU(True)]
    layers += [nn.Conv2d(width, 3, 3, padding=1), nn.Tanh()]
    generator = Network(*layers, input_shape=(options.latent_dim,))
    init_xavier_(generator)
    return generator


def resnet_features(width: int, image_size: int, dropout: float = 0.0) -> tuple[Network, int, int]:
    """What the discriminator computes before its logit: (N, 3, size, size) -> (N, width, 1, 1), channels and side.

    Dropout follows each block.
    """
    layers: list[nn.Module] = []
    before = 3
    for k, (multiple, halves) in enumerate(DISCRIMINATOR):
        layers.append(DownBlock(before, multiple * width, halves=halves, first=k == 0))
        if dropout:
            layers.append(nn.Dropout(dropout))
        before = multiple * width
    layers += [nn.ReLU(True), SumOverPixels()]
    return Network(*layers, input_shape=(3, image_size, image_size)), before, 1
