"""Precision, recall, density and coverage by hand and against brute force."""

import numpy as np
import pytest
import torch
from torch import Tensor

from gantrain.data import DataError
from gantrain.metrics.prdc import density_and_coverage, precision_and_recall


def cloud(count: int, seed: int, shift: float = 0.0) -> Tensor:
    return shift + torch.randn(count, 6, generator=torch.Generator().manual_seed(seed))


def line(*places: float) -> Tensor:
    return torch.tensor(places).unsqueeze(1)


def radii(points: Tensor, k: int) -> list[float]:
    """Distance of each point to its k-th nearest other one."""
    apart = [[float((a - b).norm()) for b in points] for a in points]
    return [sorted(row)[k] for row in apart]


def test_precision_and_recall_on_a_line() -> None:
    real = line(0.0, 1.0, 2.0, 3.0, 4.0)  # third neighbors: 3, 2, 2, 2, 3 away
    fake = line(6.5, 3.5, 100.0, 101.0, 102.0)  # third neighbors: 94.5, 97.5, 96.5, ...
    precision, recall = precision_and_recall(fake, real)
    assert precision == pytest.approx(2 / 5)  # 6.5 lies in the ball of 4, 3.5 in some, the rest in none
    assert recall == pytest.approx(1.0)  # the ball of 6.5 is wide
    assert precision_and_recall(real, real + 0.5) == (1.0, 1.0)


def test_precision_and_recall_against_brute_force() -> None:
    fake, real = cloud(60, 0, shift=0.7), cloud(50, 1)
    of_real, of_fake = radii(real, 3), radii(fake, 3)
    inside = [any(float((x - r).norm()) <= radius for r, radius in zip(real, of_real, strict=True)) for x in fake]
    reached = [any(float((x - r).norm()) <= radius for x, radius in zip(fake, of_fake, strict=True)) for r in real]
    found = precision_and_recall(fake, real)
    assert found == pytest.approx((np.mean(inside), np.mean(reached)))
    assert 0.1 < found[0] < 0.95


def test_density_and_coverage_against_brute_force() -> None:
    fake, real = cloud(60, 2, shift=0.7), cloud(50, 3)
    of_real = radii(real, 5)
    within = np.array([[float((x - r).norm()) < radius for x in fake] for r, radius in zip(real, of_real, strict=True)])
    density, coverage = density_and_coverage(fake, real)
    assert density.tolist() == pytest.approx((within.sum(axis=0) / 5).tolist())
    assert coverage.tolist() == within.any(axis=1).astype(float).tolist()
    assert 0.1 < float(coverage.mean()) < 0.95


def test_density_and_coverage_of_the_same_distribution_and_of_one_point() -> None:
    """Equal distributions: density 1, coverage 1 - 2^-k (Naeem et al. 2020, lemma 1, 2)."""
    density, coverage = density_and_coverage(cloud(3000, 4), cloud(3000, 5))
    assert float(density.mean()) == pytest.approx(1.0, abs=0.05)
    assert float(coverage.mean()) == pytest.approx(1 - 2**-5, abs=0.015)
    collapsed = torch.zeros(3000, 6)
    density, coverage = density_and_coverage(collapsed, cloud(3000, 5))
    assert float(density.mean()) > 1.5  # the middle of the data is dense
    assert float(coverage.mean()) < 0.1


def test_too_few_images_for_a_neighbor_are_refused() -> None:
    with pytest.raises(DataError, match="at least 4 samples"):
        precision_and_recall(cloud(3, 0), cloud(50, 1))
    with pytest.raises(DataError, match="at least 6 samples"):
        density_and_coverage(cloud(50, 0), cloud(5, 1))
