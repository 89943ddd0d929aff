"""`python -m gantrain evaluate`: how good and how varied a run's samples are, or images from anywhere."""

import math
import statistics
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from gantrain.builders import MEASURED_POINTS, load_density, make_device
from gantrain.commands.drawing import check_ratio, draw_samples
from gantrain.commands.evaluation_data import (
    FEWEST,
    REFERENCES,
    data_named,
    data_of_run,
    folder_images,
    seen_by_inception,
)
from gantrain.commands.evaluation_files import free_path, write_figures
from gantrain.commands.trained import TrainedRun, load_run
from gantrain.config import INCEPTION_PRECISIONS, METRIC_NAMES, ConfigError, choice, option
from gantrain.data.folder import list_images
from gantrain.metrics.bootstrap import LEAST
from gantrain.metrics.inception import InceptionWeights, WeightsError, find_inception_weights
from gantrain.metrics.inception_metrics import NAMES as INCEPTION_METRICS
from gantrain.metrics.inception_metrics import check_classifier
from gantrain.metrics.metric import Metric, MetricValue
from gantrain.metrics.points import NEIGHBOURS, PointsMetric
from gantrain.metrics.registry import RealImages, make_metrics
from gantrain.metrics.rejection import PERCENTILE


@dataclass(slots=True, kw_only=True)
class Options:
    """Measure quality and variety of a run's samples, or of a folder of images.

    Every figure is written with its protocol to a JSON file of a new name, pictures beside it.
    """

    run: str | None = option(None, "the run's folder, e.g. outputs/DATE/TIME-NAME; or")
    images: str | None = option(None, "a folder of images from anywhere")
    reference: str | None = option(
        None,
        f"real images to compare with: {', '.join(REFERENCES)} or a folder; null is what the run was measured against",
    )
    metrics: list[str] = option(["auto"], f"of {', '.join(METRIC_NAMES)}; auto is all that can be computed here")
    checkpoint: str = option("last", "of the run: last or best")
    network: str = option("ema", "of the run, the generator: ema or raw")
    samples: int | None = option(None, "null: 50,000 on CUDA, 1,024 on a CPU, 2,500 points; of a folder all its images")
    reference_samples: int | None = option(
        None, "real images that the Inception sees; null: all on CUDA, as many as samples on a CPU"
    )
    seed: int = option(0, "of z, or of the choice among a folder's images")
    seeds: int = option(1, "sets of samples, of this seed and those that follow; above 1 figures are mean ± std")
    rejection: bool = option(False, "of a run: also the figures after discriminator rejection sampling, see sample")
    percentile: float | None = option(PERCENTILE, "of rejection: see sample")
    bootstrap: int = option(0, "resamples behind a 95 % interval of each figure, 20 or more; 0 is none")
    root: str | None = option(None, "folder of the real data where it is not where the run had it (data.root)")
    image_size: int = option(32, "of images=: height and width in pixels that a folder's images are brought to")
    inception_weights: str | None = option(None, "as metrics.inception_weights of training")
    batch_size: int | None = option(None, "images a forward pass of the Inception; null: 500 on CUDA, 100 on a CPU")
    precision: str = option("auto", "of the Inception: auto, float32 or bf16, as metrics.precision of training")
    out: str | None = option(None, "the JSON file; null is a new name in the run's folder, or here for images=")
    device: str = option("auto", "auto, cpu, cuda or cuda:N")

    def __post_init__(self) -> None:
        """Checks names and ranges."""
        if (self.run is None) == (self.images is None):
            raise ConfigError("give run=RUN or images=FOLDER, one of the two")
        if self.images is not None:
            if self.reference is None:
                raise ConfigError(f"images={self.images!r} needs a reference: {', '.join(REFERENCES)} or a folder")
            for key, usual in (("checkpoint", "last"), ("network", "ema")):
                if getattr(self, key) != usual:
                    raise ConfigError(f"{key}={getattr(self, key)} is of run=RUN, and images= has none: leave it out")
            if self.root is not None and self.reference is not None and not self.reference.startswith("cifar10"):
                raise ConfigError(f"root={self.root!r} is where reference=cifar10 lies: leave it out")
            if self.rejection:
                raise ConfigError("rejection=true needs the discriminator of run=RUN, and images= has none")
            if self.seeds != 1:
                raise ConfigError(f"seeds={self.seeds} draws sets of z, and images= has none; use bootstrap=100")
        elif self.image_size != 32:
            raise ConfigError(f"image_size={self.image_size} is of images=; a run's images have its own: leave it out")
        for key, value, low, high in (
            ("samples", self.samples, FEWEST, 10**6),
            ("reference_samples", self.reference_samples, FEWEST, 10**7),
            ("seeds", self.seeds, 1, 100),
            ("seed", self.seed, 0, 2**63 - 101),
            ("image_size", self.image_size, 16, 1024),
            ("batch_size", self.batch_size, 1, 65536),
        ):
            if value is not None and not low <= value <= high:
                raise ConfigError(f"{key}={value} must lie between {low} and {high}")
        if self.percentile is not None and not 0 <= self.percentile <= 100:
            raise ConfigError(f"percentile={self.percentile:g} must lie between 0 and 100, or be null")
        if self.percentile != PERCENTILE and not self.rejection:
            raise ConfigError("percentile is of rejection sampling: set rejection=true, or leave it out")
        if self.bootstrap and not LEAST <= self.bootstrap <= 10_000:
            raise ConfigError(f"bootstrap={self.bootstrap} must be 0 or lie between {LEAST} and 10000")
        if self.bootstrap and self.seeds > 1:
            raise ConfigError(
                f"bootstrap={self.bootstrap} and seeds={self.seeds} both tell how far figures stray; choose one"
            )
        choice("precision", self.precision, INCEPTION_PRECISIONS)
        self._check_metrics()

    def _check_metrics(self) -> None:
        for name in self.metrics:
            if name not in METRIC_NAMES and self.metrics != ["auto"]:
                raise ConfigError(
                    f"metrics={name} is not known; choose from [{', '.join(METRIC_NAMES)}], or auto alone"
                )
        if not self.metrics or len(set(self.metrics)) < len(self.metrics):
            raise ConfigError(f"metrics={','.join(self.metrics)} must name each metric once, and at least one")


