"""Toys: densities against SciPy and quadrature, sets that are what their papers say."""

import math

import numpy as np
import pytest
import torch
from scipy import stats
from sklearn.datasets import make_moons

from gantrain.data import BatchSampler
from gantrain.data.points import GaussianMixture, grid, load_points, mixture, moons, ring

SETS = {"ring": ring, "grid": grid, "moons": moons}
UNEQUAL = mixture(
    torch.tensor([[-1.0, 0.5], [2.0, 0.0]]), torch.tensor([0.3, 0.8], dtype=torch.float64), torch.tensor([1.0, 3.0])
)


def test_the_density_is_that_of_scipy() -> None:
    points = torch.randn(50, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 2
    for blur in (0.0, 0.4):
        expected = sum(
            weight * stats.multivariate_normal(mean, std**2 + blur**2).pdf(points.numpy())
            for mean, std, weight in (([-1.0, 0.5], 0.3, 0.25), ([2.0, 0.0], 0.8, 0.75))
        )
        torch.testing.assert_close(
            UNEQUAL.log_density(points, blur), torch.from_numpy(np.log(expected)), atol=1e-9, rtol=1e-9
        )


@pytest.mark.parametrize("name", SETS)
def test_densities_integrate_to_one_inside_their_extent(name: str) -> None:
    density = SETS[name]()
    # The sum over a lattice finer than the narrowest component is exact for Gaussians.
    line = torch.arange(-density.extent, density.extent, 0.8 * float(density.stds.min()), dtype=torch.float64)
    total = 0.0
    for x in line:
        column = torch.stack((x.expand(len(line)), line), dim=1)
        total += float(density.log_density(column).exp().sum()) * float(line[1] - line[0]) ** 2
    assert total == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize("name", SETS)
def test_points_follow_their_density(name: str) -> None:
    """E[log q] over the points is −entropy, which a Monte-Carlo mean over other points must meet; shares as well."""
    density = SETS[name]()
    train, test = load_points(name, density, "train"), load_points(name, density, "test")
    assert (len(train), len(test)) == (100_000, 10_000)
    assert not torch.equal(train.points[:100], test.points[:100])
    assert torch.equal(train.points, load_points(name, density, "train").points)
    shares = torch.bincount(train.labels).double() / len(train)
    torch.testing.assert_close(shares, density.mode_weights, atol=5 * math.sqrt(0.25 / 100_000), rtol=0)
    found, distance = density.nearest(train.points)
    if name != "moons":  # well parted: the nearest component is the one drawn from, at a Rayleigh distance
        assert torch.equal(found, train.labels)
        assert stats.kstest(distance.numpy(), "rayleigh").pvalue > 1e-3
    assert float(train.points.abs().max()) < density.extent


def test_ring_and_grid_means() -> None:
    assert torch.allclose(ring().means.norm(dim=1), torch.tensor(2.0, dtype=torch.float64))
    assert ring().mode_weights.tolist() == [0.125] * 8
    assert sorted(map(tuple, grid().means.tolist())) == [(x, y) for x in (-4, -2, 0, 2, 4) for y in (-4, -2, 0, 2, 4)]
    assert len(moons().mode_weights) == 2


def test_moons_are_scikit_learns() -> None:
    """Every noiseless point of scikit-learn, centered, is on the chain of Gaussians of the same moon."""
    theirs, label = make_moons(200, noise=None)
    points = torch.from_numpy(theirs - np.array([0.5, 0.25]))
    modes, distance = moons().nearest(points)
    assert float(distance.max()) < 0.2
    assert torch.equal(modes, torch.from_numpy(label).long())


def test_stds_and_weights_are_spread_over_components() -> None:
    made = mixture(torch.zeros(3, 2), torch.tensor([0.5]), torch.tensor([1.0, 1.0, 2.0]))
    assert isinstance(made, GaussianMixture)
    assert made.stds.tolist() == [0.5] * 3
    assert made.weights.tolist() == [0.25, 0.25, 0.5]


def test_batches_of_points_are_the_points() -> None:
    points = torch.randn(10, 2)
    sampler = BatchSampler(points, batch_size=5, image_range=None, flip=False, seed=0)
    seen = torch.cat([sampler.next()[0] for _ in range(2)])
    assert sorted(map(tuple, seen.tolist())) == sorted(map(tuple, points.tolist()))
