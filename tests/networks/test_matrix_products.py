"""Convolutions computed as one matrix product equal PyTorch's convolutions in float64."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gantrain.networks import make_networks
from gantrain.networks.layers import FullConv2d, PixelConvTranspose2d

FORMATS = [torch.contiguous_format, torch.channels_last]


def with_gradients(images: Tensor, *inputs: Tensor | None) -> list[Tensor]:
    """Images, and the gradients of a sum with random weights."""
    weights = torch.randn(images.shape, dtype=images.dtype, generator=torch.Generator().manual_seed(1))
    return [images, *torch.autograd.grad((images * weights).sum(), [x for x in inputs if x is not None])]


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("weight_format", FORMATS)
@pytest.mark.parametrize("input_format", FORMATS)
@pytest.mark.parametrize("kind", [FullConv2d, PixelConvTranspose2d])
def test_values_gradients_and_formats_are_those_of_a_convolution(
    kind: type[FullConv2d | PixelConvTranspose2d],
    input_format: torch.memory_format,
    weight_format: torch.memory_format,
    bias: bool,
) -> None:
    full = kind is FullConv2d
    layer = kind(6, 5, 4, bias=bias).double().to(memory_format=weight_format)
    size = 4 if full else 1
    x = torch.randn(3, 6, size, size, dtype=torch.float64).to(memory_format=input_format).requires_grad_()
    found = layer(x)
    wanted = (F.conv2d if full else F.conv_transpose2d)(x, layer.weight, layer.bias)
    ours = with_gradients(found, x, layer.weight, layer.bias)
    torch.testing.assert_close(ours, with_gradients(wanted, x, layer.weight, layer.bias), atol=1e-12, rtol=1e-12)
    if full:
        assert ours[1].is_contiguous(memory_format=input_format)
    else:
        assert found.is_contiguous(memory_format=weight_format)


@pytest.mark.parametrize(("name", "pixels"), [("dcgan", 1), ("sngan", 0), ("poole", 1), ("resnet", 0)])
def test_pairs_use_matrix_products(name: str, pixels: int) -> None:
    pair = make_networks(name, width=2, latent_dim=3, labels="acgan", classes=2)
    assert sum(isinstance(layer, PixelConvTranspose2d) for layer in pair.generator.modules()) == pixels
    found = [layer for layer in pair.discriminator.modules() if isinstance(layer, FullConv2d)]
    assert len(found) == 2  # the logit and the class scores
