"""Figures of generated points whose true density is known: modes, quality, divergence."""

import math

import torch
from torch import Tensor

from gantrain.data.points import GaussianMixture
from gantrain.metrics.metric import MetricValue

HIGH_QUALITY = 3.0
"""Within how many stds of a component a point counts as one of it (Srivastava et al. 2017, VEEGAN)."""
NEIGHBOURS = 10
KL_POINTS = 2000
SEED = 7


class PointsMetric:
    """Modes covered, share of high-quality points, KL of the modes' shares, and KL(q‖p) of the densities."""

    headline = "kl"

    def __init__(self, density: GaussianMixture) -> None:
        """Takes the data's density."""
        self._density = density
        self._real, _ = density.sample(KL_POINTS, torch.Generator().manual_seed(SEED))

    def measure(self, images: Tensor, labels: Tensor | None) -> list[MetricValue]:
        """The figures of generated points (N, 2)."""
        points = images.cpu()
        covered, share, modes_kl = mode_statistics(points, self._density)
        protocol = {"samples": len(points), "of": len(self._density.mode_weights), "within_stds": HIGH_QUALITY}
        kl = forward_kl(self._real, points, self._density)
        estimate = {"samples": len(points), "real_points": KL_POINTS, "estimator": f"{NEIGHBOURS} nearest neighbors"}
        return [
            MetricValue("modes", float(covered), protocol),
            MetricValue("high_quality", share, protocol),
            MetricValue("modes_kl", modes_kl, protocol),
            MetricValue("kl", kl, estimate),
        ]


def mode_statistics(points: Tensor, density: GaussianMixture) -> tuple[int, float, float]:
    """Of points (N, 2): modes covered, share of high-quality points, KL(shares of modes ‖ true shares) in nats.

    A point is of high quality within three stds of a component; a mode is covered by one such point
    (Srivastava et al. 2017). The shares are those of high-quality points; without any the KL is infinite.
    """
    modes, distance = density.nearest(points.double())
    good = modes[distance <= HIGH_QUALITY]
    true = density.mode_weights
    counts = torch.bincount(good, minlength=len(true)).double()
    present = counts > 0
    if not bool(present.any()):
        return 0, 0.0, math.inf
    shares = counts[present] / counts.sum()
    kl = (shares * (shares / true[present]).log()).sum()
    return int(present.sum()), len(good) / len(points), float(kl)


def forward_kl(real: Tensor, points: Tensor, density: GaussianMixture, neighbors: int = NEIGHBOURS) -> float:
    """KL(q‖p) in nats: E_q[log q − log p] with the true q and p estimated from its samples.

    log p at a real point is that of the distance to its k-th nearest generated point, ψ(k) − log N − log πd²
    (Wang et al. 2009), finite wherever p has samples at all. The estimate scatters around the truth by about
    1/√(number of real points), may be slightly negative for equal densities, and is too low where real points
    lie so far out in p's tail that hardly a generated one is near.

    Args:
        real: (M, 2), drawn from q.
        points: (N, 2), drawn from p, N above `neighbors`.
        density: q.
        neighbors: k.
    """
    real, points = real.double(), points.double()
    distance = torch.cat([torch.cdist(part, points).kthvalue(neighbors, dim=1).values for part in real.split(500)])
    digamma = float(torch.special.digamma(torch.tensor(float(neighbors), dtype=torch.float64)))
    area = math.pi * distance.square().clamp_min(1e-300)
    log_p = digamma - math.log(len(points)) - area.log()
    return float((density.log_density(real) - log_p).mean())
