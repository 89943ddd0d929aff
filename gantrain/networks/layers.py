"""Layers shared by the network pairs, weight initialization and memory format."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gantrain.networks.normalization import VirtualBatchNorm2d

CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)
PRIORS = ("normal", "uniform", "sphere")


class Maxout(nn.Module):
    """The maximum over `pieces` neighboring channels (Goodfellow et al. 2013)."""

    def __init__(self, pieces: int = 2) -> None:
        """`pieces` is the number of channels for each maximum."""
        super().__init__()
        self.pieces = pieces

    def forward(self, x: Tensor) -> Tensor:
        """(N, pieces·C, H, W) -> (N, C, H, W), in the memory format of x."""
        if _is_channels_last(x):
            # A maximum over an inner dimension would return a contiguous tensor, and so would its gradient.
            last: Tensor = x.movedim(1, -1).unflatten(-1, (-1, self.pieces))
            return last.amax(dim=-1).movedim(-1, 1)
        pieces: Tensor = x.unflatten(1, (-1, self.pieces))
        return pieces.amax(dim=2)


class AsImages(nn.Module):
    """Views vectors (N, C·size²) as (N, C, size, size).

    Attributes:
        memory_format: of the output: contiguous_format (a view) or channels_last (a copy).
    """

    def __init__(self, size: int = 1) -> None:
        """`size` is the height and width."""
        super().__init__()
        self.size = size
        self.memory_format = torch.contiguous_format

    def forward(self, x: Tensor) -> Tensor:
        """(N, C·size²) -> (N, C, size, size)."""
        images: Tensor = x.unflatten(1, (-1, self.size, self.size))
        return images.contiguous(memory_format=self.memory_format)


class FullConv2d(nn.Conv2d):
    """`nn.Conv2d` with a kernel as large as its input, computed as one matrix product, which is faster.

    Same parameters and names as `nn.Conv2d`, same values up to rounding.
    """

    def __init__(self, channels: int, outputs: int, size: int, *, bias: bool = True) -> None:
        """`size` is the height and width of kernel and input."""
        super().__init__(channels, outputs, size, bias=bias)

    def forward(self, x: Tensor) -> Tensor:
        """(N, channels, size, size) -> (N, outputs, 1, 1)."""
        weight = self.weight  # read only once: with spectral norm each access may run a power iteration
        if _is_channels_last(x):  # no copies if both have this format
            x, weight = x.movedim(1, -1), weight.movedim(1, -1)
        return F.linear(x.flatten(1), weight.flatten(1), self.bias)[:, :, None, None]


class PixelConvTranspose2d(nn.ConvTranspose2d):
    """`nn.ConvTranspose2d` of a single pixel, computed as one matrix product, which is faster.

    Same parameters and names as `nn.ConvTranspose2d`, same values up to rounding.
    """

    def __init__(self, channels: int, outputs: int, size: int, *, bias: bool = True) -> None:
        """`size` is the height and width of kernel and output."""
        super().__init__(channels, outputs, size, bias=bias)

    def forward(self, x: Tensor) -> Tensor:  # type: ignore[override]
        """(N, channels, 1, 1) -> (N, outputs, size, size), in the memory format of the weights."""
        weight, (height, width) = self.weight, self.kernel_size
        images: Tensor
        if _is_channels_last(weight):
            images = (x.flatten(1) @ weight.movedim(1, -1).flatten(1)).unflatten(1, (height, width, -1)).movedim(-1, 1)
        else:
            images = (x.flatten(1) @ weight.flatten(1)).unflatten(1, (-1, height, width))
        return images if self.bias is None else images + self.bias[:, None, None]


class SumOverPixels(nn.Module):
    """Global sum pooling."""

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, C, 1, 1)."""
        return x.sum(dim=(2, 3), keepdim=True)


def _is_channels_last(x: Tensor) -> bool:
    """Whether (N, C, H, W) is contiguous as NHWC but not as NCHW."""
    return x.is_contiguous(memory_format=torch.channels_last) and not x.is_contiguous()


def init_normal_(module: nn.Module, std: float, gain_std: float = 0.0) -> None:
    """Draws weights from N(0, std²) and gains of norms from N(1, gain_std²), by the global RNG; sets biases to 0."""
    for layer in module.modules():
        if isinstance(layer, (*CONVOLUTIONS, nn.Linear)):
            nn.init.normal_(layer.weight, 0.0, std)
        elif isinstance(layer, nn.BatchNorm2d | nn.GroupNorm | VirtualBatchNorm2d) and layer.weight is not None:
            nn.init.normal_(layer.weight, 1.0, gain_std)
        else:
            continue
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def init_xavier_(module: nn.Module) -> None:
    """Draws Glorot's uniform weights by the global RNG, with gain √2 in modules named `residual`; sets biases to 0."""
    for name, layer in module.named_modules():
        if isinstance(layer, (*CONVOLUTIONS, nn.Linear)):
            nn.init.xavier_uniform_(layer.weight, math.sqrt(2) if "residual" in name else 1.0)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)


def to_channels_last(network: nn.Module) -> None:
    """Converts a network to memory format channels_last (NHWC); shapes do not change.

    Activations also have that format if the input images have it.
    """
    network.to(memory_format=torch.channels_last)
    for layer in network.modules():
        if isinstance(layer, AsImages):
            layer.memory_format = torch.channels_last


def count_parameters(module: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def sample_latent(prior: str, shape: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Draws z on the generator's device.

    Args:
        prior: `normal` N(0, I), `uniform` on [-1, 1], or `sphere`, uniform on the sphere of radius √dim.
        shape: (N, dim).
        generator: source of randomness.
    """
    if prior == "uniform":
        return torch.rand(shape, generator=generator, device=generator.device) * 2 - 1
    z = torch.randn(shape, generator=generator, device=generator.device)
    if prior == "sphere":
        z = z * (shape[1] ** 0.5 / z.norm(dim=1, keepdim=True))
    return z
