"""Colors: histograms and their distance by hand, hues against colorsys."""

import colorsys
import math

import pytest
import torch
from torch import Tensor

from gantrain.metrics.colors import ColorsMetric, color_histograms, green_brown_share, jensen_shannon
from tests.metrics.contexts import context_of


def plain(*colors: tuple[int, int, int]) -> Tensor:
    """An image of 4 x 4 pixels of each color."""
    return torch.tensor(colors, dtype=torch.uint8).view(-1, 3, 1, 1).expand(-1, -1, 4, 4)


def test_histograms_count_each_pixel_once_in_its_own_image() -> None:
    images = torch.randint(0, 256, (7, 3, 5, 6), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    found = color_histograms(images)
    assert found.shape == (7, 512)
    assert found.sum(dim=1).tolist() == [30] * 7
    for image, histogram in zip(images, found, strict=True):
        counts = [0] * 512
        for red, green, blue in image.flatten(1).T.tolist():
            counts[red // 32 * 64 + green // 32 * 8 + blue // 32] += 1
        assert histogram.tolist() == counts


def test_jensen_shannon_by_hand() -> None:
    one, other = torch.tensor([3, 0, 0]), torch.tensor([0, 5, 5])
    assert jensen_shannon(one, other) == pytest.approx(math.log(2))
    assert jensen_shannon(other, 7 * other) == pytest.approx(0.0, abs=1e-12)
    found = jensen_shannon(torch.tensor([1.0, 1.0]), torch.tensor([1.0, 0.0]))
    # ½ KL((½,½)‖(¾,¼)) + ½ KL((1,0)‖(¾,¼))
    wanted = 0.5 * (0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)) + 0.5 * math.log(1 / 0.75)
    assert found == pytest.approx(wanted)


def test_greens_and_browns_agree_with_colorsys() -> None:
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(0, 256, (40, 3, 6, 6), dtype=torch.uint8, generator=generator)
    wanted = []
    for image in images:
        hits = 0
        for pixel in image.flatten(1).T.tolist():
            hue, saturation, value = colorsys.rgb_to_hsv(*(level / 255 for level in pixel))
            green = 65 <= 360 * hue <= 165
            brown = 10 <= 360 * hue <= 45 and value <= 0.7
            hits += (green or brown) and saturation >= 0.15 and value >= 0.1
        wanted.append(hits / 36)
    assert 0.2 < sum(wanted) / len(wanted) < 0.6
    assert green_brown_share(images).tolist() == pytest.approx(wanted)


def test_grass_and_earth_are_green_and_brown_but_sky_and_snow_are_not() -> None:
    assert green_brown_share(plain((60, 140, 50), (110, 75, 40))).tolist() == [1.0, 1.0]
    assert green_brown_share(plain((90, 150, 220), (250, 250, 250), (5, 6, 5), (200, 30, 30))).tolist() == [0.0] * 4


def test_values_of_a_generator_with_half_of_the_colors() -> None:
    data = plain((60, 140, 50), (90, 150, 220)).repeat(50, 1, 1, 1)
    metric = ColorsMetric(context_of(data, bootstrap=100))
    js, share = metric.measure(data[::2], None)
    wanted = 0.5 * (0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)) + 0.5 * math.log(1 / 0.75)
    assert js.value == pytest.approx(wanted)
    assert js.interval is None, "equal images have no spread"
    assert (share.value, share.protocol["real"]) == (1.0, 0.5)
    assert 0 <= js.protocol["real"] < 0.02, "halves of the data are similar"
    same, share = metric.measure(data, None)
    assert same.value == pytest.approx(0.0, abs=1e-9)
    assert same.interval is not None
    assert 0 < same.interval[1] - same.value < 0.02
    assert share.interval is not None
    assert share.interval[1] - share.interval[0] == pytest.approx(2 * 1.96 * 0.5 / 10, rel=1e-3)
