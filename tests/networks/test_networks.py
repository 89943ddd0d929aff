"""Layer shapes and parameter counts, from the papers' tables."""

from typing import Any

import pytest
import torch
from torch import nn

from gantrain.networks import NetworkPair, count_parameters, make_networks, sample_latent
from gantrain.networks.conditional import ConditionalBatchNorm2d
from gantrain.networks.layers import Maxout
from gantrain.networks.resnet import DownBlock, UpBlock


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


def test_dcgan_at_64_pixels_has_one_more_level() -> None:
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
def test_dcgan_has_the_initial_weights_of_the_paper() -> None:
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


def test_poole_discriminator_with_channels_counted_before_the_maximum() -> None:
    discriminator = make("poole", 32, d_norm="none", maxout_count="before").discriminator
    maps = shapes(discriminator, torch.rand(2, 3, 32, 32), (Maxout,))
    assert [m[0] for m in maps] == [16, 32, 64, 128, 256, 512, 512]
    first_five = [layer for layer in discriminator.modules() if isinstance(layer, nn.Conv2d)][:5]
    assert sum(count_parameters(layer) for layer in first_five) == pytest.approx(1.40e6, rel=0.005)
    after = [
        layer for layer in make("poole", 32, d_norm="none").discriminator.modules() if isinstance(layer, nn.Conv2d)
    ]
    assert sum(count_parameters(layer) for layer in after[:5]) == pytest.approx(5.58e6, rel=0.005)


def test_maxout_takes_the_larger_of_neighbors() -> None:
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


def test_sngan_standard_cnn() -> None:
    generator = make("sngan", 64, latent_dim=128).generator
    assert shapes(generator, torch.randn(2, 128), CONVOLUTIONS) == [
        (256, 8, 8),
        (128, 16, 16),
        (64, 32, 32),
        (3, 32, 32),
    ]
    linear = 128 * 8192 + 8192
    ups = 16 * (512 * 256 + 256 * 128 + 128 * 64)
    assert count_parameters(generator) == linear + ups + 2 * (512 + 256 + 128 + 64) + 64 * 3 * 9 + 3 == 3_812_931


@pytest.mark.parametrize(
    ("pattern", "maps", "count"),
    [("paper", (64, 64, 128, 128, 256, 256, 512), 2_935_873), ("code", (64, 128, 128, 256, 256, 512, 512), 5_860_865)],
)
def test_sngan_discriminator_in_both_widths(pattern: str, maps: tuple[int, ...], count: int) -> None:
    discriminator = make("sngan", 64, d_norm="none", d_pattern=pattern).discriminator
    sides = (32, 16, 16, 8, 8, 4, 4)
    wanted = [(m, side, side) for m, side in zip(maps, sides, strict=True)]
    images = torch.randn(2, 3, 32, 32)
    assert shapes(discriminator, images, CONVOLUTIONS) == [*wanted, (1, 1, 1)]
    assert discriminator(images).shape == (2,)
    assert count_parameters(discriminator) == count
    slopes = {layer.negative_slope for layer in discriminator.modules() if isinstance(layer, nn.LeakyReLU)}
    assert slopes == {0.1}


def test_resnet_pair() -> None:
    pair = make("resnet", 256, latent_dim=128, d_norm="none", d_width=128)
    block = 2 * (256 * 256 * 9 + 256) + 256 * 256 + 256 + 4 * 256
    assert count_parameters(pair.generator) == 129 * 4096 + 3 * block + 2 * 256 + 256 * 27 + 3 == 4_276_739
    first = (27 + 1) * 128 + (128 * 9 + 1) * 128 + 4 * 128
    plain = 2 * (128 * 9 + 1) * 128
    assert count_parameters(pair.discriminator) == first + (plain + 129 * 128) + 2 * plain + 129 == 1_053_825
    small = make("resnet", 8, latent_dim=16, d_norm="none")
    images = small.generator(torch.randn(2, 16))
    assert images.shape == (2, 3, 32, 32)
    assert images.abs().max().item() <= 1
    assert small.discriminator(images).shape == (2,)
    assert shapes(small.discriminator, images, (DownBlock,)) == [(8, 16, 16), (8, 8, 8), (8, 8, 8), (8, 8, 8)]


