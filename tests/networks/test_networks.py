"""Layer shapes and parameter counts of the papers' tables, initial weights, and options of the pairs."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gantrain.networks import NetworkPair, count_parameters, make_networks, sample_latent
from gantrain.networks.conditional import ConditionalBatchNorm2d
from gantrain.networks.layers import CONVOLUTIONS, Maxout
from gantrain.networks.resnet import DownBlock, UpBlock


def make(name: str, width: int, *, latent_dim: int = 100, d_norm: str = "none", **options: Any) -> NetworkPair:
    torch.manual_seed(0)
    return make_networks(name, width=width, latent_dim=latent_dim, d_norm=d_norm, **options)


def shapes(network: nn.Module, example: Tensor, *kinds: type[nn.Module]) -> list[tuple[int, int]]:
    """Channels and height of the outputs of the layers of these kinds."""
    found: list[tuple[int, int]] = []
    hooks = [
        layer.register_forward_hook(lambda _, __, out: found.append((out.shape[1], out.shape[2])))
        for layer in network.modules()
        if isinstance(layer, kinds)
    ]
    network(example)
    for hook in hooks:
        hook.remove()
    return found


# Kernels 16 = 4×4; a batch norm has 2 parameters per channel; convolutions before one have no bias.
GENERATORS: dict[str, tuple[dict[str, Any], list[tuple[int, int]], int]] = {
    "dcgan": (
        {"name": "dcgan", "width": 128},
        [(512, 4), (256, 8), (128, 16), (3, 32)],
        16 * (100 * 512 + 512 * 256 + 256 * 128 + 128 * 3) + 2 * (512 + 256 + 128) + 3,
    ),
    "dcgan at 64 pixels": (
        {"name": "dcgan", "width": 64, "image_size": 64},
        [(512, 4), (256, 8), (128, 16), (64, 32), (3, 64)],
        16 * (100 * 512 + 512 * 256 + 256 * 128 + 128 * 64 + 64 * 3) + 2 * (512 + 256 + 128 + 64) + 3,
    ),
    "sngan": ({"name": "sngan", "width": 64, "latent_dim": 128}, [(256, 8), (128, 16), (64, 32), (3, 32)], 3_812_931),
    "poole": (
        {"name": "poole", "width": 32, "latent_dim": 64},
        [(256, 4), (128, 10), (64, 13), (32, 28), (32, 32), (32, 32), (3, 32)],
        978_083,
    ),
}
DISCRIMINATORS: dict[str, tuple[dict[str, Any], list[tuple[int, int]], int]] = {
    "dcgan": (
        {"name": "dcgan", "width": 128, "d_norm": "batch"},
        [(128, 16), (256, 8), (512, 4), (1, 1)],
        16 * (3 * 128 + 128 * 256 + 256 * 512 + 512) + 128 + 1 + 2 * (256 + 512),
    ),
    "dcgan at 64 pixels": (
        {"name": "dcgan", "width": 64, "image_size": 64},
        [(64, 32), (128, 16), (256, 8), (512, 4), (1, 1)],
        16 * (3 * 64 + 64 * 128 + 128 * 256 + 256 * 512 + 512) + 64 + 128 + 256 + 512 + 1,
    ),
    "sngan": (
        {"name": "sngan", "width": 64, "d_pattern": "paper"},
        [(64, 32), (64, 16), (128, 16), (128, 8), (256, 8), (256, 4), (512, 4), (1, 1)],
        2_935_873,
    ),
    "sngan, the widths of its code": (
        {"name": "sngan", "width": 64, "d_pattern": "code"},
        [(64, 32), (128, 16), (128, 16), (256, 8), (256, 8), (512, 4), (512, 4), (1, 1)],
        5_860_865,
    ),
}


@pytest.mark.parametrize("case", GENERATORS)
def test_generators_have_the_layers_of_the_papers(case: str) -> None:
    options, wanted, count = GENERATORS[case]
    generator = make(**options).generator
    assert shapes(generator, torch.randn(2, options.get("latent_dim", 100)), *CONVOLUTIONS) == wanted
    assert count_parameters(generator) == count


@pytest.mark.parametrize("case", DISCRIMINATORS)
def test_discriminators_have_the_layers_of_the_papers(case: str) -> None:
    options, wanted, count = DISCRIMINATORS[case]
    discriminator = make(**options).discriminator
    images = torch.randn(2, 3, *[options.get("image_size", 32)] * 2)
    assert shapes(discriminator, images, *CONVOLUTIONS) == wanted
    assert discriminator(images).shape == (2,)
    assert count_parameters(discriminator) == count
    slopes = {layer.negative_slope for layer in discriminator.modules() if isinstance(layer, nn.LeakyReLU)}
    assert slopes == {0.1 if options["name"] == "sngan" else 0.2}


def test_poole_discriminator_counts_channels_after_or_before_the_maximum() -> None:
    images, sides = torch.rand(2, 3, 32, 32), (28, 13, 10, 4, 1, 1, 1)
    for maxout_count, channels, of_first_five in (
        ("after", (32, 64, 128, 256, 512, 1024, 1024), 5.58e6),
        ("before", (16, 32, 64, 128, 256, 512, 512), 1.40e6),
    ):
        discriminator = make("poole", 32, maxout_count=maxout_count).discriminator
        assert shapes(discriminator, images, Maxout) == list(zip(channels, sides, strict=True))
        convolutions = [layer for layer in discriminator.modules() if isinstance(layer, nn.Conv2d)]
        assert sum(map(count_parameters, convolutions[:5])) == pytest.approx(of_first_five, rel=0.005)
        rates = [layer.p for layer in discriminator.modules() if isinstance(layer, nn.Dropout)]
        assert rates == [0.2] + [0.5] * 7
    assert count_parameters(make("poole", 32).discriminator) == 8_728_193
    assert Maxout()(torch.tensor([1.0, 5.0, -2.0, -3.0]).view(1, 4, 1, 1)).flatten().tolist() == [5.0, -2.0]


def test_resnet_has_the_parameters_and_blocks_of_the_paper() -> None:
    pair = make("resnet", 256, latent_dim=128, d_width=128)
    assert (count_parameters(pair.generator), count_parameters(pair.discriminator)) == (4_276_739, 1_053_825)
    small = make("resnet", 8, latent_dim=16)
    images = small.generator(torch.randn(2, 16))
    assert shapes(small.generator, torch.randn(2, 16), UpBlock) == [(8, 8), (8, 16), (8, 32)]
    assert shapes(small.discriminator, images, DownBlock) == [(8, 16), (8, 8), (8, 8), (8, 8)]


@torch.no_grad()
def test_resnet_blocks_equal_the_order_of_operations_of_the_paper() -> None:
    """The paper upsamples before the shortcut's convolution and averages after it."""
    torch.manual_seed(0)
    up, down = UpBlock(4, "none", 0, 0), DownBlock(3, 4, halves=True, first=False)
    x, twice, half = torch.randn(2, 4, 8, 8), nn.Upsample(scale_factor=2), nn.AvgPool2d(2)
    branch = up.residual[1](up.residual[0](twice(x.relu())).relu())
    torch.testing.assert_close(up(x, None), branch + up.shortcut(twice(x)), atol=1e-5, rtol=1e-5)
    x = torch.randn(2, 3, 8, 8)
    branch = down.residual[1](down.residual[0](x.relu()).relu())
    torch.testing.assert_close(down(x), half(branch) + half(down.shortcut(x)), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_initial_weights_are_those_of_the_papers() -> None:
    generator = make("dcgan", 128).generator
    layer = next(layer for layer in generator.modules() if isinstance(layer, nn.ConvTranspose2d))
    norm = next(layer for layer in generator.modules() if isinstance(layer, nn.BatchNorm2d))
    assert float(layer.weight.std()) == pytest.approx(0.02, rel=0.01)
    assert float(layer.weight.mean()) == pytest.approx(0.0, abs=1e-4)
    assert float(norm.weight.mean()) == pytest.approx(1.0, abs=0.01)
    assert float(norm.weight.std()) == pytest.approx(0.02, rel=0.2)
    assert float(norm.bias.abs().max()) == 0.0
    block = next(layer for layer in make("resnet", 64).generator.modules() if isinstance(layer, UpBlock))
    fan = 64 * 9 + 64 * 9
    assert float(block.residual[0].weight.std()) == pytest.approx((2 * 2 / fan) ** 0.5, rel=0.02)  # gain √2
    assert float(block.shortcut.weight.std()) == pytest.approx((2 / 128) ** 0.5, rel=0.03)


@pytest.mark.parametrize(("name", "low"), [("dcgan", -1.0), ("sngan", -1.0), ("resnet", -1.0), ("poole", 0.0)])
@torch.no_grad()
def test_images_fill_the_declared_range(name: str, low: float) -> None:
    pair = make(name, 4, latent_dim=8)
    assert pair.image_range == (low, 1.0)
    last_bias = list(pair.generator.parameters())[-1]
    for bias, limit in ((40.0, 1.0), (-40.0, low)):
        nn.init.constant_(last_bias, bias)
        images = pair.generator(torch.randn(4, 8))
        assert images.shape == (4, 3, 32, 32)
        assert float(images.mean()) == pytest.approx(limit)


def test_priors_have_their_moments_and_repeat_by_seed() -> None:
    def draw(prior: str) -> Tensor:
        return sample_latent(prior, (4000, 16), torch.Generator().manual_seed(0))

    normal, uniform, sphere = draw("normal"), draw("uniform"), draw("sphere")
    assert float(normal.var()) == pytest.approx(1.0, abs=0.02)
    assert float(uniform.var()) == pytest.approx(1 / 3, abs=0.01)
    assert float(uniform.abs().max()) <= 1.0
    torch.testing.assert_close(sphere.norm(dim=1), torch.full((4000,), 4.0))
    assert float(sphere.mean()) == pytest.approx(0.0, abs=0.02)
    assert torch.equal(draw("normal"), normal)


@pytest.mark.parametrize(("name", "of_d", "of_g"), [("dcgan", 2, 3), ("sngan", 6, 4)])
@pytest.mark.parametrize("norm", ["batch", "layer", "instance", "none"])
def test_norms_follow_all_layers_but_the_first_of_d(name: str, of_d: int, of_g: int, norm: str) -> None:
    pair = make(name, 4, latent_dim=8, d_norm=norm, g_norm=norm)
    kind: type[nn.Module] = nn.BatchNorm2d if norm == "batch" else nn.GroupNorm
    for network, count in ((pair.discriminator, of_d), (pair.generator, of_g)):
        found = [layer for layer in network.modules() if isinstance(layer, nn.GroupNorm | nn.BatchNorm2d)]
        assert len(found) == (0 if norm == "none" else count)
        assert all(isinstance(layer, kind) for layer in found)
        if norm in ("layer", "instance"):
            assert all(layer.num_groups == (1 if norm == "layer" else layer.num_channels) for layer in found)


@pytest.mark.parametrize("side", ["generator", "discriminator"])
def test_virtual_batch_norm_depends_on_the_reference_and_no_other_example(side: str) -> None:
    pair = make("dcgan", 4, latent_dim=8, d_norm="virtual", g_norm="virtual", virtual_reference=3)
    network = getattr(pair, side)
    inner = network if side == "generator" else network.features
    x, reference = torch.randn(8, *((8,) if side == "generator" else (3, 32, 32))).split((5, 3))
    inner.set_reference(reference, None)
    together = network(x)
    assert len(together) == 5
    torch.testing.assert_close(network(x[1:2])[0], together[1], atol=1e-5, rtol=1e-4)
    changed = torch.cat((x[:1] + 10, x[1:]))
    torch.testing.assert_close(network(changed)[1:], together[1:], atol=1e-5, rtol=1e-4)
    inner.set_reference(reference * 2 + 1, None)
    assert (network(x) - together).abs().max().item() > 1e-3
    assert any(name.endswith("reference") for name in network.state_dict())  # it is saved with the weights


def test_dropout_has_the_configured_rates_and_is_off_in_eval_mode() -> None:
    pair = make("dcgan", 8, latent_dim=8, g_dropout=0.5, d_dropout=0.25)
    for network, rate in ((pair.generator, 0.5), (pair.discriminator, 0.25), (make("dcgan", 8).generator, None)):
        rates = [layer.p for layer in network.modules() if isinstance(layer, nn.Dropout)]
        assert rates == ([] if rate is None else [rate] * 3)
    images = torch.randn(4, 3, 32, 32)
    assert not torch.equal(pair.discriminator(images), pair.discriminator(images))
    pair.discriminator.eval()
    assert torch.equal(pair.discriminator(images), pair.discriminator(images))


@pytest.mark.parametrize("name", ["dcgan", "sngan", "resnet", "poole"])
@pytest.mark.parametrize("kind", ["acgan", "projection"])
@pytest.mark.parametrize("g_labels", ["batch_norm", "embedding"])
def test_labels_change_images_and_by_projection_the_logit(name: str, kind: str, g_labels: str) -> None:
    pair = make(name, 4, latent_dim=8, labels=kind, g_labels=g_labels, classes=5)
    pair.discriminator.eval()
    for layer in pair.generator.modules():
        if isinstance(layer, ConditionalBatchNorm2d):
            nn.init.normal_(layer.gain.weight)
    z, labels = torch.randn(3, 8).repeat(2, 1), torch.tensor([0, 1, 2, 3, 4, 0])
    images = pair.generator(z, labels)
    assert images.shape == (6, 3, 32, 32)
    assert (images[:3] - images[3:]).abs().flatten(1).amax(dim=1).min().item() > 0
    logits, scores = pair.discriminator(images, labels)
    other_logits, other_scores = pair.discriminator(images, (labels + 1) % 5)
    assert (logits.shape, scores.shape) == ((6,), (6, 5))
    torch.testing.assert_close(scores, other_scores)
    by_label = scores.gather(1, torch.stack((labels, (labels + 1) % 5), dim=1))
    wanted = by_label[:, 0] - by_label[:, 1] if kind == "projection" else torch.zeros(6)
    torch.testing.assert_close(logits - other_logits, wanted, atol=1e-5, rtol=1e-4)  # e_y·φ(x), or nothing
    assert (pair.discriminator.class_scores.bias is None) == (kind == "projection")
