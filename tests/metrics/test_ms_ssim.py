"""MS-SSIM between samples: closed forms on plain images, and which scales there are."""

import pytest
import torch
from torch import Tensor

from gantrain.metrics.ms_ssim import MsSsimMetric, exponents_for, ms_ssim_of_pairs, scales_for


def noise(count: int, size: int = 32) -> Tensor:
    return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_equal_images_are_one_and_noise_is_near_zero() -> None:
    assert ms_ssim_of_pairs(noise(1).expand(10, -1, -1, -1)).tolist() == pytest.approx([1.0] * 5)
    apart = ms_ssim_of_pairs(noise(200))
    assert apart.shape == (100,)
    assert float(apart.mean()) < 0.1


def test_plain_images_differ_in_the_luminance_of_the_last_scale_alone() -> None:
    """SSIM of plain images a, b is (2ab + c₁)/(a² + b² + c₁), c₁ = (0.01·255)²; its weight is the last exponent."""
    images = torch.stack((torch.full((3, 32, 32), 60), torch.full((3, 32, 32), 180))).to(torch.uint8)
    luminance = (2 * 60 * 180 + 2.55**2) / (60**2 + 180**2 + 2.55**2)
    exponent = 0.3001 / (0.0448 + 0.2856 + 0.3001)
    assert float(ms_ssim_of_pairs(images)) == pytest.approx(luminance**exponent, rel=1e-3)


@pytest.mark.parametrize(("size", "scales"), [(16, 2), (28, 3), (32, 3), (64, 4), (112, 5), (256, 5)])
def test_small_images_have_fewer_scales(size: int, scales: int) -> None:
    assert scales_for(size) == scales
    assert len(exponents_for(size)) == scales
    assert sum(exponents_for(size)) == pytest.approx(1.0)
    assert ms_ssim_of_pairs(noise(1, size).expand(4, -1, -1, -1)).tolist() == pytest.approx([1.0, 1.0])


def test_a_collapsed_generator_resembles_itself_and_the_data_stand_beside() -> None:
    data = noise(100)
    (figure,) = MsSsimMetric(data, "noise", bootstrap=20).measure(noise(3).repeat(20, 1, 1, 1), None)
    assert figure.value > 5 * figure.protocol["real"]
    assert figure.protocol["pairs"] == 30
    assert figure.interval is not None
    assert figure.interval[0] < figure.value < figure.interval[1]