@torch.no_grad()
def test_resnet_blocks_match_the_order_of_the_paper() -> None:
    """The branches in the order of the paper, where upsampling and averaging have not been moved."""
    torch.manual_seed(0)
    up, down = UpBlock(4, "none", 0, 0), DownBlock(3, 4, halves=True, first=False)
    x = torch.randn(2, 4, 8, 8)
    twice = nn.Upsample(scale_factor=2)
    branch = up.residual[1](up.residual[0](twice(x.relu())).relu())
    torch.testing.assert_close(up(x, None), branch + up.shortcut(twice(x)), atol=1e-5, rtol=1e-5)
    x = torch.randn(2, 3, 8, 8)
    half = nn.AvgPool2d(2)
    branch = down.residual[1](down.residual[0](x.relu()).relu())
    torch.testing.assert_close(down(x), half(branch) + half(down.shortcut(x)), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_resnet_has_glorots_initial_weights() -> None:
    torch.manual_seed(0)
    generator = make("resnet", 64, d_norm="none").generator
    block = next(layer for layer in generator.modules() if isinstance(layer, UpBlock))
    fan = 64 * 9 + 64 * 9
    assert float(block.residual[0].weight.std()) == pytest.approx((2 * 2 / fan) ** 0.5, rel=0.02)  # gain √2
    assert float(block.shortcut.weight.std()) == pytest.approx((2 / 128) ** 0.5, rel=0.03)


@pytest.mark.parametrize("name", ["dcgan", "sngan"])
@pytest.mark.parametrize(("norm", "kind"), [("layer", nn.GroupNorm), ("instance", nn.GroupNorm), ("none", nn.Identity)])
def test_norms_follow_all_layers_but_the_first_of_d(name: str, norm: str, kind: type[nn.Module]) -> None:
    pair = make(name, 4, latent_dim=8, d_norm=norm, g_norm=norm)
    normed = {"dcgan": (2, 3), "sngan": (6, 4)}[name]
    for network, count in zip((pair.discriminator, pair.generator), normed, strict=True):
        found = [layer for layer in network.modules() if isinstance(layer, nn.GroupNorm | nn.BatchNorm2d)]
        if norm == "none":
            assert not found
        else:
            assert all(isinstance(layer, kind) for layer in found)
            assert len(found) == count
            groups = {(layer.num_groups, layer.num_channels) for layer in found if isinstance(layer, nn.GroupNorm)}
            assert all(g == (1 if norm == "layer" else c) for g, c in groups)


@pytest.mark.parametrize("side", ["generator", "discriminator"])
def test_virtual_batch_norm_depends_on_the_reference_and_no_other_example(side: str) -> None:
    torch.manual_seed(0)
    pair = make("dcgan", 4, latent_dim=8, d_norm="virtual", g_norm="virtual", virtual_reference=3)
    network = getattr(pair, side)
    inner = network if side == "generator" else network.features
    x, reference = (
        (torch.randn(5, 8), torch.randn(3, 8))
        if side == "generator"
        else (torch.randn(5, 3, 32, 32), torch.randn(3, 3, 32, 32))
    )
    inner.set_reference(reference, None)
    together = network(x)
    assert len(together) == 5
    torch.testing.assert_close(network(x[1:2])[0], together[1], atol=1e-5, rtol=1e-4)
    changed = x.clone()
    changed[0] += 10
    torch.testing.assert_close(network(changed)[1:], together[1:], atol=1e-5, rtol=1e-4)
    inner.set_reference(reference * 2 + 1, None)
    assert (network(x) - together).abs().max().item() > 1e-3
    assert any(name.endswith("reference") for name in network.state_dict())  # it is saved with the weights


def test_dropout_is_off_in_eval_mode() -> None:
    pair = make("dcgan", 8, latent_dim=8, d_norm="none", g_dropout=0.5, d_dropout=0.25)
    for network, rate, layers in ((pair.generator, 0.5, 3), (pair.discriminator, 0.25, 3)):
        rates = [layer.p for layer in network.modules() if isinstance(layer, nn.Dropout)]
        assert rates == [rate] * layers
    images = torch.randn(4, 3, 32, 32)
    assert not torch.equal(pair.discriminator(images), pair.discriminator(images))
    pair.discriminator.eval()
    assert torch.equal(pair.discriminator(images), pair.discriminator(images))
    assert not any(isinstance(layer, nn.Dropout) for layer in make("dcgan", 8).generator.modules())


@pytest.mark.parametrize("name", ["dcgan", "sngan", "resnet", "poole"])
@pytest.mark.parametrize("kind", ["acgan", "projection"])
@pytest.mark.parametrize("g_labels", ["batch_norm", "embedding"])
def test_pairs_with_labels(name: str, kind: str, g_labels: str) -> None:
    torch.manual_seed(0)
    pair = make(name, 4, latent_dim=8, d_norm="none", labels=kind, g_labels=g_labels, classes=5)
    pair.discriminator.eval()
    if g_labels == "batch_norm":
        for layer in pair.generator.modules():
            if isinstance(layer, ConditionalBatchNorm2d):
                nn.init.normal_(layer.gain.weight)
    z = torch.randn(3, 8).repeat(2, 1)
    labels = torch.tensor([0, 1, 2, 3, 4, 0])
    images = pair.generator(z, labels)
    assert images.shape == (6, 3, 32, 32)
    assert (images[:3] - images[3:]).abs().flatten(1).amax(dim=1).min().item() > 0  # the class changes the image
    logits, scores = pair.discriminator(images, labels)
    other_logits, other_scores = pair.discriminator(images, (labels + 1) % 5)
    assert logits.shape == (6,)
    assert scores.shape == (6, 5)
    torch.testing.assert_close(scores, other_scores)
    by_label = scores.gather(1, torch.stack((labels, (labels + 1) % 5), dim=1))
    wanted = by_label[:, 0] - by_label[:, 1] if kind == "projection" else torch.zeros(6)
    torch.testing.assert_close(logits - other_logits, wanted, atol=1e-5, rtol=1e-4)  # e_y·φ(x), or nothing
    assert (pair.discriminator.class_scores.bias is None) == (kind == "projection")
