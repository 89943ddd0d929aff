"""Fidelity and diversity by nearest neighbors of Inception features: precision, recall, density and coverage."""

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

from gantrain.data import DataError
from gantrain.metrics.bootstrap import interval_of_mean, interval_of_share
from gantrain.metrics.metric import HIGHER, INCEPTION, Metric, MetricContext, MetricSpec, MetricValue, ValueSpec

PRECISION_NEIGHBOR = 3  # of Kynkäänniemi et al. 2019, and torch-fidelity's default
DENSITY_NEIGHBOR = 5  # of Naeem et al. 2020
MATRIX_IMAGES = 10_000  # up to this many, torch-fidelity computes the complete distance matrix (its default)
CHUNK = 2048
CHART = "precision, density: quality; recall, coverage: variety; higher is better"
OVER_SAMPLES = "generated images, the real ones fixed"

T = TypeVar("T")


def _spec(name: str, neighbor: int, help: str, *, diversity: bool = False) -> MetricSpec:
    return MetricSpec(
        name=name,
        help=help,
        values=(ValueSpec(name, name, HIGHER, chart=CHART, diversity=diversity),),
        needs=(INCEPTION,),
        min_samples=neighbor + 1,
        min_reference=neighbor + 1,
    )


class _NeighborMetric(Metric):
    """What the four metrics have in common."""

    def __init__(self, context: MetricContext) -> None:
        """Computes the reference's features or reads them from the cache."""
        self._context = context
        context.reference_features()

    def _compute(self, pair: Callable[[Tensor, Tensor], T], images: Tensor) -> T:
        """The two metrics of a pair, computed once for both."""
        context = self._context
        return context.once(pair.__name__, images, lambda: pair(context.features(images), context.reference_features()))

    def _value(
        self, value: float, images: Tensor, neighbor: int, interval: tuple[float, float] | None, over: str
    ) -> list[MetricValue]:
        protocol = {**self._context.protocol(images), "neighbor": neighbor}
        if not self._context.bootstrap or interval is None:
            return [MetricValue(self.spec.name, value, protocol)]
        return [MetricValue(self.spec.name, value, {**protocol, "interval_over": over}, interval)]


class PrecisionMetric(_NeighborMetric):
    """Share of generated images near a real one."""

    spec = _spec(
        "precision",
        PRECISION_NEIGHBOR,
        "improved precision (Kynkäänniemi et al. 2019): share of samples within the third-neighbor ball of a real "
        "image, by torch-fidelity, on Inception features in place of its VGG-16",
    )

    def measure(self, images: Tensor, labels: Tensor | None) -> list[MetricValue]:
        """Precision of uint8 images (N, 3, H, W)."""
        precision, _ = self._compute(precision_and_recall, images)
        return self._value(
            precision, images, PRECISION_NEIGHBOR, interval_of_share(precision, len(images)), OVER_SAMPLES
        )


class RecallMetric(_NeighborMetric):
    """Share of real images near a generated one."""

    spec = _spec(
        "recall",
        PRECISION_NEIGHBOR,
        "improved recall (Kynkäänniemi et al. 2019): share of real images within the third-neighbor ball of a "
        "sample, computed like precision",
        diversity=True,
    )

    def measure(self, images: Tensor, labels: Tensor | None) -> list[MetricValue]:
        """Recall of uint8 images (N, 3, H, W)."""
        _, recall = self._compute(precision_and_recall, images)
        interval = interval_of_share(recall, len(self._context.real.inception_images))
        return self._value(recall, images, PRECISION_NEIGHBOR, interval, "real images, the generated ones fixed")


class DensityMetric(_NeighborMetric):
    """Number of real neighborhoods that contain a generated image."""

    spec = _spec(
        "density",
        DENSITY_NEIGHBOR,
        "density (Naeem et al. 2020): how many fifth-neighbor balls of real images contain a sample, over 5; 1 for "
        "equal distributions",
    )

    def measure(self, images: Tensor, labels: Tensor | None) -> list[MetricValue]:
        """Density of uint8 images (N, 3, H, W)."""
        density, _ = self._compute(density_and_coverage, images)
        return self._value(float(density.mean()), images, DENSITY_NEIGHBOR, interval_of_mean(density), OVER_SAMPLES)


class CoverageMetric(_NeighborMetric):
    """Share of real neighborhoods that contain a generated image."""

    spec = _spec(
        "coverage",
        DENSITY_NEIGHBOR,
        "coverage (Naeem et al. 2020): share of real images whose fifth-neighbor ball contains a sample; 0.97 for "
        "equal distributions",
        diversity=True,
    )

    def measure(self, images: Tensor, labels: Tensor | None) -> list[MetricValue]:
        """Coverage of uint8 images (N, 3, H, W)."""
        _, coverage = self._compute(density_and_coverage, images)
        over = "real images, neighborhoods and generated ones fixed: a fifth too narrow"
        return self._value(float(coverage.mean()), images, DENSITY_NEIGHBOR, interval_of_mean(coverage), over)


def precision_and_recall(features: Tensor, reference: Tensor) -> tuple[float, float]:
    """Improved precision and recall (Kynkäänniemi et al. 2019, eq. 1, 2) of features (N, D) against (M, D).

    Raises:
        DataError: too few images for a third neighbor.
    """
    from torch_fidelity.metric_prc import KEY_METRIC_PRECISION, KEY_METRIC_RECALL, prc_features_to_metric

    _check_count(min(len(features), len(reference)), PRECISION_NEIGHBOR, "precision and recall")
    results = prc_features_to_metric(
        features.cpu(),  # torch-fidelity sorts neighbors on the CPU
        reference.cpu(),
        prc_neighborhood=PRECISION_NEIGHBOR,
        save_cpu_ram=max(len(features), len(reference)) > MATRIX_IMAGES,
        verbose=False,
    )
    return float(results[KEY_METRIC_PRECISION]), float(results[KEY_METRIC_RECALL])


def density_and_coverage(features: Tensor, reference: Tensor) -> tuple[Tensor, Tensor]:
    """Density and coverage (Naeem et al. 2020, eq. 3, 4) of features (N, D) against (M, D), per image.

    Returns:
        For each generated image the number of fifth-neighbor balls of real images that contain it, over 5, (N,): its
        mean is the density. For each real image whether its ball contains a generated one, (M,): its mean is the
        coverage. float64, on the CPU.

    Raises:
        DataError: too few real images for a fifth neighbor.
    """
    k = DENSITY_NEIGHBOR
    _check_count(len(reference), k, "density and coverage")
    containing = torch.zeros(len(features), dtype=torch.float64, device=features.device)
    covered = []
    for part in reference.split(CHUNK):
        radius = (
            torch.cdist(part, reference).kthvalue(k + 1, dim=1, keepdim=True).values
        )  # the nearest is the point itself
        within = torch.cdist(part, features) < radius
        containing += within.sum(dim=0)
        covered.append(within.any(dim=1))
    return (containing / k).cpu(), torch.cat(covered).double().cpu()


def _check_count(images: int, neighbor: int, metrics: str) -> None:
    if images <= neighbor:
        raise DataError(
            f"{metrics} need the {neighbor} nearest neighbors of an image, but there are only {images} images: use at "
            f"least {neighbor + 1} samples and real images, or remove them from the metrics"
        )
