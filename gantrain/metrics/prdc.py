"""Fidelity and diversity by nearest neighbors of Inception features: precision, recall, density and coverage."""

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


class _NeighborMetric(Metric):
    """What the four metrics have in common."""

    def __init__(self, context: MetricContext) -> None:
        """Computes the reference's features or reads them from the cache."""
        self._context = context
        context.reference_features()

    def _precision_recall(self, images: Tensor) -> tuple[float, float]:
        context = self._context
        return context.once(
            "precision_recall",
            images,
            lambda: precision_and_recall(context.features(images), context.reference_features()),
        )

    def _density_coverage(self, images: Tensor) -> tuple[Tensor, Tensor]:
        context = self._context
        return context.once(
            "density_coverage",
            images,
            lambda: density_and_coverage(context.features(images), context.reference_features()),
        )

    def _value(
        self, value: float, images: Tensor, neighbor: int, over: str, interval: tuple[float, float] | None
    ) -> list[MetricValue]:
        protocol = {**self._context.protocol(images), "neighbor": neighbor}
        if not self._context.bootstrap:
            interval = None
        if interval is not None:
            protocol["interval_over"] = over
        return [MetricValue(self.spec.name, value, protocol, interval)]


class PrecisionMetric(_NeighborMetric):
    """Share of generated images near a real one."""

    spec = MetricSpec(
        name="precision",
        help="improved precision (Kynkäänniemi et al. 2019): share of samples within the third-neighbor ball of a real "
        "image, by torch-fidelity, on Inception features in place of its VGG-16",
        values=(ValueSpec("precision", "precision", HIGHER, chart=CHART),),
        needs=(INCEPTION,),
        min_samples=PRECISION_NEIGHBOR + 1,
        min_reference=PRECISION_NEIGHBOR + 1,
    )

    def measure(self, images: Tensor, labels: Tensor | None) -> list[MetricValue]:
        """Precision of uint8 images (N, 3, H, W)."""
        precision, _ = self._precision_recall(images)
        interval = interval_of_share(precision, len(images))
        return self._value(precision, images, PRECISION_NEIGHBOR, OVER_SAMPLES, interval)


class RecallMetric(_NeighborMetric):
    """Share of real images near a generated one."""

    spec = MetricSpec(
        name="recall",
        help="improved recall (Kynkäänniemi et al. 2019): share of real images within the third-neighbor ball of a "
        "sample, computed like precision",
        values=(ValueSpec("recall", "recall", HIGHER, chart=CHART, diversity=True),),
        needs=(INCEPTION,),
        min_samples=PRECISION_NEIGHBOR + 1,
        min_reference=PRECISION_NEIGHBOR + 1,
    )

    def measure(self, images: Tensor, labels: Tensor | None) -> list[MetricValue]:
        """Recall of uint8 images (N, 3, H, W)."""
        _, recall = self._precision_recall(images)
        interval = interval_of_share(recall, len(self._context.real.inception_images))
        return self._value(recall, images, PRECISION_NEIGHBOR, "real images, the generated ones fixed", interval)


class DensityMetric(_NeighborMetric):
    """Number of real neighborhoods that contain a generated image."""

    spec = MetricSpec(
        name="density",
        help="density (Naeem et al. 2020): how many fifth-neighbor balls of real images contain a sample, over 5; 1 "
        "for equal distributions",
        values=(ValueSpec("density", "density", HIGHER, chart=CHART),),
        needs=(INCEPTION,),
        min_samples=DENSITY_NEIGHBOR + 1,
        min_reference=DENSITY_NEIGHBOR + 1,
    )

    def measure(self, images: Tensor, labels: Tensor | None) -> list[MetricValue]:
        """Density of uint8 images (N, 3, H, W)."""
        density, _ = self._density_coverage(images)
        return self._value(float(density.mean()), images, DENSITY_NEIGHBOR, OVER_SAMPLES, interval_of_mean(density))


class CoverageMetric(_NeighborMetric):
    """Share of real neighborhoods that contain a generated image."""

    spec = MetricSpec(
        name="coverage",
        help="coverage (Naeem et al. 2020): share of real images whose fifth-neighbor ball contains a sample; 0.97 for "
        "equal distributions",
        values=(ValueSpec("coverage", "coverage", HIGHER, chart=CHART, diversity=True),),
        needs=(INCEPTION,),
        min_samples=DENSITY_NEIGHBOR + 1,
        min_reference=DENSITY_NEIGHBOR + 1,
    )

    def measure(self, images: Tensor, labels: Tensor | None) -> list[MetricValue]:
        """Coverage of uint8 images (N, 3, H, W)."""
        _, coverage = self._density_coverage(images)
        over = "real images, neighborhoods and generated ones fixed: a fifth too narrow"
        return self._value(float(coverage.mean()), images, DENSITY_NEIGHBOR, over, interval_of_mean(coverage))


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


def density_and_coverage(features: Tensor, reference: Tensor, k: int = DENSITY_NEIGHBOR) -> tuple[Tensor, Tensor]:
    """Density and coverage (Naeem et al. 2020, eq. 3, 4) of features (N, D) against (M, D), per image.

    Returns:
        For each generated image the number of real k-neighbor balls that contain it, over k, (N,): its mean is the
        density. For each real image whether its ball contains a generated one, (M,): its mean is the coverage.
        float64, on the CPU.

    Raises:
        DataError: too few real images for a k-th neighbor.
    """
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