def run(options: Options) -> None:
    """Prints a table of figures, writes them with their protocols, and pictures.

    Raises:
        ConfigError: a value that does not fit the run, the images or the reference; a file that exists.
        CheckpointError: no usable checkpoint.
        DataError: images that are not there or cannot be read.
        WeightsError: a metric that was named needs Inception weights that are not there.
    """
    device = make_device(options.device)
    trained = None
    if options.run is not None:
        trained = load_run(Path(options.run), checkpoint=options.checkpoint, network=options.network, device=device)
        if options.rejection:
            check_ratio(trained, "rejection=true")
    path = free_path(options.out, Path(options.run) if options.run else Path(), _default_name(options, trained))
    if trained is not None and trained.networks.image_range is None:
        metrics: list[Metric] = [_metric_of_points(options, trained)]
        count = options.samples or MEASURED_POINTS
        known = trained.classes
        sets = [_drawn(options, trained, count, k, known) for k in range(options.seeds)]
    else:
        data = _real_data(options, trained)
        names, weights = resolve_metrics(options, data)
        count = options.samples or (50_000 if device.type == "cuda" else 1_024)
        if trained is not None:
            known = data.reference.classes
            sets = [_drawn(options, trained, count, k, known) for k in range(options.seeds)]
        else:
            assert options.images is not None
            images, labels = folder_images(options.images, data.reference, samples=options.samples, seed=options.seed)
            sets = [(images.to(device), labels)]
        seen = seen_by_inception(data.reference, options.reference_samples, len(sets[0][0]), device)
        metrics = make_metrics(
            names,
            replace(data, for_inception=seen),
            weights=weights,
            batch_size=options.batch_size,
            device=device,
            precision=options.precision,
            bootstrap=options.bootstrap,
        )
    found = over_seeds([_measure(metrics, *images) for images in sets])
    if options.rejection:
        assert trained is not None, "checked by Options"
        found += _after_rejection(options, trained, metrics, count, known)
    write_figures(path, found, _described(options, trained), metrics, sets[0][0])


def _real_data(options: Options, trained: TrainedRun | None) -> RealImages:
    if trained is not None:
        return data_of_run(trained, options.reference, options.root)
    assert options.images is not None
    assert options.reference is not None
    list_images(Path(options.images), "images")  # before anything large is read
    return data_named(options.reference, options.root, options.image_size)


def _metric_of_points(options: Options, trained: TrainedRun) -> PointsMetric:
    """What points are measured by.

    Raises:
        ConfigError: another metric, a reference or a bootstrap is asked for.
    """
    name = trained.config.data.name
    for metric in options.metrics:
        if metric not in ("auto", "modes"):
            raise ConfigError(f"metrics={metric} is measured on images, and data={name} is made of points: take modes")
    if options.samples is not None and options.samples <= NEIGHBOURS:
        raise ConfigError(f"samples={options.samples} must be above {NEIGHBOURS}: KL looks for that many neighbors")
    for key in ("reference", "bootstrap"):
        if getattr(options, key):
            raise ConfigError(
                f"{key}={getattr(options, key)} is for images; points are compared with their density, and seeds=3 "
                f"tells how far the figures stray: leave {key} out"
            )
    return PointsMetric(load_density(trained.config))


