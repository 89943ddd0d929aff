"""Layers shared by the network pairs."""

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm


class Maxout(nn.Module):
    """The maximum over `pieces` neighbouring channels (Goodfellow et al. 2013)."""

    def __init__(self, pieces: int = 2) -> None:
        """Takes (N, pieces·C, H, W) to (N, C, H, W)."""
        super().__init__()
        self.pieces = pieces

    def forward(self, x: Tensor) -> Tensor:
        """(N, pieces·C, H, W) -> (N, C, H, W)."""
        pieces: Tensor = x.unflatten(1, (-1, self.pieces))
        return pieces.amax(dim=2)


def init_normal_(module: nn.Module, std: float, gain_std: float = 0.0) -> None:
    """Weights N(0, std²), biases 0, batch-norm gains N(1, gain_std²); draws from the global RNG."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
            nn.init.normal_(layer.weight, 0.0, std)
        elif isinstance(layer, nn.BatchNorm2d):
            nn.init.normal_(layer.weight, 1.0, gain_std)
        else:
            continue
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)


def add_spectral_norm(module: nn.Module) -> None:
    """Divides every convolution's and linear layer's weight by its largest singular value (Miyato et al. 2018)."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            spectral_norm(layer)


class AsImages(nn.Module):
    """Views latents (N, dim) as (N, dim, 1, 1)."""

    def forward(self, z: Tensor) -> Tensor:
        """(N, dim) -> (N, dim, 1, 1)."""
        return z[:, :, None, None]


def count_parameters(module: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


def sample_latent(prior: str, shape: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Draws z on the generator's device.

    Args:
        prior: `normal` N(0, I), `uniform` on [-1, 1], or `sphere`, uniform on the sphere of radius √dim.
        shape: (N, dim).
        generator: the source of randomness, advanced by the draw.
    """
    if prior == "uniform":
        return torch.rand(shape, generator=generator, device=generator.device) * 2 - 1
    z = torch.randn(shape, generator=generator, device=generator.device)
    if prior == "sphere":
        z = z * (shape[1] ** 0.5 / z.norm(dim=1, keepdim=True))
    return z
