"""The maxout pair of Poole et al. 2016, Appendix B (layers of ALI, Dumoulin et al. 2016), at 32 pixels."""

from torch import nn

from gantrain.networks.layers import AsImages, Maxout, add_spectral_norm, init_normal_

SLOPE = 0.1

# (kernel, stride, feature maps in multiples of the width); every convolution is valid (no padding).
GENERATOR = ((4, 1, 8), (4, 2, 4), (4, 1, 2), (4, 2, 1), (5, 1, 1))
# (kernel, stride, feature maps after the maximum, dropout before the layer)
DISCRIMINATOR = (
    (5, 1, 1, 0.2),
    (4, 2, 2, 0.5),
    (4, 1, 4, 0.5),
    (4, 2, 8, 0.5),
    (4, 1, 16, 0.5),
    (1, 1, 32, 0.5),
    (1, 1, 32, 0.5),
)


def poole_generator(width: int, latent_dim: int) -> nn.Sequential:
    """Z (N, latent_dim) -> images (N, 3, 32, 32) in [0, 1]; 978,083 parameters at width 32 and z 64."""
    layers: list[nn.Module] = [AsImages()]
    before = latent_dim
    for kernel, stride, multiple in GENERATOR:
        after = multiple * width
        layers += [
            nn.ConvTranspose2d(before, after, kernel, stride, bias=False),
            nn.BatchNorm2d(after),
            nn.LeakyReLU(SLOPE, inplace=True),
        ]
        before = after
    layers += [nn.Conv2d(before, width, 1, bias=False), nn.BatchNorm2d(width), nn.LeakyReLU(SLOPE, inplace=True)]
    layers += [nn.Conv2d(width, 3, 1), nn.Sigmoid()]
    generator = nn.Sequential(*layers)
    init_normal_(generator, 0.01)
    return generator


def poole_discriminator(width: int, maxout_count: str, norm: str) -> nn.Sequential:
    """Images (N, 3, 32, 32) in [0, 1] -> logits (N,); 8,728,193 parameters at width 32.

    `maxout_count` says whether the paper's feature maps are counted `after` the maximum or `before` it
    (ALI's released code), which halves them. `norm` is none (the paper) or spectral.
    """
    pieces = 2
    layers: list[nn.Module] = []
    before = 3
    for kernel, stride, multiple, dropout in DISCRIMINATOR:
        outputs = multiple * width * (pieces if maxout_count == "after" else 1)
        layers += [nn.Dropout(dropout), nn.Conv2d(before, outputs, kernel, stride), Maxout(pieces)]
        before = outputs // pieces
    layers += [nn.Dropout(0.5), nn.Conv2d(before, 1, 1), nn.Flatten(0)]
    discriminator = nn.Sequential(*layers)
    init_normal_(discriminator, 0.01)
    if norm == "spectral":
        add_spectral_norm(discriminator)
    return discriminator
