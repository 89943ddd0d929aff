"""`gantrain evaluate`: metrics of a run's samples, or of a folder of images, with protocols and intervals."""

import logging
import math
import statistics
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from gantrain.builders import (
    CPU_SAMPLES,
    CUDA_SAMPLES,
    DEFAULT_POINTS,
    build_image_metrics,
    load_density,
    make_device,
)
from gantrain.commands.drawing import check_ratio, draw_samples
from gantrain.commands.evaluation_data import (
    FEWEST,
    REFERENCES,
    choose_inception_images,
    folder_images,
    load_named_data,
    load_run_data,
)
from gantrain.commands.evaluation_files import free_path, write_results
from gantrain.commands.trained import TrainedRun, load_run
from gantrain.config import INCEPTION_PRECISIONS, ConfigError, choice, option
from gantrain.data.folder import list_images
from gantrain.metrics.bootstrap import MIN_RESAMPLES
from gantrain.metrics.inception import InceptionWeights, WeightsError, check_logits, find_inception_weights
from gantrain.metrics.metric import DIGITS, IMAGES, INCEPTION, LABELS, LOGITS, POINTS, Metric, MetricValue, RealImages
from gantrain.metrics.registry import find_specs, make_metrics, metric_names, needing
from gantrain.metrics.rejection import PERCENTILE
from gantrain.options import between

log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class Options:
    """Measure quality and diversity of a run's samples, or of a folder of images.

    All values are written with their protocol to a new JSON file, with figures next to it.
    """

    run: str | None = option(None, "a run's folder, e.g. outputs/DATE/TIME-NAME; or")
    images: str | None = option(None, "a folder of images from anywhere")
    reference: str | None = option(
        None,
        f"real images to compare with: {', '.join(REFERENCES)} or a folder; null: the reference of the run's metrics",
    )
    metrics: list[str] = option(["auto"], f"metrics, of {', '.join(metric_names())}; auto: all that can be computed")
    checkpoint: str = option("last", "checkpoint of the run: last or best")
    network: str = option("ema", "generator of the run: ema or raw")
    samples: int | None = option(
        None, "null: 50,000 on CUDA, 1,024 on a CPU, 2,500 points; with images=: all images of the folder"
    )
    reference_samples: int | None = option(
        None, "real images for Inception metrics; null: all on CUDA, as many as samples on a CPU"
    )
    seed: int = option(0, "seed of z, or of the random choice of images from a folder")
    seeds: int = option(1, "number of sample sets with consecutive seeds; several give mean ± std")
    rejection: bool = option(False, "with run=: also measure after discriminator rejection sampling, see sample")
    percentile: float | None = option(PERCENTILE, "with rejection=true: see sample")
    bootstrap: int = option(0, "resamples for 95 % confidence intervals, at least 20; 0: no intervals")
    root: str | None = option(None, "folder of the real data, if it was moved after the run (data.root)")
    image_size: int = option(32, "with images=: height and width in pixels to which images are resized")
    inception_weights: str | None = option(None, "like metrics.inception_weights")
    batch_size: int | None = option(None, "images per forward pass of the Inception; null: 500 on CUDA, 100 on a CPU")
    precision: str = option("auto", "precision of the Inception: auto, float32 or bf16, like metrics.precision")
    out: str | None = option(None, "the JSON file; null: a new name in the run's folder, or here with images=")
    device: str = option("auto", "auto, cpu, cuda or cuda:N")

    def __post_init__(self) -> None:
        """Checks names, ranges and combinations."""
        if (self.run is None) == (self.images is None):
            raise ConfigError("give either run=RUN or images=FOLDER")
        if self.images is not None:
            self._check_images()
        elif self.image_size != 32:
            raise ConfigError(f"image_size={self.image_size} only applies with images=; leave it out")
        between("samples", self.samples, FEWEST, 10**6)
        between("reference_samples", self.reference_samples, FEWEST, 10**7)
        between("seeds", self.seeds, 1, 100)
        between("seed", self.seed, 0, 2**63 - 101)
        between("image_size", self.image_size, 16, 1024)
        between("batch_size", self.batch_size, 1, 65536)
        between("percentile", self.percentile, 0, 100)
        if self.percentile != PERCENTILE and not self.rejection:
            raise ConfigError("percentile is only used by rejection sampling: set rejection=true, or leave it out")
        if self.bootstrap:
            between("bootstrap", self.bootstrap, MIN_RESAMPLES, 10_000, what="or be 0 for no intervals")
            if self.seeds > 1:
                raise ConfigError(
                    f"bootstrap={self.bootstrap} and seeds={self.seeds} both measure how much values vary; choose one"
                )
        choice("precision", self.precision, INCEPTION_PRECISIONS)
        for name in self.metrics:
            if name not in metric_names() and self.metrics != ["auto"]:
                known = ", ".join(metric_names())
                raise ConfigError(f"metrics={name} is unknown; choose from [{known}], or use auto on its own")
        if not self.metrics or len(set(self.metrics)) < len(self.metrics):
            raise ConfigError(f"metrics={','.join(self.metrics)} must name at least one metric, without repetitions")

    def _check_images(self) -> None:
        if self.reference is None:
            raise ConfigError(f"images={self.images!r} needs a reference: {', '.join(REFERENCES)} or a folder")
        for key, default in (("checkpoint", "last"), ("network", "ema"), ("rejection", False), ("seeds", 1)):
            if getattr(self, key) != default:
                hint = ", or use bootstrap=100" if key == "seeds" else ""
                raise ConfigError(f"{key}={getattr(self, key)} only applies with run=; leave it out{hint}")
        if self.root is not None and not self.reference.startswith("cifar10"):
            raise ConfigError(f"root={self.root!r} only applies with reference=cifar10; leave it out")


