"""KID (Bińkowski et al. 2018) by torch-fidelity, and its values on resamples of the generated images."""

import torch
from torch import Tensor
from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, KEY_METRIC_KID_STD, kid_features_to_metric

from gantrain.evidence.bootstrap import resample_counts

SUBSETS, SUBSET_SIZE = 100, 1000
CHUNK = 1024  # rows of a kernel matrix at once


def kid(features: Tensor, reference: Tensor) -> tuple[float, dict[str, float]]:
    """KID of features (N, D) against a reference's (M, D), unbiased and so at times below 0, and its protocol.

    torch-fidelity takes both to the CPU.
    """
    size = min(SUBSET_SIZE, len(features), len(reference))
    found = kid_features_to_metric(features, reference, kid_subsets=SUBSETS, kid_subset_size=size, verbose=False)
    protocol = {"kid_subsets": SUBSETS, "kid_subset_size": size, "kid_std": float(found[KEY_METRIC_KID_STD])}
    return float(found[KEY_METRIC_KID_MEAN]), protocol


def kid_of_resamples(features: Tensor, reference: Tensor, resamples: int) -> list[float]:
    """The unbiased MMD² of all images (no subsets), of each of the bootstrap's resamples of generated features (N, D).

    Two draws of the same image make no pair. The reference (M, D), on the same device, is held fixed, and its own
    term, alike for all resamples, left out.
    """
    x, y = features.double(), reference.double()
    drawn = torch.stack(list(resample_counts(len(x), resamples, what="KID"))).to(x.device)
    within, across, pairs = (torch.zeros(resamples, dtype=torch.float64, device=x.device) for _ in range(3))
    for start in range(0, len(x), CHUNK):
        rows = slice(start, start + CHUNK)
        kernel = _kernel(x[rows], x)
        kernel[torch.arange(len(kernel)), torch.arange(start, start + len(kernel))] = 0
        mine = drawn[:, rows]
        within += (mine @ kernel * drawn).sum(dim=1)
        pairs += mine.sum(dim=1) * len(x) - mine.square().sum(dim=1)
        across += mine @ _kernel(x[rows], y).mean(dim=1)
    return [float(value) for value in within / pairs - 2 * across / len(x)]


def _kernel(a: Tensor, b: Tensor) -> Tensor:
    return (a @ b.T / a.shape[1] + 1) ** 3
