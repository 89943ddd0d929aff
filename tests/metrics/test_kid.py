"""KID against torch-fidelity on the same features, for both ways of summing."""

import numpy as np
import pytest
import torch
from torch import Tensor
from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, KEY_METRIC_KID_STD, kid_features_to_metric

from gantrain.metrics import kid as kid_module
from gantrain.metrics.kid import kid


def features(count: int, seed: int, *, dims: int = 24, shift: float = 0.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, dims, generator=generator, dtype=torch.float64).relu() + shift


def theirs(x: Tensor, y: Tensor, size: int) -> tuple[float, float]:
    found = kid_features_to_metric(x, y, kid_subset_size=size, verbose=False)
    return found[KEY_METRIC_KID_MEAN], found[KEY_METRIC_KID_STD]


# One kernel matrix of all images up to 300 size² entries, above it one per subset.
@pytest.mark.parametrize(
    ("count", "real_count", "size", "one_matrix"),
    [(60, 50, 1000, True), (90, 130, 1000, True), (400, 300, 20, False), (30, 500, 20, False)],
)
def test_kid_equals_torch_fidelitys(
    count: int, real_count: int, size: int, one_matrix: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kid_module, "SUBSET_SIZE", size)
    monkeypatch.setattr(kid_module, "CHUNK", 64)  # several chunks, the last one not full
    size = min(size, count, real_count)
    assert kid_module._fits_in_one_matrix(count, real_count, size) == one_matrix
    for shift in (0.0, 0.2):
        x, y = features(count, 0, shift=shift), features(real_count, 1)
        value, protocol = kid(x, y)
        mean, spread = theirs(x, y, size)
        assert value == pytest.approx(mean, rel=1e-9, abs=1e-12)
        assert protocol == {
            "kid_subsets": 100,
            "kid_subset_size": size,
            "kid_std": pytest.approx(spread, rel=1e-7, abs=1e-12),
        }
        assert abs(value) > 1e-4 if shift else abs(value) < 0.1


def test_kid_of_float32_features_is_summed_in_float64(monkeypatch: pytest.MonkeyPatch) -> None:
    """Inception features are float32, and torch-fidelity sums a million entries of about 2 in float32 too."""
    monkeypatch.setattr(kid_module, "SUBSET_SIZE", 300)
    x, y = (features(400, k, dims=256).float() for k in (4, 5))
    value, _ = kid(x, y)
    assert value == pytest.approx(theirs(x, y, 300)[0], abs=1e-6)
    assert value == pytest.approx(theirs(x.double(), y.double(), 300)[0], abs=1e-12)


def test_kid_of_subsets_that_contain_all_images_by_hand() -> None:
    """All subsets are then equal."""
    x, y = features(5, 6, dims=3, shift=0.5), features(5, 7, dims=3)

    def k(a: Tensor, b: Tensor) -> float:
        return (float(a @ b) / 3 + 1) ** 3

    within = [k(z[i], z[j]) for z in (x, y) for i in range(5) for j in range(5) if i != j]
    across = [k(a, b) for a in x for b in y]
    value, protocol = kid(x, y)
    assert value == pytest.approx(np.sum(within) / 20 - 2 * np.mean(across), rel=1e-9)
    assert protocol["kid_std"] == pytest.approx(0.0, abs=1e-12)
