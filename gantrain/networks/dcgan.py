"""DCGAN (Radford, Metz & Chintala 2016) at 32 and 64 pixels."""

import math

from torch import nn

from gantrain.networks.layers import AsImages, add_spectral_norm, init_normal_


def _levels(image_size: int) -> int:
    """How often 4 doubles to the image size."""
    levels = int(math.log2(image_size // 4))
    assert 4 << levels == image_size, f"DCGAN is built for 4·2^n pixels, not {image_size}"
    return levels


def dcgan_generator(width: int, latent_dim: int, image_size: int) -> nn.Sequential:
    """Z (N, latent_dim) -> images (N, 3, size, size) in [-1, 1].

    At 32 pixels and width 128: 4×4×512, 8×8×256, 16×16×128, 32×32×3.
    """
    levels = _levels(image_size)
    maps = [width << level for level in reversed(range(levels))]
    layers: list[nn.Module] = [AsImages()]
    for k, (before, after) in enumerate(zip([latent_dim, *maps], maps, strict=False)):
        stride, padding = (1, 0) if k == 0 else (2, 1)
        layers += [
            nn.ConvTranspose2d(before, after, 4, stride, padding, bias=False),
            nn.BatchNorm2d(after),
            nn.ReLU(inplace=True),
        ]
    layers += [nn.ConvTranspose2d(width, 3, 4, 2, 1), nn.Tanh()]
    generator = nn.Sequential(*layers)
    init_normal_(generator, 0.02, gain_std=0.02)
    return generator


def dcgan_discriminator(width: int, image_size: int, norm: str) -> nn.Sequential:
    """Images (N, 3, size, size) -> logits (N,).

    At 32 pixels and width 128: 16×16×128, 8×8×256, 4×4×512, 1. `norm` is batch (not on the first layer),
    spectral (on every layer) or none; a convolution has a bias where no batch norm follows.
    """
    layers: list[nn.Module] = []
    before = 3
    for level in range(_levels(image_size)):
        after = width << level
        batch_norm = norm == "batch" and level > 0
        layers.append(nn.Conv2d(before, after, 4, 2, 1, bias=not batch_norm))
        if batch_norm:
            layers.append(nn.BatchNorm2d(after))
        layers.append(nn.LeakyReLU(0.2, inplace=True))
        before = after
    layers += [nn.Conv2d(before, 1, 4), nn.Flatten(0)]
    discriminator = nn.Sequential(*layers)
    init_normal_(discriminator, 0.02, gain_std=0.02)
    if norm == "spectral":
        add_spectral_norm(discriminator)
    return discriminator
