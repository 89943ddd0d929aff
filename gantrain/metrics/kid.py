"""KID (Bińkowski et al. 2018) in float64 on the device, with bootstrap intervals over the generated images.

Subsets and resamples are sums of the kernel k(x, y) = (x·y/D + 1)³ over pairs of images, computed for many of them in
one product aᵀ K b, where a and b count how often each image is drawn.
"""

import numpy as np
import torch
from torch import Tensor

from gantrain.metrics.bootstrap import interval_from_resamples, resample_counts
from gantrain.metrics.metric import INCEPTION, LOWER, Metric, MetricContext, MetricSpec, MetricValue, ValueSpec

SUBSETS, SUBSET_SIZE = 100, 1000
SEED = 2020  # torch-fidelity's, for the same subsets and so the same value
CHUNK = 1024  # rows of a kernel matrix computed at once


class KIDMetric(Metric):
    """KID of generated images against the reference set."""

    spec = MetricSpec(
        name="kid",
        help="Kernel Inception Distance (Bińkowski et al. 2018), in float64, equal to torch-fidelity's to 1e-6",
        values=(ValueSpec("kid", "KID", LOWER),),
        needs=(INCEPTION,),
    )

    def __init__(self, context: MetricContext) -> None:
        """Computes the reference's features or reads them from the cache."""
        self._context = context
        context.reference_features()

    def measure(self, images: Tensor, labels: Tensor | None) -> list[MetricValue]:
        """KID of uint8 images (N, 3, H, W)."""
        context = self._context
        features, reference = context.features(images), context.reference_features()
        value, subsets = kid(features, reference)
        protocol, interval = {**context.protocol(images), **subsets}, None
        if context.bootstrap:
            resampled = kid_of_resamples(features, reference, context.bootstrap)
            interval = interval_from_resamples(value, resampled, noise=subsets["kid_std"] / SUBSETS**0.5)
            protocol |= {"interval_over": "generated images, the real ones fixed", "bootstrap": context.bootstrap}
        return [MetricValue("kid", value, protocol, interval)]


def kid(features: Tensor, reference: Tensor) -> tuple[float, dict[str, float]]:
    """KID of features (N, D) against a reference's (M, D) on the same device, and its protocol.

    The mean over subsets of the unbiased MMD² (Bińkowski et al. 2018, eq. 4), which can be negative. Kernel, subsets
    and seed are those of torch-fidelity, which computes it on the CPU.
    """
    size = min(SUBSET_SIZE, len(features), len(reference))
    device = features.device
    mine, real = _subsets(len(features), len(reference), size)
    if _fits_in_one_matrix(len(features), len(reference), size):  # one kernel matrix serves all subsets
        drawn = (_indicators(mine, len(features)).to(device), _indicators(real, len(reference)).to(device))
        values = _mmd2(features.double(), reference.double(), *drawn)
    else:
        every = torch.ones(1, size, dtype=torch.float64, device=device)
        pairs = zip(mine.to(device), real.to(device), strict=True)
        values = torch.cat([_mmd2(features[a].double(), reference[b].double(), every, every) for a, b in pairs])
    spread = float(values.std(correction=0))
    return float(values.mean()), {"kid_subsets": SUBSETS, "kid_subset_size": size, "kid_std": spread}


def kid_of_resamples(features: Tensor, reference: Tensor, resamples: int) -> list[float]:
    """The unbiased MMD² (without subsets) of bootstrap resamples of generated features (N, D), up to a constant.

    Two draws of the same image are not counted as a pair. The reference (M, D), on the same device, is fixed; its own
    term, equal for all resamples, is left out.
    """
    x, y = features.double(), reference.double()
    drawn = torch.stack(list(resample_counts(len(x), resamples, what="KID"))).to(x.device)
    pairs = len(x) ** 2 - drawn.square().sum(dim=1)
    to_real = torch.cat([_kernel(rows, y).mean(dim=1) for rows in x.split(CHUNK)])
    return [float(value) for value in _within(x, drawn) / pairs - 2 * (drawn @ to_real) / len(x)]


def _subsets(count: int, real_count: int, size: int) -> tuple[Tensor, Tensor]:
    """Indices of the images in each subset, (SUBSETS, size) for each side, drawn as torch-fidelity does."""
    source = np.random.RandomState(SEED)
    drawn = [[source.choice(n, size, replace=False) for n in (count, real_count)] for _ in range(SUBSETS)]
    mine, real = (torch.from_numpy(np.stack(side)) for side in zip(*drawn, strict=True))
    return mine, real


def _fits_in_one_matrix(count: int, real_count: int, size: int) -> bool:
    """Whether the kernel matrix of all images has fewer entries than those of the subsets together."""
    return count**2 + real_count**2 + count * real_count <= 3 * SUBSETS * size**2


def _indicators(chosen: Tensor, count: int) -> Tensor:
    """Indices (S, m) below `count` as indicator rows (S, count), float64."""
    return torch.zeros(len(chosen), count, dtype=torch.float64).scatter_(1, chosen, 1.0)


def _mmd2(x: Tensor, y: Tensor, drawn_x: Tensor, drawn_y: Tensor) -> Tensor:
    """The unbiased MMD² (S,) between subsets of x (N, D) and y (M, D) of the same size, given as indicator rows."""
    size = drawn_x.sum(dim=1)
    within = _within(x, drawn_x) + _within(y, drawn_y)
    return within / (size * (size - 1)) - 2 * _across(x, y, drawn_x, drawn_y) / size**2


def _within(x: Tensor, drawn: Tensor) -> Tensor:
    """Σ aᵢ aⱼ k(xᵢ, xⱼ) over i ≠ j, for each row a of `drawn` (S, N) -> (S,)."""
    total = drawn.new_zeros(len(drawn))
    for start in range(0, len(x), CHUNK):
        rows = slice(start, start + CHUNK)
        kernel = _kernel(x[rows], x)
        kernel.diagonal(start).zero_()
        total += (drawn[:, rows] @ kernel * drawn).sum(dim=1)
    return total


def _across(x: Tensor, y: Tensor, drawn_x: Tensor, drawn_y: Tensor) -> Tensor:
    """Σ aᵢ bⱼ k(xᵢ, yⱼ), for each row a of `drawn_x` (S, N) and b of `drawn_y` (S, M) -> (S,)."""
    total = drawn_x.new_zeros(len(drawn_x))
    for start in range(0, len(x), CHUNK):
        rows = slice(start, start + CHUNK)
        total += (drawn_x[:, rows] @ _kernel(x[rows], y) * drawn_y).sum(dim=1)
    return total


def _kernel(a: Tensor, b: Tensor) -> Tensor:
    return (a @ b.T / a.shape[1] + 1) ** 3
