"""KID (Bińkowski et al. 2018) in float64 on the device, and its values on resamples of the generated images.

Both are sums of the kernel k(x, y) = (x·y/D + 1)³ over pairs of images, each pair counted as often as both are drawn:
aᵀ K b, with how often an image is drawn in a and b, for many draws in one product.
"""

import numpy as np
import torch
from torch import Tensor

from gantrain.metrics.bootstrap import resample_counts

SUBSETS, SUBSET_SIZE = 100, 1000
SEED = 2020  # of the subsets: torch-fidelity's, so that the figure is the one it gives
CHUNK = 1024  # rows of a kernel matrix at once


def kid(features: Tensor, reference: Tensor) -> tuple[float, dict[str, float]]:
    """KID of features (N, D) against a reference's (M, D) on the same device, and its protocol.

    The mean over subsets of the unbiased MMD² between as many images of either side (Bińkowski et al. 2018, eq. 4),
    and so at times below 0. Kernel, subsets and their seed are those of torch-fidelity, which computes it on the CPU.
    """
    size = min(SUBSET_SIZE, len(features), len(reference))
    device = features.device
    mine, real = _subsets(len(features), len(reference), size)
    if _is_small(len(features), len(reference), size):  # one kernel matrix serves all subsets
        drawn = (_marked(mine, len(features)).to(device), _marked(real, len(reference)).to(device))
        values = _mmd2(features.double(), reference.double(), *drawn)
    else:
        every = torch.ones(1, size, dtype=torch.float64, device=device)
        pairs = zip(mine.to(device), real.to(device), strict=True)
        values = torch.cat([_mmd2(features[a].double(), reference[b].double(), every, every) for a, b in pairs])
    spread = float(values.std(correction=0))
    return float(values.mean()), {"kid_subsets": SUBSETS, "kid_subset_size": size, "kid_std": spread}


def kid_of_resamples(features: Tensor, reference: Tensor, resamples: int) -> list[float]:
    """The unbiased MMD² of all images (no subsets), of each of the bootstrap's resamples of generated features (N, D).

    Two draws of the same image make no pair. The reference (M, D), on the same device, is held fixed, and its own
    term, alike for all resamples, left out.
    """
    x, y = features.double(), reference.double()
    drawn = torch.stack(list(resample_counts(len(x), resamples, what="KID"))).to(x.device)
    pairs = len(x) ** 2 - drawn.square().sum(dim=1)
    to_real = torch.cat([_kernel(rows, y).mean(dim=1) for rows in x.split(CHUNK)])
    return [float(value) for value in _within(x, drawn) / pairs - 2 * (drawn @ to_real) / len(x)]


def _subsets(count: int, real_count: int, size: int) -> tuple[Tensor, Tensor]:
    """Which images are in each subset, (SUBSETS, size) of either side, drawn as torch-fidelity draws them."""
    source = np.random.RandomState(SEED)
    drawn = [[source.choice(n, size, replace=False) for n in (count, real_count)] for _ in range(SUBSETS)]
    mine, real = (torch.from_numpy(np.stack(side)) for side in zip(*drawn, strict=True))
    return mine, real


def _is_small(count: int, real_count: int, size: int) -> bool:
    """Whether the kernel of all images has fewer entries than those of the subsets together."""
    return count**2 + real_count**2 + count * real_count <= 3 * SUBSETS * size**2


def _marked(chosen: Tensor, count: int) -> Tensor:
    """Places (S, m) among `count` as rows (S, count) of ones there and zeros elsewhere, float64."""
    return torch.zeros(len(chosen), count, dtype=torch.float64).scatter_(1, chosen, 1.0)


def _mmd2(x: Tensor, y: Tensor, drawn_x: Tensor, drawn_y: Tensor) -> Tensor:
    """The unbiased MMD² (S,) between subsets of as many of x (N, D) and of y (M, D), marked by ones."""
    size = drawn_x.sum(dim=1)
    within = _within(x, drawn_x) + _within(y, drawn_y)
    return within / (size * (size - 1)) - 2 * _across(x, y, drawn_x, drawn_y) / size**2


def _within(x: Tensor, drawn: Tensor) -> Tensor:
    """Σ aᵢ aⱼ k(xᵢ, xⱼ) over i ≠ j, of each row a of `drawn` (S, N): (S,)."""
    found = drawn.new_zeros(len(drawn))
    for start in range(0, len(x), CHUNK):
        rows = slice(start, start + CHUNK)
        kernel = _kernel(x[rows], x)
        kernel.diagonal(start).zero_()
        found += (drawn[:, rows] @ kernel * drawn).sum(dim=1)
    return found


def _across(x: Tensor, y: Tensor, drawn_x: Tensor, drawn_y: Tensor) -> Tensor:
    """Σ aᵢ bⱼ k(xᵢ, yⱼ), of each row a of `drawn_x` (S, N) with b of `drawn_y` (S, M): (S,)."""
    found = drawn_x.new_zeros(len(drawn_x))
    for start in range(0, len(x), CHUNK):
        rows = slice(start, start + CHUNK)
        found += (drawn_x[:, rows] @ _kernel(x[rows], y) * drawn_y).sum(dim=1)
    return found


def _kernel(a: Tensor, b: Tensor) -> Tensor:
    return (a @ b.T / a.shape[1] + 1) ** 3