def run(options: Options) -> None:
    """Measures, prints a table, and writes values and figures.

    Raises:
        ConfigError: an option that does not fit the run, the images or the reference; an existing output file.
        CheckpointError: no usable checkpoint.
        DataError: images that are missing or cannot be read.
        WeightsError: a metric requested by name needs Inception weights that were not found.
    """
    device = make_device(options.device)
    trained = None
    if options.run is not None:
        trained = load_run(Path(options.run), checkpoint=options.checkpoint, network=options.network, device=device)
        if options.rejection:
            check_ratio(trained, "rejection=true")
    path = free_path(options.out, Path(options.run) if options.run else Path(), _default_name(options, trained))
    if trained is not None and trained.networks.image_range is None:
        metrics = _metrics_of_points(options, trained)
        count = options.samples or DEFAULT_POINTS
        reference_classes = trained.classes
        samples = [_draw(options, trained, count, k, reference_classes) for k in range(options.seeds)]
    else:
        real = _load_real_images(options, trained)
        data = IMAGES if real.reference.mode_classifier is None else DIGITS
        names, weights = choose_metrics(options, real, data)
        count = options.samples or (CUDA_SAMPLES if device.type == "cuda" else CPU_SAMPLES)
        reference_classes = real.reference.classes
        if trained is not None:
            samples = [_draw(options, trained, count, k, reference_classes) for k in range(options.seeds)]
        else:
            assert options.images is not None
            images, labels = folder_images(options.images, real.reference, samples=options.samples, seed=options.seed)
            samples = [(images.to(device), labels)]
        chosen = choose_inception_images(real.reference, options.reference_samples, len(samples[0][0]), device)
        metrics = build_image_metrics(
            names,
            replace(real, for_inception=chosen),
            data,
            weights=weights,
            batch_size=options.batch_size,
            device=device,
            precision=options.precision,
            bootstrap=options.bootstrap,
        )
    values = over_seeds([_measure(metrics, *images) for images in samples])
    if options.rejection:
        assert trained is not None, "checked by Options"
        values += _after_rejection(options, trained, metrics, count, reference_classes)
    write_results(path, values, _description(options, trained), metrics, samples[0][0])


def choose_metrics(options: Options, real: RealImages, data: str) -> tuple[tuple[str, ...], InceptionWeights | None]:
    """The metrics to compute, and the Inception's weights if they need them; `auto` logs what it leaves out.

    Raises:
        ConfigError: a metric requested by name cannot be computed on these data.
        WeightsError: a metric requested by name needs weights that were not found.
    """
    auto = options.metrics == ["auto"]
    names = metric_names(data) if auto else tuple(options.metrics)
    fitting = metric_names(data)
    reasons = {name: f"it cannot be computed on {data}" for name in names if name not in fitting}
    if len(real.train.classes) < 2:
        reason = f"{real.train.name} has no classes (in a folder of images each subfolder is a class)"
        reasons |= dict.fromkeys(needing(names, LABELS), reason)
    weights = None
    if needing(names, INCEPTION):
        try:
            weights = find_inception_weights(options.inception_weights)
            check_logits(needing(names, LOGITS), weights)
        except WeightsError as error:
            if not auto:
                raise
            reasons |= dict.fromkeys(needing(names, LOGITS if weights else INCEPTION), str(error))
    if reasons and not auto:
        name, reason = next(iter(reasons.items()))
        raise ConfigError(f"metrics={name}: {reason}; leave it out")
    for reason in dict.fromkeys(reasons.values()):
        log.warning("without %s: %s", ", ".join(name for name, why in reasons.items() if why == reason), reason)
    return tuple(name for name in names if name not in reasons), weights


