"""Layer shapes and parameter counts, from the papers' tables."""

from typing import Any

import pytest
import torch
from torch import nn

from gantrain.networks import NetworkPair, count_parameters, make_networks, sample_latent
from gantrain.networks.layers import Maxout


def make(name: str, width: int, *, latent_dim: int = 100, d_norm: str = "batch", **options: Any) -> NetworkPair:
    options = {"prior": "normal", "image_size": 32} | options
    return make_networks(name, width=width, latent_dim=latent_dim, d_norm=d_norm, **options)


def shapes(network: nn.Module, example: torch.Tensor, kinds: tuple[type[nn.Module], ...]) -> list[tuple[int, ...]]:
    """Output shapes of the layers of those kinds, without the batch."""
    found: list[tuple[int, ...]] = []
    hooks = [
        layer.register_forward_hook(lambda _, __, out: found.append(tuple(out.shape[1:])))
        for layer in network.modules()
        if isinstance(layer, kinds)
    ]
    network(example)
    for hook in hooks:
        hook.remove()
    return found


CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)


def test_dcgan_at_32_pixels() -> None:
    generator = make("dcgan", 128).generator
    assert shapes(generator, torch.randn(2, 100), CONVOLUTIONS) == [
        (512, 4, 4),
        (256, 8, 8),
        (128, 16, 16),
        (3, 32, 32),
    ]
    weights = 16 * (100 * 512 + 512 * 256 + 256 * 128 + 128 * 3)
    assert count_parameters(generator) == weights + 2 * (512 + 256 + 128) + 3
    discriminator = make("dcgan", 128).discriminator
    assert shapes(discriminator, torch.randn(2, 3, 32, 32), CONVOLUTIONS) == [
        (128, 16, 16),
        (256, 8, 8),
        (512, 4, 4),
        (1, 1, 1),
    ]
    weights = 16 * (3 * 128 + 128 * 256 + 256 * 512 + 512)
    assert count_parameters(discriminator) == weights + 128 + 1 + 2 * (256 + 512)
    assert sum(isinstance(layer, nn.BatchNorm2d) for layer in discriminator.modules()) == 2


def test_dcgan_at_64_pixels_has_one_level_more() -> None:
    assert shapes(make("dcgan", 64, image_size=64).generator, torch.randn(2, 100), CONVOLUTIONS) == [
        (512, 4, 4),
        (256, 8, 8),
        (128, 16, 16),
        (64, 32, 32),
        (3, 64, 64),
    ]
    discriminator = make("dcgan", 64, image_size=64, d_norm="none").discriminator
    assert shapes(discriminator, torch.randn(2, 3, 64, 64), CONVOLUTIONS)[-2:] == [(512, 4, 4), (1, 1, 1)]
    assert not any(isinstance(layer, nn.BatchNorm2d) for layer in discriminator.modules())


@torch.no_grad()
def test_dcgan_starts_from_the_papers_distribution() -> None:
    torch.manual_seed(0)
    generator = make("dcgan", 128).generator
    layer, norm = list(generator.modules())[5:7]
    assert isinstance(layer, nn.ConvTranspose2d)
    assert isinstance(norm, nn.BatchNorm2d)
    assert float(layer.weight.std()) == pytest.approx(0.02, rel=0.01)
    assert float(layer.weight.mean()) == pytest.approx(0.0, abs=1e-4)
    assert float(norm.weight.mean()) == pytest.approx(1.0, abs=0.01)
    assert float(norm.weight.std()) == pytest.approx(0.02, rel=0.2)
    assert float(norm.bias.abs().max()) == 0.0


def test_spectral_norm_brings_every_layer_to_unit_norm() -> None:
    torch.manual_seed(0)
    discriminator = make("dcgan", 16, d_norm="spectral").discriminator
    for _ in range(100):
        discriminator(torch.randn(2, 3, 32, 32))
    layers = [layer for layer in discriminator.modules() if isinstance(layer, nn.Conv2d)]
    assert len(layers) == 4
    for layer in layers:
        largest = torch.linalg.matrix_norm(layer.weight.detach().flatten(1), ord=2)
        assert float(largest) == pytest.approx(1.0, rel=1e-3)


