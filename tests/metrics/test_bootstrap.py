"""Intervals: resamples against torch-fidelity on the same images, and how often intervals contain the mean."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

from gantrain.metrics.bootstrap import (
    Z_95,
    half_counts,
    interval_from_resamples,
    interval_of_mean,
    interval_of_share,
    resample_counts,
)
from gantrain.metrics.fid import fid, fid_of_halves, moments_of, reference_of
from gantrain.metrics.kid import kid, kid_of_resamples


def normal(count: int, dims: int, seed: int, *, shift: float = 0.0, scale: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return shift + scale * torch.randn(count, dims, generator=generator, dtype=torch.float64)


def test_resamples_are_drawn_with_replacement_and_are_reproducible() -> None:
    counts = torch.stack(list(resample_counts(200, 50, what="a test")))
    assert counts.shape == (50, 200)
    assert counts.sum(dim=1).eq(200).all()
    assert float((counts == 0).double().mean()) == pytest.approx(np.exp(-1), abs=0.02)
    assert torch.equal(counts, torch.stack(list(resample_counts(200, 50, what="a test"))))


def test_interval_of_a_mean_is_the_limit_of_the_bootstrap() -> None:
    values = normal(100, 1, 0, scale=3.0)[:, 0]
    low, high = interval_of_mean(values) or (0, 0)
    assert (low + high) / 2 == pytest.approx(float(values.mean()))
    assert high - low == pytest.approx(2 * Z_95 * float(np.std(values.numpy())) / 10)
    resampled = [float(counts @ values) / 100 for counts in resample_counts(100, 2000, what="a test")]
    assert interval_from_resamples(float(values.mean()), resampled) == pytest.approx((low, high), abs=0.05)
    _, wider = interval_from_resamples(0.0, resampled, noise=1.0) or (0, 0)
    assert wider == pytest.approx(Z_95 * np.hypot(1.0, np.std(resampled)), rel=1e-3)
    assert interval_of_mean(torch.ones(5)) is interval_from_resamples(1.0, [1.0, 1.0]) is None


@pytest.mark.parametrize(("hits", "count"), [(0, 1024), (50, 50), (7, 40), (2, 1000)])
def test_interval_of_a_share_is_wilsons(hits: int, count: int) -> None:
    expected = stats.binomtest(hits, count).proportion_ci(0.95, method="wilson")
    assert interval_of_share(hits / count, count) == pytest.approx((expected.low, expected.high), abs=1e-5)


@pytest.mark.parametrize("count", [12, 61], ids=["fewer-images-than-features", "more"])
def test_fid_of_a_half_equals_torch_fidelitys(count: int) -> None:
    x, real = normal(count, 20, 1, shift=0.5), normal(300, 20, 2)
    real_statistics = fid_features_to_statistics(real)
    values = fid_of_halves(x, reference_of(moments_of(real)), 3)
    for value, counts in zip(values, half_counts(count, 3, what="a test"), strict=True):
        assert sorted(counts.tolist()) == [0.0] * (count - count // 2) + [1.0] * (count // 2)
        wanted = fid_statistics_to_metric(fid_features_to_statistics(x[counts > 0]), real_statistics, False)
        assert value == pytest.approx(wanted["frechet_inception_distance"], rel=1e-6)


def test_kid_of_a_resample_by_hand() -> None:
    x, y = normal(9, 4, 3, shift=0.5), normal(7, 4, 4)

    def kernel(a: Tensor, b: Tensor) -> float:
        return float((a @ b / 4 + 1) ** 3)

    for value, counts in zip(kid_of_resamples(x, y, 2), resample_counts(9, 2, what="a test"), strict=True):
        drawn = torch.arange(9).repeat_interleave(counts.long()).tolist()
        within = [kernel(x[i], x[j]) for i in drawn for j in drawn if i != j]
        across = [kernel(x[i], other) for i in drawn for other in y]
        assert value == pytest.approx(np.mean(within) - 2 * np.mean(across), rel=1e-9)


def coverage(
    measure: Callable[[Tensor], float], resample: Callable[[Tensor], list[float]], dims: int, sets: int
) -> tuple[int, float]:
    """How many of 40 intervals contain the mean over `sets` sets of 64 images, and their width over the true one."""
    values = [measure(normal(64, dims, k, shift=0.3, scale=1.2)) for k in range(1, sets + 1)]
    inside, widths = 0, []
    for k in range(1, 41):
        resampled = resample(normal(64, dims, k, shift=0.3, scale=1.2))
        low, high = interval_from_resamples(values[k - 1], resampled) or (0, 0)
        inside += low <= np.mean(values) <= high
        widths.append((high - low) / (2 * Z_95))
    return inside, float(np.mean(widths) / np.std(values))


@pytest.mark.parametrize(("dims", "widest"), [(8, 1.4), (32, 1.5)])
def test_fid_intervals_contain_the_mean(dims: int, widest: float) -> None:
    reference = reference_of(moments_of(normal(2000, dims, 0)))
    inside, width = coverage(lambda x: fid(x, reference), lambda x: fid_of_halves(x, reference, 40), dims, 200)
    assert inside >= 35  # 38 are expected of a true 95 %
    assert 0.9 < width < widest


def test_kid_intervals_contain_the_mean() -> None:
    reference = normal(64, 16, 0)
    inside, width = coverage(lambda x: kid(x, reference)[0], lambda x: kid_of_resamples(x, reference, 40), 16, 60)
    assert inside >= 35
    assert 0.8 < width < 1.25
