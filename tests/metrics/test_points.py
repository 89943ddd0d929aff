"""Metrics of points against closed forms, and the ratio map."""

import math

import pytest
import torch
from torch import Tensor

from gantrain.data.points import grid, mixture, ring
from gantrain.diagnostics.ratio_map import CELLS, GAP, HEAD, SCALE, RatioMap
from gantrain.metrics.points import PointsMetric, forward_kl, mode_statistics
from gantrain.objectives import make_objective


def draw(*seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(sum(seed))


def test_real_points_cover_every_mode() -> None:
    for density in (ring(), grid()):
        points, _ = density.sample(20_000, draw(1))
        covered, share, kl = mode_statistics(points, density)
        assert covered == len(density.means)
        assert share == pytest.approx(1 - math.exp(-4.5), abs=0.003)  # Rayleigh: P(distance <= 3 stds)
        assert kl == pytest.approx((covered - 1) / (2 * 20_000), abs=1e-3)  # a multinomial's bias


def test_modes_are_counted_by_hand() -> None:
    density = ring()
    at_modes = density.means[[0, 0, 0, 5]].float()
    far = torch.tensor([[0.0, 0.0], [2.0 + 0.02 * 3.1, 0.0]])
    covered, share, kl = mode_statistics(torch.cat((at_modes, far)), density)
    assert covered == 2
    assert share == pytest.approx(4 / 6)
    assert kl == pytest.approx(0.75 * math.log(0.75 * 8) + 0.25 * math.log(0.25 * 8))
    just_inside = torch.tensor([[2.0 + 0.02 * 2.9, 0.0]])
    assert mode_statistics(just_inside, density)[:2] == (1, 1.0)
    assert mode_statistics(far[:1], density) == (0, 0.0, math.inf)


@pytest.mark.parametrize(("shift", "std"), [(0.0, 1.0), (1.0, 1.0), (0.0, 2.0), (0.4, 0.8)])
def test_forward_kl_between_gaussians(shift: float, std: float) -> None:
    """KL(N(0, 1)² ‖ N((shift, 0), std²)²) = 2 log std + (2 + shift²)/(2 std²) − 1."""
    density = mixture(torch.zeros(1, 2), torch.tensor([1.0]))
    real, _ = density.sample(2000, draw(2))
    points = torch.randn(10_000, 2, generator=draw(3)) * std + torch.tensor([shift, 0.0])
    expected = 2 * math.log(std) + (2 + shift**2) / (2 * std**2) - 1
    assert forward_kl(real, points, density) == pytest.approx(expected, abs=0.08)


def test_a_lost_mode_shows_in_the_metric() -> None:
    density = ring()
    points, modes = density.sample(3000, draw(4))
    complete = {f.name: f.value for f in PointsMetric(density).measure(points, None)}
    half = {f.name: f.value for f in PointsMetric(density).measure(points[modes < 4], None)}
    assert (complete["modes"], half["modes"]) == (8, 4)
    assert half["modes_kl"] == pytest.approx(math.log(2), abs=0.01)
    assert complete["kl"] == pytest.approx(0, abs=0.12)
    assert half["kl"] > 3


def test_true_ratio_on_the_map() -> None:
    """log q/p of two shifted unit Gaussians is linear; the blur makes their variance 1 + blur²."""
    density = mixture(torch.zeros(1, 2), torch.tensor([1.0]))
    real, _ = density.sample(500, draw(5))
    board = RatioMap(density, real, make_objective())
    points = torch.randn(5_000, 2, generator=draw(6)) + torch.tensor([1.0, 0.0])
    found = board.true_log_ratio(points)
    variance = 1 + board._blur**2
    x = board._cells[:, 0]
    expected = (0.5 - x) / variance
    middle = (board._cells - torch.tensor([0.5, 0.0])).norm(dim=1) < 1.5
    assert float((found - expected)[middle].abs().max()) < 0.35
    corner = board._cells.abs().amin(dim=1) > 0.95 * board.extent
    assert bool(found[corner].isnan().all())


def test_map_shows_the_discriminator() -> None:
    density = ring()
    real, _ = density.sample(100, draw(7))
    board = RatioMap(density, real, make_objective())

    def discriminate(points: Tensor) -> Tensor:
        return torch.where(points[:, 1] > 0, 9.0, -9.0)  # the upper half is real

    picture = board.picture(real, discriminate)
    side = CELLS * SCALE
    assert picture.shape == (3, side + HEAD, 3 * side + 2 * GAP)
    learned = picture[:, HEAD:, 2 * (side + GAP) :]
    red, blue = learned[:, : side // 2].mean(dim=(1, 2)), learned[:, side // 2 :].mean(dim=(1, 2))
    torch.testing.assert_close(red, torch.tensor([178, 24, 43]) / 255)
    torch.testing.assert_close(blue, torch.tensor([33, 102, 172]) / 255)