def over_seeds(sets: list[list[MetricValue]]) -> list[MetricValue]:
    """The mean of each value over several sample sets, with the standard deviation in its protocol."""
    if len(sets) == 1:
        return sets[0]
    means = []
    for same in zip(*sets, strict=True):
        numbers = [value.value for value in same]
        std = statistics.stdev(numbers) if all(map(math.isfinite, numbers)) else math.nan
        protocol = {**same[0].protocol, "seeds": len(numbers), "std": std}
        means.append(MetricValue(same[0].name, statistics.fmean(numbers), protocol))
    return means


def _load_real_images(options: Options, trained: TrainedRun | None) -> RealImages:
    if trained is not None:
        return load_run_data(trained, options.reference, options.root)
    assert options.images is not None
    assert options.reference is not None
    list_images(Path(options.images), "images")  # fails early if there are none
    return load_named_data(options.reference, options.root, options.image_size)


def _metrics_of_points(options: Options, trained: TrainedRun) -> list[Metric]:
    """The metrics of a run of points.

    Raises:
        ConfigError: a metric of images, a reference, a bootstrap or too few samples.
    """
    name = trained.config.data.name
    for metric in options.metrics:
        if metric not in ("auto", *metric_names(POINTS)):
            known = ", ".join(metric_names(POINTS))
            raise ConfigError(f"metrics={metric} cannot be computed on points (data={name}); choose from [{known}]")
    for key in ("reference", "bootstrap"):
        if getattr(options, key):
            raise ConfigError(
                f"{key}={getattr(options, key)} is for images; points are compared with their density: leave {key} "
                "out (seeds=3 measures the variation)"
            )
    names = metric_names(POINTS) if options.metrics == ["auto"] else tuple(options.metrics)
    for spec in find_specs(names, POINTS):
        between("samples", options.samples, spec.min_samples, 10**6, what=f"{spec.name} needs that many")
    return make_metrics(names, load_density(trained.config), POINTS)


def _draw(
    options: Options, trained: TrainedRun, count: int, k: int, reference_classes: tuple[str, ...]
) -> tuple[Tensor, Tensor | None]:
    """The k-th sample set: uint8 images or points, and the labels given to the generator, if any."""
    latents, images = draw_samples(trained, count, options.seed + k)
    return images, match_labels(latents.labels, trained.classes, reference_classes)


def match_labels(labels: Tensor | None, classes: tuple[str, ...], reference: tuple[str, ...]) -> Tensor | None:
    """Labels as indices of the reference's classes, matched by name; None if it lacks any of the run's classes."""
    if labels is None or not set(classes) <= set(reference):
        return None
    return torch.tensor([reference.index(name) for name in classes], device=labels.device)[labels]


def _after_rejection(
    options: Options, trained: TrainedRun, metrics: list[Metric], count: int, reference_classes: tuple[str, ...]
) -> list[MetricValue]:
    """The same values for samples accepted by discriminator rejection sampling."""
    sets, acceptances = [], []
    for k in range(options.seeds):
        seed = options.seed + k
        latents, images = draw_samples(trained, count, seed, rejection=True, percentile=options.percentile)
        assert latents.acceptance is not None
        labels = match_labels(latents.labels, trained.classes, reference_classes)
        sets.append(_measure(metrics, images, labels))
        acceptances.append(latents.acceptance)
    protocol = {
        "rejection_percentile": "none" if options.percentile is None else options.percentile,
        "accepted": round(statistics.fmean(acceptances), 4),
    }
    return [
        replace(value, name=f"{value.name}_rejection", protocol={**value.protocol, **protocol})
        for value in over_seeds(sets)
    ]


def _measure(metrics: list[Metric], images: Tensor, labels: Tensor | None) -> list[MetricValue]:
    return [value for metric in metrics for value in metric.measure(images, labels)]


def _default_name(options: Options, trained: TrainedRun | None) -> str:
    if trained is None:
        return f"evaluation-{Path(options.images or '').resolve().name}"
    last = options.seed + options.seeds - 1
    seeds = f"seed{options.seed}" if options.seeds == 1 else f"seeds{options.seed}to{last}"
    return f"evaluation-step{trained.step}-{trained.network}-{seeds}"


def _description(options: Options, trained: TrainedRun | None) -> dict[str, object]:
    if trained is None:
        return {"images": options.images, "seed": options.seed}
    return {
        "run": options.run,
        "checkpoint": trained.checkpoint,
        "step": trained.step,
        "network": trained.network,
        "seed": options.seed,
        "seeds": options.seeds,
    }
