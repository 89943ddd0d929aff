"""FID against the closed form for Gaussians and against torch-fidelity on the same features."""

import numpy as np
import pytest
import torch
from scipy import linalg
from torch import Tensor
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

from gantrain.metrics import fid as fid_module
from gantrain.metrics.fid import Moments, fid, frechet_distance, moments_of, reference_of


def features(count: int, dims: int, seed: int, *, shift: float = 0.0) -> Tensor:
    """Correlated and non-negative, like Inception features."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(dims, dims, generator=torch.Generator().manual_seed(9), dtype=torch.float64) / dims**0.5
    x = torch.randn(count, dims, generator=generator, dtype=torch.float64) @ (mixing + torch.eye(dims) / 4)
    return (x + shift).clamp(min=0)


def torch_fidelity_fid(x: Tensor, real: Tensor) -> float:
    statistics = [fid_features_to_statistics(part) for part in (x, real)]
    return float(fid_statistics_to_metric(*statistics, False)["frechet_inception_distance"])


def with_moments(mean: Tensor, covariance: Tensor, count: int) -> Tensor:
    """Features (count, D) whose sample mean and covariance are exactly these."""
    generator = torch.Generator().manual_seed(4)
    x = torch.randn(count, len(mean), generator=generator, dtype=torch.float64)
    x -= x.mean(dim=0)
    white = x @ torch.linalg.inv(torch.linalg.cholesky(x.T.cov(), upper=False)).T
    return mean + white @ torch.linalg.cholesky(covariance).T


def test_fid_of_gaussians_with_common_axes_equals_the_closed_form() -> None:
    """|μ - μ'|² + Σ (√λ - √λ')²."""
    axes = torch.linalg.qr(torch.randn(6, 6, generator=torch.Generator().manual_seed(1), dtype=torch.float64)).Q
    one, other = torch.tensor([4.0, 1, 0.25, 9, 2, 1]).double(), torch.tensor([1.0, 1, 4, 0.5, 2, 16]).double()
    mean, other_mean = torch.linspace(0, 1, 6).double(), torch.linspace(1, -1, 6).double()
    wanted = float((mean - other_mean).square().sum() + (one.sqrt() - other.sqrt()).square().sum())
    x = with_moments(mean, axes * one @ axes.T, 40)
    real = with_moments(other_mean, axes * other @ axes.T, 60)
    assert fid(x, reference_of(moments_of(real))) == pytest.approx(wanted, rel=1e-10)
    moments = Moments(mean, axes * one @ axes.T)
    reference = reference_of(Moments(other_mean, axes * other @ axes.T))
    assert frechet_distance(moments, reference) == pytest.approx(wanted, rel=1e-10)


def test_fid_of_gaussians_with_different_axes_uses_the_matrix_root() -> None:
    one, other = (torch.randn(8, 12, generator=torch.Generator().manual_seed(k)).double().cov() for k in (2, 3))
    root = linalg.sqrtm(one.numpy() @ other.numpy()).real
    wanted = float(one.trace() + other.trace()) - 2 * float(np.trace(root))
    zero = torch.zeros(8, dtype=torch.float64)
    assert frechet_distance(Moments(zero, one), reference_of(Moments(zero, other))) == pytest.approx(wanted, rel=1e-8)


def test_moments_equal_numpys_even_far_from_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fid_module, "ROWS", 64)
    x = (features(300, 10, 0) + 1e4).float()
    found = moments_of(x)
    exact = x.double().numpy()
    torch.testing.assert_close(found.mean, torch.from_numpy(exact.mean(axis=0)), rtol=1e-13, atol=0)
    wanted = torch.from_numpy(np.cov(exact, rowvar=False))
    torch.testing.assert_close(found.covariance, wanted, rtol=1e-9, atol=1e-12)


# The covariances of fewer images than features are singular: eigenvalues of 0 are ±1e-16 in both.
@pytest.mark.parametrize(
    ("count", "real_count", "error"), [(500, 700, 1e-5), (50, 700, 1e-2), (500, 60, 1e-2), (40, 50, 1e-2)]
)
def test_fid_equals_torch_fidelitys(count: int, real_count: int, error: float) -> None:
    for dtype in (torch.float64, torch.float32):
        real, x = features(real_count, 200, 1).to(dtype), features(count, 200, 2, shift=0.3).to(dtype)
        found = fid(x, reference_of(moments_of(real)))
        assert found == pytest.approx(
            torch_fidelity_fid(x, real), rel=1e-6, abs=0 if count > 200 < real_count else 1e-2
        )
        assert found > 1
        assert fid(x, reference_of(moments_of(x))) == pytest.approx(0.0, abs=1e-3)
