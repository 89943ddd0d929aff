"""Convolutions computed as one matrix product, against PyTorch's convolutions in float64."""

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
    given = [x for x in inputs if x is not None]
    return [images, *torch.autograd.grad((images * weights).sum(), given)]


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("of_weight", FORMATS)
@pytest.mark.parametrize("of_images", FORMATS)
@pytest.mark.parametrize("size", [1, 4])
def test_a_kernel_as_large_as_its_input(
    bias: bool, of_weight: torch.memory_format, of_images: torch.memory_format, size: int
) -> None:
    layer = FullConv2d(6, 5, size, bias=bias).double().to(memory_format=of_weight)
    x = torch.randn(3, 6, size, size, dtype=torch.float64).to(memory_format=of_images).requires_grad_()
    found, wanted = layer(x), F.conv2d(x, layer.weight, layer.bias)
    assert found.shape == (3, 5, 1, 1)
    for ours, theirs in zip(
        with_gradients(found, x, layer.weight, layer.bias),
        with_gradients(wanted, x, layer.weight, layer.bias),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=1e-12)
    assert with_gradients(layer(x), x)[1].is_contiguous(memory_format=of_images)


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("of_weight", FORMATS)
def test_a_single_pixel_becomes_an_image(bias: bool, of_weight: torch.memory_format) -> None:
    layer = PixelConvTranspose2d(6, 5, 4, bias=bias).double().to(memory_format=of_weight)
    x = torch.randn(3, 6, 1, 1, dtype=torch.float64).requires_grad_()
    found, wanted = layer(x), F.conv_transpose2d(x, layer.weight, layer.bias)
    assert found.shape == (3, 5, 4, 4)
    assert found.is_contiguous(memory_format=of_weight)
    for ours, theirs in zip(
        with_gradients(found, x, layer.weight, layer.bias),
        with_gradients(wanted, x, layer.weight, layer.bias),
        strict=True,
    ):
        torch.testing.assert_close(ours, theirs, atol=1e-12, rtol=1e-12)


def test_pairs_use_matrix_products() -> None:
    def count(network: torch.nn.Module, kind: type) -> int:
        return sum(isinstance(layer, kind) for layer in network.modules())

    for name, pixels in (("dcgan", 1), ("sngan", 0), ("poole", 1), ("resnet", 0)):
        pair = make_networks(
            name, width=2, latent_dim=3, prior="normal", d_norm="spectral", image_size=32, labels="acgan", classes=2
        )
        assert count(pair.generator, PixelConvTranspose2d) == pixels
        assert count(pair.discriminator, FullConv2d) == 2  # logit and class scores
