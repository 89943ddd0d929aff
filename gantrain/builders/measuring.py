"""From the configuration to metrics and the protocol that they are measured by."""

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
    """The metrics' numbers, with `null` resolved for the device and the data."""

    names: tuple[str, ...]
    samples: int
    reference_samples: int | None
    every: int
    batch_size: int


def measuring_protocol(config: Config, device: torch.device) -> Protocol:
    """How much is measured, and how often: affordable on the device unless the keys say otherwise."""
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
    """The Inception's weights if a metric needs them, refused here if they do not do."""
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
    """The metrics asked for, ready to measure."""
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
    """What figures of a run are read against; `inception_samples` is None for all.

    Raises:
        ConfigError: the Inception is to see more than there are, or there are no classes to tell apart.
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
    """`count` images of a set and their labels, chosen at random but alike for every run; all of them for None.

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
