"""FID (Heusel et al. 2017) by torch-fidelity, and its values on resamples of the generated images."""

from typing import Any

import torch
from torch import Tensor
from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric

from gantrain.evidence.bootstrap import resample_counts


def statistics_of(features: Tensor) -> dict[str, Any]:
    """Mean and covariance of features (N, D), as torch-fidelity takes them."""
    found: dict[str, Any] = fid_features_to_statistics(features)
    return found


def fid(features: Tensor, reference: dict[str, Any]) -> float:
    """FID of generated features (N, D) against a reference's statistics."""
    found = fid_statistics_to_metric(statistics_of(features), reference, False)
    return float(found[KEY_METRIC_FID])


def fid_of_resamples(features: Tensor, reference: dict[str, Any], resamples: int, device: torch.device) -> list[float]:
    """FID of each of the bootstrap's resamples of generated features (N, D); the reference is held fixed.

    tr (Σ₁Σ₂)^½ is the sum of the singular values of (X₁ - x̄₁)Σ₂^½/√(N-1), so that Σ₂^½ is found once and a resample
    takes the eigenvalues of one symmetric matrix, of min(distinct images, D) rows.
    """
    mean = torch.from_numpy(reference["mu"]).to(device, torch.float64)
    covariance = torch.from_numpy(reference["sigma"]).to(device, torch.float64)
    values, vectors = torch.linalg.eigh(covariance)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    x = features.to(device, torch.float64) - mean
    squares, seen = x.square().sum(dim=1), x @ root
    count, found = len(x), []
    for counts in resample_counts(count, resamples, what="FID"):
        share = counts.to(device) / count
        shift = share @ x
        trace = (share @ squares - shift.square().sum()) * count / (count - 1)
        drawn = share > 0
        rows = (seen[drawn] - shift @ root) * (share[drawn] * count / (count - 1)).sqrt().unsqueeze(1)
        gram = rows @ rows.T if len(rows) < rows.shape[1] else rows.T @ rows
        cross = torch.linalg.eigvalsh(gram).clamp(min=0).sqrt().sum()
        found.append(float(shift.square().sum() + trace + values.clamp(min=0).sum() - 2 * cross))
    return found