def test_poole_generator() -> None:
    generator = make("poole", 32, latent_dim=64, d_norm="none").generator
    assert shapes(generator, torch.randn(2, 64), CONVOLUTIONS) == [
        (256, 4, 4),
        (128, 10, 10),
        (64, 13, 13),
        (32, 28, 28),
        (32, 32, 32),
        (32, 32, 32),
        (3, 32, 32),
    ]
    assert count_parameters(generator) == 978_083
    biased = [layer.bias is not None for layer in generator.modules() if isinstance(layer, CONVOLUTIONS)]
    assert biased == [False] * 6 + [True]


def test_poole_discriminator() -> None:
    discriminator = make("poole", 32, d_norm="none").discriminator
    images = torch.rand(2, 3, 32, 32)
    maps = [(32, 28, 28), (64, 13, 13), (128, 10, 10), (256, 4, 4), (512, 1, 1), (1024, 1, 1), (1024, 1, 1)]
    assert shapes(discriminator, images, (Maxout,)) == maps
    assert discriminator(images).shape == (2,)
    assert count_parameters(discriminator) == 8_728_193
    rates = [layer.p for layer in discriminator.modules() if isinstance(layer, nn.Dropout)]
    assert rates == [0.2] + [0.5] * 7


def test_poole_discriminator_counted_before_the_maximum() -> None:
    discriminator = make("poole", 32, d_norm="none", maxout_count="before").discriminator
    maps = shapes(discriminator, torch.rand(2, 3, 32, 32), (Maxout,))
    assert [m[0] for m in maps] == [16, 32, 64, 128, 256, 512, 512]
    first_five = [layer for layer in discriminator.modules() if isinstance(layer, nn.Conv2d)][:5]
    assert sum(count_parameters(layer) for layer in first_five) == pytest.approx(1.40e6, rel=0.005)
    after = [
        layer for layer in make("poole", 32, d_norm="none").discriminator.modules() if isinstance(layer, nn.Conv2d)
    ]
    assert sum(count_parameters(layer) for layer in after[:5]) == pytest.approx(5.58e6, rel=0.005)


def test_maxout_takes_the_larger_of_neighbours() -> None:
    x = torch.tensor([1.0, 5.0, -2.0, -3.0]).view(1, 4, 1, 1)
    assert Maxout()(x).flatten().tolist() == [5.0, -2.0]


@pytest.mark.parametrize(("name", "low", "high"), [("dcgan", -1.0, 1.0), ("sngan", -1.0, 1.0), ("poole", 0.0, 1.0)])
@torch.no_grad()
def test_images_stay_in_the_declared_range(name: str, low: float, high: float) -> None:
    pair = make(name, 4, latent_dim=8, d_norm="none")
    assert pair.image_range == (low, high)
    nn.init.constant_(list(pair.generator.parameters())[-1], 40.0)
    images = pair.generator(torch.randn(4, 8))
    assert images.shape == (4, 3, 32, 32)
    assert float(images.max()) == pytest.approx(high)
    nn.init.constant_(list(pair.generator.parameters())[-1], -40.0)
    assert float(pair.generator(torch.randn(4, 8)).min()) == pytest.approx(low)


def test_priors() -> None:
    def draw(prior: str) -> torch.Tensor:
        return sample_latent(prior, (4000, 16), torch.Generator().manual_seed(0))

    normal, uniform, sphere = draw("normal"), draw("uniform"), draw("sphere")
    assert float(normal.var()) == pytest.approx(1.0, abs=0.02)
    assert float(uniform.var()) == pytest.approx(1 / 3, abs=0.01)
    assert float(uniform.abs().max()) <= 1.0
    torch.testing.assert_close(sphere.norm(dim=1), torch.full((4000,), 4.0))
    assert float(sphere.mean()) == pytest.approx(0.0, abs=0.02)
    assert torch.equal(draw("normal"), normal)
