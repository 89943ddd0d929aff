"""Metrics of generated points, whose true density is known: modes, quality, divergence."""

import math

import torch
from torch import Tensor

from gantrain.data import GaussianMixture
from gantrain.metrics.metric import HIGHER, LOWER, POINTS, Metric, MetricSpec, MetricValue, ValueSpec
from gantrain.metrics.modes import KL_CHART, MODES_CHART

HIGH_QUALITY = 3.0
"""Distance in standard deviations up to which a point belongs to a component (Srivastava et al. 2017, VEEGAN)."""
NEIGHBORS = 10
KL_POINTS = 2000
SEED = 7


class PointsMetric(Metric):
    """Modes covered, share of high-quality points, KL of the modes' shares, and KL(q‖p) of the densities."""

    spec = MetricSpec(
        name="modes",
        help="of points: KL(q‖p), modes covered and KL of their shares, share of points within three standard "
        "deviations of a mode",
        values=(
            ValueSpec("kl", "KL(q‖p)", LOWER, chart=KL_CHART),
            ValueSpec("modes", "modes", HIGHER, chart=MODES_CHART, diversity=True),
            ValueSpec("high_quality", "high quality", HIGHER, chart="share of points near a mode: up to the data's"),
            ValueSpec("modes_kl", "KL of the modes", LOWER, chart=KL_CHART, diversity=True),
        ),
        data=(POINTS,),
        min_samples=NEIGHBORS + 1,
    )

    def __init__(self, density: GaussianMixture) -> None:
        """Takes the data's density."""
        self._density = density
        self._real, _ = density.sample(KL_POINTS, torch.Generator().manual_seed(SEED))

    def measure(self, images: Tensor, labels: Tensor | None) -> list[MetricValue]:
        """The values of generated points (N, 2)."""
        points = images.cpu()
        covered, share, modes_kl = mode_statistics(points, self._density)
        protocol = {"samples": len(points), "of": len(self._density.mode_weights), "within_stds": HIGH_QUALITY}
        kl = forward_kl(self._real, points, self._density)
        estimate = {"samples": len(points), "real_points": KL_POINTS, "estimator": f"{NEIGHBORS} nearest neighbors"}
        return [
            MetricValue("modes", float(covered), protocol),
            MetricValue("high_quality", share, protocol),
            MetricValue("modes_kl", modes_kl, protocol),
            MetricValue("kl", kl, estimate),
        ]


def mode_statistics(points: Tensor, density: GaussianMixture) -> tuple[int, float, float]:
    """Modes covered, share of high-quality points, and KL(shares of modes ‖ true shares) in nats, of points (N, 2).

    A point has high quality within three standard deviations of a component; one such point covers a mode
    (Srivastava et al. 2017). The shares are of high-quality points; if there are none, the KL is infinite.
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


def forward_kl(real: Tensor, points: Tensor, density: GaussianMixture) -> float:
    """KL(q‖p) in nats: E_q[log q − log p] with the true q and p estimated from its samples.

    log p at a real point is estimated from the distance d to its k-th nearest generated point as
    ψ(k) − log N − log πd² (Wang et al. 2009). The standard error is about 1/√(number of real points), the estimate can
    be slightly negative for equal densities, and it is too low if real points are so far in the tail of p that hardly
    any generated point is near.

    Args:
        real: (M, 2), drawn from q.
        points: (N, 2), drawn from p, N above k = `NEIGHBORS`.
        density: q.
    """
    real, points = real.double(), points.double()
    distance = torch.cat([torch.cdist(part, points).kthvalue(NEIGHBORS, dim=1).values for part in real.split(500)])
    digamma = float(torch.special.digamma(torch.tensor(float(NEIGHBORS), dtype=torch.float64)))
    area = math.pi * distance.square().clamp_min(1e-300)
    log_p = digamma - math.log(len(points)) - area.log()
    return float((density.log_density(real) - log_p).mean())
