"""Intervals: the resamples against torch-fidelity on the very images drawn, and how often they hold what they claim."""

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

from gantrain.metrics.bootstrap import Z_95, around, half_counts, of_mean, of_share, resample_counts
from gantrain.metrics.fid import fid, fid_of_halves, moments_of, reference_of
from gantrain.metrics.kid import kid, kid_of_resamples


def normal(count: int, dims: int, seed: int, *, shift: float = 0.0, scale: float = 1.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return shift + scale * torch.randn(count, dims, generator=generator, dtype=torch.float64)


def _interval(value: float, of_resamples: list[float]) -> tuple[float, float]:
    found = around(value, of_resamples)
    assert found is not None
    return found


def test_resamples_are_draws_with_replacement_and_the_same_each_time() -> None:
    counts = torch.stack(list(resample_counts(200, 50, what="a test")))
    assert counts.shape == (50, 200)
    assert counts.sum(dim=1).eq(200).all()
    assert float((counts == 0).double().mean()) == pytest.approx(np.exp(-1), abs=0.02)
    assert torch.equal(counts, torch.stack(list(resample_counts(200, 50, what="a test"))))


def test_the_interval_of_a_mean_is_the_bootstraps_limit() -> None:
    values = normal(100, 1, 0, scale=3.0)[:, 0]
    interval = of_mean(values)
    assert interval is not None
    low, high = interval
    assert (low + high) / 2 == pytest.approx(float(values.mean()))
    assert high - low == pytest.approx(2 * Z_95 * float(np.std(values.numpy())) / 10)
    resampled = [float(counts @ values) / 100 for counts in resample_counts(100, 2000, what="a test")]
    assert around(float(values.mean()), resampled) == pytest.approx((low, high), abs=0.05)
    wider = around(0.0, resampled, noise=1.0)
    assert wider is not None
    assert of_mean(torch.ones(5)) is around(1.0, [1.0, 1.0]) is None
    assert wider[1] == pytest.approx(Z_95 * np.hypot(1.0, np.std(resampled)), rel=1e-3)


@pytest.mark.parametrize(("hits", "count"), [(0, 1024), (50, 50), (7, 40), (2, 1000)])
def test_the_interval_of_a_share_is_wilsons(hits: int, count: int) -> None:
    expected = stats.binomtest(hits, count).proportion_ci(0.95, method="wilson")
    assert of_share(hits / count, count) == pytest.approx((expected.low, expected.high), abs=1e-5)


def test_fid_of_a_half_is_torch_fidelitys_of_the_images_in_it() -> None:
    for count in (12, 61):  # fewer images than features, and more
        x, real = normal(count, 20, 1, shift=0.5), normal(300, 20, 2)
        found = fid_of_halves(x, reference_of(moments_of(real)), 3)
        for value, counts in zip(found, half_counts(count, 3, what="a test"), strict=True):
            assert sorted(counts.tolist()) == [0.0] * (count - count // 2) + [1.0] * (count // 2)
            drawn = fid_features_to_statistics(x[counts > 0])
            wanted = fid_statistics_to_metric(drawn, fid_features_to_statistics(real), False)[
                "frechet_inception_distance"
            ]
            assert value == pytest.approx(wanted, rel=1e-6)


def test_kid_of_a_resample_by_hand() -> None:
    x, y = normal(9, 4, 3, shift=0.5), normal(7, 4, 4)
    found = kid_of_resamples(x, y, 2)

    def kernel(a: Tensor, b: Tensor) -> float:
        return float((a @ b / 4 + 1) ** 3)

    for value, counts in zip(found, resample_counts(9, 2, what="a test"), strict=True):
        drawn = torch.arange(9).repeat_interleave(counts.long()).tolist()
        within = [kernel(x[i], x[j]) for i in drawn for j in drawn if i != j]
        across = [kernel(x[i], other) for i in drawn for other in y]
        assert value == pytest.approx(np.mean(within) - 2 * np.mean(across), rel=1e-9)


@pytest.mark.parametrize(("dims", "widest"), [(8, 1.4), (32, 1.5)])
def test_fid_intervals_hold_the_mean_figure_of_such_sets(dims: int, widest: float) -> None:
    """FID of 64 normal images: what 95 % means, though every half lies above the figure."""
    reference = reference_of(moments_of(normal(2000, dims, 0)))
    figures = [fid(normal(64, dims, k, shift=0.3, scale=1.2), reference) for k in range(1, 201)]
    mean, spread = np.mean(figures), np.std(figures)
    inside, widths, misses = 0, [], 0
    for k in range(1, 41):
        halves = fid_of_halves(normal(64, dims, k, shift=0.3, scale=1.2), reference, 40)
        low, high = _interval(figures[k - 1], halves)
        inside += low <= mean <= high
        widths.append((high - low) / (2 * Z_95))
        misses += mean < np.quantile(halves, 0.025)
    assert inside >= 35  # of 40; 38 are expected of a true 95 %
    assert 0.9 < np.mean(widths) / spread < widest
    assert misses >= (10 if dims == 8 else 40), "the halves' own quantiles would miss it"


def test_kid_intervals_are_as_wide_as_the_figure_strays() -> None:
    reference = normal(64, 16, 0)
    figures = [kid(normal(64, 16, k, shift=0.3, scale=1.2), reference)[0] for k in range(1, 61)]
    mean, spread = np.mean(figures), np.std(figures)
    inside, widths = 0, []
    for k in range(1, 41):
        x = normal(64, 16, k, shift=0.3, scale=1.2)
        low, high = _interval(figures[k - 1], kid_of_resamples(x, reference, 40))
        inside += low <= mean <= high
        widths.append((high - low) / (2 * Z_95))
    assert inside >= 35
    assert 0.8 < np.mean(widths) / spread < 1.25


def test_kid_states_its_subsets() -> None:
    value, protocol = kid(normal(50, 16, 1, shift=0.5), normal(40, 16, 2))
    assert (protocol["kid_subsets"], protocol["kid_subset_size"]) == (100, 40)
    assert value > 0
    assert protocol["kid_std"] > 0
