"""From the configuration to the metrics of a run and their protocol."""

from dataclasses import dataclass

import torch
from torch import Tensor

from gantrain.builders.data import REFERENCE_SEED, check_classes, load_images
from gantrain.config import Config, ConfigError
from gantrain.data import DataSet, ImageSet, PointSet
from gantrain.distributed import SINGLE_PROCESS, Processes
from gantrain.metrics.inception import InceptionWeights, find_inception_weights
from gantrain.metrics.inception_metrics import NAMES as INCEPTION_METRICS
from gantrain.metrics.inception_metrics import check_classifier
from gantrain.metrics.metric import Metric, usual_batch_size
from gantrain.metrics.points import PointsMetric
from gantrain.metrics.registry import RealImages, make_metrics

MEASURED_POINTS = 2_500


@dataclass(frozen=True, slots=True)
class Protocol:
    """The metrics' settings, with `null` resolved for the device and the data."""

    names: tuple[str, ...]
    samples: int
    reference_samples: int | None
    every: int
    batch_size: int


def measuring_protocol(config: Config, device: torch.device) -> Protocol:
    """The protocol of a run; keys that are null get values that are affordable on the device."""
    names, metrics = config.metric_names, config.metrics
    cuda = device.type == "cuda"
    by_inception = any(name in INCEPTION_METRICS for name in names)
    points = config.data.spec.points
    samples = metrics.samples or (
        MEASURED_POINTS if points else 10_000 if not by_inception else 50_000 if cuda else 1_024
    )
    reference = metrics.reference_samples
    if reference is None and not cuda:
        reference = samples
    every = metrics.every_steps
    if every is None:
        every = max(1, config.schedule.steps // (20 if points else 5)) if not by_inception else 10_000 if cuda else 0
    return Protocol(names, samples, reference, every, metrics.batch_size or usual_batch_size(device))


def find_weights(config: Config) -> InceptionWeights | None:
    """The Inception's weights if a metric needs them; refuses weights that cannot be used."""
    names = config.metric_names
    if not any(name in INCEPTION_METRICS for name in names):
        return None
    weights = find_inception_weights(config.metrics.inception_weights)
    check_classifier(names, weights)
    return weights


def build_metrics(
    config: Config,
    weights: InceptionWeights | None,
    training_set: DataSet,
    device: torch.device,
    processes: Processes = SINGLE_PROCESS,
) -> list[Metric]:
    """The metrics of a run."""
    protocol = measuring_protocol(config, device)
    if not protocol.names:
        return []
    if isinstance(training_set, PointSet):
        return [PointsMetric(training_set.density)]
    return make_metrics(
        protocol.names,
        real_images(config, training_set, protocol.names, protocol.reference_samples),
        weights=weights,
        batch_size=protocol.batch_size,
        device=device,
        precision=config.metrics.precision,
        processes=processes,
    )


def real_images(
    config: Config, training_set: ImageSet, names: tuple[str, ...], inception_samples: int | None
) -> RealImages:
    """The real images that the metrics compare with.

    Args:
        config: the run's.
        training_set: its training images.
        names: of the metrics.
        inception_samples: number of images for the Inception; None for all.

    Raises:
        ConfigError: the set has fewer images, or no classes although a metric needs them.
    """
    split = config.metrics.reference_split
    reference = training_set if split == "train" else load_images(config, split)
    seen = reference.images
    if any(name in INCEPTION_METRICS for name in names):
        seen, _ = choose_reference(reference, inception_samples)
    held_out = None
    if "classes" in names:
        check_classes("metrics.names=classes", training_set, training_set.labels)
        held_out = load_images(config, "test") if config.data.spec.has_test else None
    return RealImages(reference, seen, training_set, (training_set, held_out))


def choose_reference(reference: ImageSet, count: int | None) -> tuple[Tensor, Tensor]:
    """`count` random images of a set and their labels, the same for every run; all of them for None.

    Raises:
        ConfigError: the set has fewer.
    """
    if count is None or count == len(reference):
        return reference.images, reference.labels
    if count > len(reference):
        raise ConfigError(
            f"metrics.reference_samples={count}: {reference.name} has {len(reference)} images; choose at most as "
            "many (metrics.samples sets it where it is null, on a CPU)"
        )
    order = torch.randperm(len(reference), generator=torch.Generator().manual_seed(REFERENCE_SEED))
    return reference.images[order[:count]], reference.labels[order[:count]]
