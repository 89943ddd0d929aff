"""Builds metrics from the configuration."""

from dataclasses import dataclass

import torch
from torch import Tensor

from gantrain.builders.data import REFERENCE_SEED, check_classes, load_images
from gantrain.config import Config, ConfigError
from gantrain.data import DataSet, ImageSet, PointSet
from gantrain.metrics.inception import InceptionWeights, check_logits, find_inception_weights
from gantrain.metrics.metric import INCEPTION, LABELS, LOGITS, POINTS, Metric, MetricContext, RealImages
from gantrain.metrics.registry import make_metrics, needing
from gantrain.metrics.sampling import default_batch_size
from gantrain.system.distributed import SINGLE_PROCESS, Processes

DEFAULT_POINTS = 2_500
CUDA_SAMPLES, CPU_SAMPLES, CHEAP_SAMPLES = 50_000, 1_024, 10_000
"""Default numbers of samples with the Inception on CUDA, with it on a CPU, and without it."""


@dataclass(frozen=True, slots=True)
class Protocol:
    """The numbers of `metrics.*`, with `null` resolved for the device and the data."""

    names: tuple[str, ...]
    samples: int
    reference_samples: int | None
    every: int
    batch_size: int


def measuring_protocol(config: Config, device: torch.device) -> Protocol:
    """The protocol of measurements: the configured numbers, or the defaults of the device."""
    names, metrics = config.metric_names, config.metrics
    cuda, points = device.type == "cuda", config.data_kind == POINTS
    if points:
        samples, every = DEFAULT_POINTS, max(1, config.schedule.steps // 20)
    elif needing(names, INCEPTION):
        samples, every = (CUDA_SAMPLES, 10_000) if cuda else (CPU_SAMPLES, 0)
    else:
        samples, every = CHEAP_SAMPLES, max(1, config.schedule.steps // 5)
    samples = metrics.samples or samples
    reference = metrics.reference_samples
    if reference is None and not cuda:
        reference = samples
    every = every if metrics.every_steps is None else metrics.every_steps
    return Protocol(names, samples, reference, every, metrics.batch_size or default_batch_size(device))


def find_weights(config: Config) -> InceptionWeights | None:
    """The Inception weights, if a metric needs them.

    Raises:
        WeightsError: they are missing or damaged, or lack the classifier that a metric needs.
    """
    names = config.metric_names
    if not needing(names, INCEPTION):
        return None
    weights = find_inception_weights(config.metrics.inception_weights)
    check_logits(needing(names, LOGITS), weights)
    return weights


def build_metrics(
    config: Config,
    weights: InceptionWeights | None,
    training_set: DataSet,
    device: torch.device,
    processes: Processes = SINGLE_PROCESS,
) -> list[Metric]:
    """The configured metrics, ready to measure.

    Raises:
        ConfigError: more reference images than the set has, or a metric of classes on data without classes.
    """
    protocol = measuring_protocol(config, device)
    if not protocol.names:
        return []
    if isinstance(training_set, PointSet):
        return make_metrics(protocol.names, training_set.density, config.data_kind)
    return build_image_metrics(
        protocol.names,
        _real_images(config, training_set, protocol),
        config.data_kind,
        weights=weights,
        batch_size=protocol.batch_size,
        device=device,
        precision=config.metrics.precision,
        processes=processes,
    )


def build_image_metrics(
    names: tuple[str, ...],
    real: RealImages,
    data: str,
    *,
    weights: InceptionWeights | None,
    batch_size: int | None,
    device: torch.device,
    precision: str,
    bootstrap: int = 0,
    processes: Processes = SINGLE_PROCESS,
) -> list[Metric]:
    """Metrics of images; those that need the Inception share one.

    Args:
        names: names of metrics that fit the data.
        real: the images to compare with.
        data: kind of the data, images or digits.
        weights: the Inception's; None if no metric needs it.
        batch_size: images per forward pass of the Inception; None for the device's default.
        device: where metrics are computed.
        precision: precision of the Inception, see `InceptionFeatures`.
        bootstrap: resamples of a confidence interval; 0 for no intervals.
        processes: the processes that measure together.
    """
    inception = None
    if needing(names, INCEPTION):
        from gantrain.metrics.features import InceptionFeatures

        assert weights is not None, "found before"
        inception = InceptionFeatures(
            weights,
            batch_size=batch_size,
            device=device,
            logits=bool(needing(names, LOGITS)),
            precision=precision,
            processes=processes,
        )
    context = MetricContext(real=real, device=device, bootstrap=bootstrap, inception=inception)
    return make_metrics(names, context, data)


def choose_reference(reference: ImageSet, count: int | None) -> tuple[Tensor, Tensor]:
    """`count` random images of a set and their labels, the same in every run; None for all of them.

    Raises:
        ConfigError: the set has fewer.
    """
    if count is None or count == len(reference):
        return reference.images, reference.labels
    if count > len(reference):
        raise ConfigError(
            f"metrics.reference_samples={count}: {reference.name} has {len(reference)} images; use at most that many "
            "(on a CPU the default is metrics.samples)"
        )
    order = torch.randperm(len(reference), generator=torch.Generator().manual_seed(REFERENCE_SEED))
    return reference.images[order[:count]], reference.labels[order[:count]]


def _real_images(config: Config, training_set: ImageSet, protocol: Protocol) -> RealImages:
    split = config.metrics.reference_split
    reference = training_set if split == "train" else load_images(config, split)
    for_inception = test = None
    if needing(protocol.names, INCEPTION):
        for_inception, _ = choose_reference(reference, protocol.reference_samples)
    labeled = needing(protocol.names, LABELS)
    if labeled:
        check_classes(f"metrics.names={labeled[0]}", training_set, training_set.labels)
        test = load_images(config, "test") if config.data.spec.has_test else None
    return RealImages(reference=reference, train=training_set, test=test, for_inception=for_inception)
