"""The metrics by their names in `metrics.names`, made ready to measure."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from gantrain.data import ImageSet
from gantrain.distributed import SINGLE_PROCESS, Processes
from gantrain.metrics.classes import ClassesMetric
from gantrain.metrics.classifier import classifier_of
from gantrain.metrics.colors import ColorsMetric
from gantrain.metrics.features import InceptionFeatures
from gantrain.metrics.folded_inception import FEATURES
from gantrain.metrics.inception import InceptionWeights
from gantrain.metrics.inception_metrics import NAMES as INCEPTION_METRICS
from gantrain.metrics.inception_metrics import InceptionMetric
from gantrain.metrics.memorization import NeighborsMetric
from gantrain.metrics.metric import Metric
from gantrain.metrics.modes import ModesMetric

NAMES = (*INCEPTION_METRICS, "modes", "classes", "colors", "duplicates", "neighbors")


@dataclass(frozen=True, slots=True)
class RealImages:
    """The real images that figures are read against.

    Attributes:
        reference: what generated images are compared with.
        for_inception: as much of it as passes through the Inception, uint8 (N, 3, H, W).
        train: what the generator was trained on, where copies are looked for.
        classified: labeled images that the classifier is trained on, and those it is tested on, None for a fifth.
    """

    reference: ImageSet
    for_inception: Tensor
    train: ImageSet
    classified: tuple[ImageSet, ImageSet | None]


def make_metrics(
    names: tuple[str, ...],
    real: RealImages,
    *,
    weights: InceptionWeights | None,
    batch_size: int | None = None,
    device: torch.device,
    precision: str = "auto",
    bootstrap: int = 0,
    processes: Processes = SINGLE_PROCESS,
) -> list[Metric]:
    """The metrics of these NAMES; the first one's headline tells which generator is best.

    Args:
        names: which of NAMES.
        real: what to compare with.
        weights: the Inception's, where one of the names needs it.
        batch_size: images a forward pass of the Inception; None for what suits the device.
        device: where the work is done.
        precision: of the Inception, see `InceptionFeatures`.
        bootstrap: resamples behind each interval; 0 for no intervals.
        processes: those that measure together, see `InceptionFeatures`.
    """
    metrics: list[Metric] = []
    reference, train = real.reference, real.train
    by_inception = tuple(name for name in names if name in INCEPTION_METRICS)
    inception = None
    if by_inception:
        assert weights is not None, "found before"
        inception = InceptionFeatures(
            weights,
            batch_size=batch_size,
            device=device,
            logits="inception_score" in by_inception,
            precision=precision,
            processes=processes,
        )
        metrics.append(
            InceptionMetric(
                by_inception,
                inception,
                reference=real.for_inception,
                reference_name=reference.name,
                bootstrap=bootstrap,
            )
        )
    if "modes" in names:
        metrics.append(ModesMetric(bootstrap=bootstrap))
    if "classes" in names:
        classifier = classifier_of(*real.classified, device)
        metrics.append(ClassesMetric(classifier, real.classified[0].classes, bootstrap=bootstrap))
    if "colors" in names:
        metrics.append(ColorsMetric(reference.images, reference.name, bootstrap=bootstrap))
    of_copies = tuple(name for name in names if name in ("duplicates", "neighbors"))
    if of_copies:
        whole = real.for_inception is train.images
        embed = _embedding(inception, train) if inception is not None and whole else None
        metrics.append(
            NeighborsMetric(of_copies, train.images, train.name, embed=embed, device=device, bootstrap=bootstrap)
        )
    return metrics


def _embedding(inception: InceptionFeatures, train: ImageSet) -> Callable[[Tensor], Tensor]:
    """Images to features, those of the training set from the cache."""

    def embed(images: Tensor) -> Tensor:
        known = images is train.images
        return inception.of_reference(images, train.name) if known else inception.of(images)[FEATURES]

    return embed
