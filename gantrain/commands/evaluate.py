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
    choose_reference,
    load_density,
    make_device,
)
from gantrain.commands.drawing import check_ratio, draw_samples
from gantrain.commands.evaluation_files import free_path, write_results
from gantrain.commands.trained import TrainedRun, load_run
from gantrain.config import INCEPTION_PRECISIONS, ConfigError, choice, option
from gantrain.data import DATASETS, ImageSet
from gantrain.data.folder import list_images, load_folder
from gantrain.metrics.bootstrap import MIN_RESAMPLES
from gantrain.metrics.inception import InceptionWeights, WeightsError, check_logits, find_inception_weights
from gantrain.metrics.metric import DIGITS, IMAGES, INCEPTION, LABELS, LOGITS, POINTS, Metric, MetricValue, RealImages
from gantrain.metrics.registry import find_specs, make_metrics, metric_names, needing
from gantrain.metrics.rejection import PERCENTILE
from gantrain.options import between

log = logging.getLogger(__name__)

REFERENCES = {
    f"{spec.name}{'' if split == 'train' else '-test'}": (spec, split)
    for spec in DATASETS
    if not spec.points and not spec.needs_root
    for split in spec.splits
}
"""Data sets that `reference` can name, with the split."""
FEWEST = 10
"""Generated and real images on which every metric can be computed."""


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
    if options.images is not None:
        _evaluate_folder(options, options.images, device)
    else:
        assert options.run is not None, "checked by Options"
        _evaluate_run(options, Path(options.run), device)


def _evaluate_folder(options: Options, folder: str, device: torch.device) -> None:
    path = free_path(options.out, Path(), f"evaluation-{Path(folder).resolve().name}")
    list_images(Path(folder), "images")  # fails early if there are none
    real = load_real_images(options, None)
    names, weights = choose_metrics(options, real, _kind(real))
    images = load_folder(Path(folder), options.image_size, "images")
    count = options.samples or len(images)
    if not FEWEST <= count <= len(images):
        raise ConfigError(
            f"images={folder!r} contains {len(images)} images, but {max(count, FEWEST)} are needed (the minimum is "
            f"{FEWEST})"
        )
    chosen = torch.arange(count)
    if count < len(images):
        chosen = torch.randperm(len(images), generator=torch.Generator().manual_seed(options.seed))[:count]
    labels = match_labels(images.labels[chosen], images.classes, real.reference.classes)
    samples = images.images[chosen].to(device)
    metrics = _image_metrics(options, names, weights, real, count, device)
    values = [value for metric in metrics for value in metric.measure(samples, labels)]
    write_results(path, values, {"images": folder, "seed": options.seed}, metrics, samples)


def _evaluate_run(options: Options, folder: Path, device: torch.device) -> None:
    trained = load_run(folder, checkpoint=options.checkpoint, network=options.network, device=device)
    if options.rejection:
        check_ratio(trained, "rejection=true")
    last = options.seed + options.seeds - 1
    seeds = f"seed{options.seed}" if options.seeds == 1 else f"seeds{options.seed}to{last}"
    path = free_path(options.out, folder, f"evaluation-step{trained.step}-{trained.network}-{seeds}")
    if trained.networks.image_range is None:
        metrics, classes = _point_metrics(options, trained), trained.classes
        count = options.samples or DEFAULT_POINTS
    else:
        real = load_real_images(options, trained)
        names, weights = choose_metrics(options, real, _kind(real))
        count = options.samples or (CUDA_SAMPLES if device.type == "cuda" else CPU_SAMPLES)
        metrics, classes = _image_metrics(options, names, weights, real, count, device), real.reference.classes
    values, images = _measure_run(options, trained, metrics, count, classes)
    if options.rejection:
        values += _measure_run(options, trained, metrics, count, classes, rejection=True)[0]
    description = {
        "run": options.run,
        "checkpoint": trained.checkpoint,
        "step": trained.step,
        "network": trained.network,
        "seed": options.seed,
        "seeds": options.seeds,
    }
    write_results(path, values, description, metrics, images)