def _drawn(
    options: Options, trained: TrainedRun, count: int, k: int, known: tuple[str, ...]
) -> tuple[Tensor, Tensor | None]:
    """The k-th set of samples: uint8 images or points, and the labels that they were asked for, if any."""
    drawing = draw_samples(trained, count, options.seed + k)
    return drawing.images, _known_labels(trained, drawing.labels, known)


def _known_labels(trained: TrainedRun, labels: Tensor | None, known: tuple[str, ...]) -> Tensor | None:
    """The labels by their places among the reference's classes; None where it has not all of the run's."""
    if labels is None or not set(trained.classes) <= set(known):
        return None
    places = torch.tensor([known.index(name) for name in trained.classes], device=labels.device)
    return places[labels]


def _after_rejection(
    options: Options, trained: TrainedRun, metrics: list[Metric], count: int, known: tuple[str, ...]
) -> list[MetricValue]:
    """The same figures of samples that the discriminator has chosen among."""
    sets, kept = [], []
    for k in range(options.seeds):
        drawing = draw_samples(trained, count, options.seed + k, rejection=True, percentile=options.percentile)
        assert drawing.acceptance is not None
        sets.append(_measure(metrics, drawing.images, _known_labels(trained, drawing.labels, known)))
        kept.append(drawing.acceptance)
    note = {"rejection_percentile": "none" if options.percentile is None else options.percentile}
    note["accepted"] = round(statistics.fmean(kept), 4)
    return [
        replace(figure, name=f"{figure.name}_rejection", protocol={**figure.protocol, **note})
        for figure in over_seeds(sets)
    ]


def resolve_metrics(options: Options, data: RealImages) -> tuple[tuple[str, ...], InceptionWeights | None]:
    """The metrics to compute and the Inception's weights where they need them; `auto` says what it leaves out.

    Raises:
        ConfigError: a metric that was named cannot be computed on these data.
        WeightsError: one that was named needs weights that are not there.
    """
    auto = options.metrics == ["auto"]
    names = METRIC_NAMES if auto else tuple(options.metrics)
    digits, classes = data.reference.name.startswith("digits-"), len(data.train.classes)
    without = {}
    if not digits:
        without["modes"] = f"modes are counted on digits, not on {data.reference.name}"
    if digits:
        without["classes"] = "the thousand modes of digits are read digit by digit: modes has them"
    elif classes < 2:
        without["classes"] = f"{data.train.name} has no classes (a folder's are the folders inside it)"
    weights = None
    if any(name in INCEPTION_METRICS for name in names):
        try:
            weights = find_inception_weights(options.inception_weights)
            if not auto:
                check_classifier(names, weights)
            elif not weights.has_classifier:
                without["inception_score"] = f"the weights of {weights.origin} hold no classifier"
        except WeightsError as error:
            if not auto:
                raise
            without |= dict.fromkeys(INCEPTION_METRICS, str(error))
    if not auto:
        for name in names:
            if name in without:
                raise ConfigError(f"metrics={name}: {without[name]}; leave it out")
    for reason in dict.fromkeys(without.values() if auto else ()):
        left_out = [name for name, why in without.items() if why == reason]
        print(f"gantrain: without {', '.join(left_out)}: {reason}", file=sys.stderr)
    return tuple(name for name in names if name not in without), weights


def over_seeds(sets: list[list[MetricValue]]) -> list[MetricValue]:
    """One set of figures as it is; of several sets the means, with the standard deviation in the protocol."""
    if len(sets) == 1:
        return sets[0]
    found = []
    for of_figure in zip(*sets, strict=True):
        values = [figure.value for figure in of_figure]
        protocol = {**of_figure[0].protocol, "seeds": len(values), "std": _spread(values)}
        found.append(MetricValue(of_figure[0].name, statistics.fmean(values), protocol))
    return found


def _spread(values: list[float]) -> float:
    """The standard deviation, NaN where a value is not finite."""
    return statistics.stdev(values) if all(map(math.isfinite, values)) else math.nan


def _measure(metrics: list[Metric], images: Tensor, labels: Tensor | None) -> list[MetricValue]:
    return [figure for metric in metrics for figure in metric.measure(images, labels)]


def _default_name(options: Options, trained: TrainedRun | None) -> str:
    if trained is None:
        return f"evaluation-{Path(options.images or '').resolve().name}"
    last = options.seed + options.seeds - 1
    seeds = f"seed{options.seed}" if options.seeds == 1 else f"seeds{options.seed}to{last}"
    return f"evaluation-step{trained.step}-{trained.network}-{seeds}"


def _described(options: Options, trained: TrainedRun | None) -> dict[str, object]:
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
