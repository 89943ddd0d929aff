"""Mode coverage on digits, and sampling for metrics."""

import math

import pytest
import torch
from torch import nn

from gantrain.data.digits import load_stacked_digits
from gantrain.metrics.metric import MetricContext, RealImages
from gantrain.metrics.modes import ModesMetric, histogram_values
from gantrain.metrics.sampling import generate_images
from gantrain.networks import make_networks
from gantrain.options import ConfigError
from tests.metrics.contexts import context_of, noise


@pytest.mark.parametrize(
    ("modes", "kl"),
    [
        (list(range(1000)), 0.0),
        ([123] * 70, math.log(1000)),
        ([5, 5, 5, 999], 0.75 * math.log(0.75 * 1000) + 0.25 * math.log(0.25 * 1000)),
    ],
)
def test_kl_of_the_modes_by_hand(modes: list[int], kl: float) -> None:
    uniform = torch.full((1000,), 1e-3, dtype=torch.float64)
    _, found = histogram_values("modes", torch.tensor(modes), uniform, 0, None, {}, bootstrap=0)
    assert found.value == pytest.approx(kl, abs=1e-12)


def test_real_images_cover_nearly_all_modes_and_one_image_covers_one() -> None:
    digits = load_stacked_digits("train")
    metric = ModesMetric(MetricContext(real=RealImages(reference=digits, train=digits), device=torch.device("cpu")))
    images = digits.images[:10_000]
    values = {value.name: value for value in metric.measure(images, None)}
    assert values["modes"].value >= 995  # 1,000·(1 - e^-10) by chance
    assert values["modes_kl"].value == pytest.approx(999 / 20_000, rel=0.5)
    assert values["modes"].protocol["samples"] == 10_000
    single = {value.name: value.value for value in metric.measure(images[:1].expand(50, -1, -1, -1), None)}
    assert single == {"modes": 1.0, "modes_kl": pytest.approx(math.log(1000))}


def test_modes_are_refused_on_images_without_a_classifier_of_modes() -> None:
    with pytest.raises(ConfigError, match="needs a classifier of modes, which noise does not have"):
        ModesMetric(context_of(noise(4, 0)))


def test_generated_images_depend_on_the_seed_but_not_on_the_batch_size() -> None:
    torch.manual_seed(0)
    pair = make_networks("dcgan", width=2, latent_dim=4, prior="normal", d_norm="none", image_size=32)
    generator = pair.generator.train()
    before = [b.clone() for b in generator.buffers()]

    def generate(seed: int, batch: int) -> torch.Tensor:
        images, labels = generate_images(
            generator,
            count=10,
            latent_dim=4,
            prior="normal",
            image_range=(-1.0, 1.0),
            batch_size=batch,
            seed=seed,
            device=torch.device("cpu"),
        )
        assert labels is None
        return images

    first = generate(1, 10)
    assert first.shape == (10, 3, 32, 32)
    assert first.dtype == torch.uint8
    assert torch.equal(generate(1, 10), first)
    difference = (generate(1, 3).int() - first.int()).abs()
    assert int(difference.max()) <= 1  # convolutions round differently by batch size
    assert not torch.equal(generate(2, 10), first)
    assert generator.training
    assert all(torch.equal(a, b) for a, b in zip(before, generator.buffers(), strict=True))
    assert any(isinstance(layer, nn.BatchNorm2d) for layer in generator.modules())