def load_real_images(options: Options, trained: TrainedRun | None) -> RealImages:
    """The run's own data, or the reference, with the images for the classifier, on the CPU.

    Raises:
        ConfigError: too few images, or of another size.
        DataError: the data are missing.
    """
    if trained is not None and options.reference is None:
        data, split = trained.config.data, trained.config.metrics.reference_split
        spec, shown = data.spec, f"data={data.name}"
        image_options = replace(data.options, root=options.root or data.root)
    else:
        name, shown = options.reference or "", f"reference={options.reference!r}"
        size = options.image_size if trained is None else trained.config.data.image_size
        if name not in REFERENCES:
            images = load_folder(Path(name), size, "reference")
            _check_count(images, shown)
            return RealImages(reference=images, train=images)
        spec, split = REFERENCES[name]
        if spec.image_size not in (None, size):
            raise ConfigError(
                f"image_size={size}: the images of {name} have {spec.image_size} pixels; use {spec.image_size}"
            )
        image_options = spec.options(root=options.root, image_size=size)
    spec.prepare(image_options)
    train, test = spec.load(image_options, "train"), None
    if spec.has_test and (split == "test" or not spec.labels_are_modes):  # the classifier is for classes
        test = spec.load(image_options, "test")
    assert isinstance(train, ImageSet), "points are measured without other points"
    assert test is None or isinstance(test, ImageSet)
    reference = test if split == "test" and test is not None else train
    _check_count(reference, shown)
    return RealImages(reference=reference, train=train, test=test)


def _check_count(images: ImageSet, shown: str) -> None:
    if len(images) < FEWEST:
        raise ConfigError(f"{shown} has {len(images)} images; at least {FEWEST} are needed")


def _kind(real: RealImages) -> str:
    return IMAGES if real.reference.mode_classifier is None else DIGITS


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


def _image_metrics(
    options: Options,
    names: tuple[str, ...],
    weights: InceptionWeights | None,
    real: RealImages,
    samples: int,
    device: torch.device,
) -> list[Metric]:
    """The metrics; on a CPU those of the Inception compare with a part of the reference."""
    reference, count = real.reference, options.reference_samples
    if count is None and device.type != "cuda":
        count = min(samples, len(reference))
    if count is not None and count > len(reference):
        raise ConfigError(f"reference_samples={count}: {reference.name} has {len(reference)} images")
    return build_image_metrics(
        names,
        replace(real, for_inception=choose_reference(reference, count)[0]),
        _kind(real),
        weights=weights,
        batch_size=options.batch_size,
        device=device,
        precision=options.precision,
        bootstrap=options.bootstrap,
    )


def _point_metrics(options: Options, trained: TrainedRun) -> list[Metric]:
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


def _measure_run(
    options: Options,
    trained: TrainedRun,
    metrics: list[Metric],
    count: int,
    classes: tuple[str, ...],
    *,
    rejection: bool = False,
) -> tuple[list[MetricValue], Tensor]:
    """The values over all seeds, and the images of the first; with rejection of samples that D accepts.

    `classes` are those of the reference.
    """
    sets, acceptances, first = [], [], None
    for seed in range(options.seed, options.seed + options.seeds):
        latents, images = draw_samples(trained, count, seed, rejection=rejection, percentile=options.percentile)
        labels = match_labels(latents.labels, trained.classes, classes)
        sets.append([value for metric in metrics for value in metric.measure(images, labels)])
        acceptances.append(latents.acceptance or 0.0)
        first = images if first is None else first
    assert first is not None, "at least one seed"
    values = over_seeds(sets)
    if rejection:
        protocol = {
            "rejection_percentile": "none" if options.percentile is None else options.percentile,
            "accepted": round(statistics.fmean(acceptances), 4),
        }
        values = [replace(v, name=f"{v.name}_rejection", protocol={**v.protocol, **protocol}) for v in values]
    return values, first


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


def match_labels(labels: Tensor | None, classes: tuple[str, ...], reference: tuple[str, ...]) -> Tensor | None:
    """Labels as indices of the reference's classes, matched by name; None if it lacks any of the run's classes."""
    if labels is None or not set(classes) <= set(reference):
        return None
    return torch.tensor([reference.index(name) for name in classes], device=labels.device)[labels]
