"""`python -m gantrain evaluate`: how good and how varied a run's samples are, or images from anywhere."""

import statistics
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from gantrain.build import choose_reference, make_device
from gantrain.commands.figures import free_path, write_figures
from gantrain.commands.trained import TrainedRun, load_run
from gantrain.config import METRIC_NAMES, ConfigError, option
from gantrain.data import ImageSet
from gantrain.data.cifar10 import cifar10_root, load_cifar10, prepare_cifar10
from gantrain.data.digits import load_stacked_digits
from gantrain.data.folder import list_images, load_folder
from gantrain.evidence.bootstrap import LEAST
from gantrain.evidence.fidelity import NAMES as INCEPTION_METRICS
from gantrain.evidence.fidelity import check_classifier
from gantrain.evidence.inception import InceptionWeights, WeightsError, find_inception_weights
from gantrain.evidence.measurement import Measurement, Metric, generate_images
from gantrain.evidence.suite import RealImages, make_metrics

NAMED = ("cifar10", "cifar10-test", "digits", "digits-test")
FEWEST = 10  # images on either side: the Inception Score splits them in ten, density looks for the fifth neighbour


@dataclass(slots=True, kw_only=True)
class Options:
    """Measure quality and variety of a run's samples, or of a folder of images.

    Every figure is written with its protocol to a JSON file of a new name, pictures beside it.
    """

    run: str | None = option(None, "the run's folder, e.g. outputs/DATE/TIME-NAME; or")
    images: str | None = option(None, "a folder of images from anywhere")
    reference: str | None = option(
        None,
        f"real images to compare with: {', '.join(NAMED)} or a folder; null is what the run was measured against",
    )
    metrics: list[str] = option(["auto"], f"of {', '.join(METRIC_NAMES)}; auto is all that can be computed here")
    checkpoint: str = option("last", "of the run: last or best")
    network: str = option("ema", "of the run, the generator: ema or raw")
    samples: int | None = option(None, "null: 50,000 on CUDA, 1,024 on a CPU; of a folder all its images")
    reference_samples: int | None = option(
        None, "real images that the Inception sees; null: all on CUDA, as many as samples on a CPU"
    )
    seed: int = option(0, "of z, or of the choice among a folder's images")
    seeds: int = option(1, "sets of samples, of this seed and those that follow; above 1 figures are mean ± std")
    bootstrap: int = option(0, "resamples behind a 95 % interval of each figure, e.g. 100; 0 is none")
    root: str | None = option(None, "folder of the real data where it is not where the run had it (data.root)")
    image_size: int = option(32, "of images=: height and width in pixels that a folder's images are brought to")
    inception_weights: str | None = option(None, "as metrics.inception_weights of training")
    batch_size: int = option(100, "images a forward pass")
    out: str | None = option(None, "the JSON file; null is a new name in the run's folder, or here for images=")
    device: str = option("auto", "auto, cpu, cuda or cuda:N")

    def __post_init__(self) -> None:
        """Checks names and ranges."""
        if (self.run is None) == (self.images is None):
            raise ConfigError("give run=RUN or images=FOLDER, one of the two")
        if self.images is not None:
            if self.reference is None:
                raise ConfigError(f"images={self.images!r} needs a reference: {', '.join(NAMED)} or a folder")
            if self.seeds != 1:
                raise ConfigError(f"seeds={self.seeds} draws sets of z, and images= has none; use bootstrap=100")
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
        if self.bootstrap and not LEAST <= self.bootstrap <= 10_000:
            raise ConfigError(f"bootstrap={self.bootstrap} must be 0 or lie between {LEAST} and 10000")
        if self.bootstrap and self.seeds > 1:
            raise ConfigError(
                f"bootstrap={self.bootstrap} and seeds={self.seeds} both tell how far figures stray; choose one"
            )
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
    path = free_path(options.out, Path(options.run) if options.run else Path(), _default_name(options, trained))
    data = real_data(options, trained)
    names, weights = resolve_metrics(options, data)
    sets = [images_of(options, trained, data.reference, k, device) for k in range(options.seeds)]
    metrics = make_metrics(
        names,
        replace(data, for_inception=_seen_by_inception(options, data.reference, len(sets[0][0]), device)),
        weights=weights,
        batch_size=options.batch_size,
        device=device,
        bootstrap=options.bootstrap,
    )
    found = over_seeds([_measure(metrics, *images) for images in sets])
    what = _described(options, trained)
    write_figures(path, found, what, metrics, sets[0][0])


def draw_run_samples(
    trained: TrainedRun, count: int, seed: int, *, batch_size: int, device: torch.device
) -> tuple[Tensor, Tensor | None]:
    """Images of the run's generator, uint8 (count, 3, H, W), and the labels (count,) that they were asked for."""
    networks = trained.networks
    return generate_images(
        networks.generator,
        count=count,
        latent_dim=networks.latent_dim,
        prior=networks.prior,
        image_range=networks.image_range,
        batch_size=batch_size,
        seed=seed,
        device=device,
        classes=networks.classes,
    )


def images_of(
    options: Options, trained: TrainedRun | None, reference: ImageSet, k: int, device: torch.device
) -> tuple[Tensor, Tensor | None]:
    """The k-th set of images to measure, uint8 (N, 3, H, W), and their labels (N,) if there are any.

    Raises:
        ConfigError: a folder holds fewer images than are asked for.
        DataError: it is none, or holds what cannot be read.
    """
    if trained is not None:
        count = options.samples or (50_000 if device.type == "cuda" else 1_024)
        return draw_run_samples(trained, count, options.seed + k, batch_size=options.batch_size, device=device)
    given = load_folder(Path(options.images or ""), reference.images.shape[-1], "images")
    count = options.samples or len(given)
    if not FEWEST <= count <= len(given):
        raise ConfigError(
            f"images={options.images!r} holds {len(given)} images, and {max(count, FEWEST)} are wanted; "
            f"at least {FEWEST} can be measured"
        )
    chosen = torch.arange(len(given))
    if count < len(given):
        chosen = torch.randperm(len(given), generator=torch.Generator().manual_seed(options.seed))[:count]
    labels = None
    if set(given.classes) <= set(reference.classes):  # a folder a class: what the images should show
        numbers = torch.tensor([reference.classes.index(name) for name in given.classes])
        labels = numbers[given.labels[chosen]] if len(reference.classes) > 1 else None
    return given.images[chosen].to(device), labels


def real_data(options: Options, trained: TrainedRun | None) -> RealImages:
    """The reference, the training images and those for the classifier, all of them on the CPU.

    Raises:
        ConfigError: the run's data are no images, or too few.
        DataError: the data are not there.
    """
    name, root, size, key = options.reference, options.root, options.image_size, "reference"
    if trained is not None:
        data = trained.config.data
        if data.name not in ("cifar10", "digits", "folder"):
            raise ConfigError(
                f"run={options.run!r} was trained on data={data.name}, which is not made of images; evaluate "
                "measures images"
            )
        size = data.image_size
        if name is None and data.name == "folder":
            name, key = str(root or data.root), "root" if root else "data.root"
        elif name is None:
            split = trained.config.metrics.reference_split
            name, root = data.name if split == "train" else f"{data.name}-{split}", root or data.root
    if options.images is not None:
        list_images(Path(options.images), "images")  # before anything large is read
    assert name is not None, "checked by Options"
    train, test = _load(name, root, size, key)
    reference = test if name.endswith("-test") and test is not None else train
    if len(reference) < FEWEST:
        raise ConfigError(f"{key}={name!r} holds {len(reference)} images; at least {FEWEST} are needed")
    return RealImages(reference, reference.images, train, (train, test))


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


def over_seeds(sets: list[list[Measurement]]) -> list[Measurement]:
    """One set of figures as it is; of several sets the means, with the standard deviation in the protocol."""
    if len(sets) == 1:
        return sets[0]
    found = []
    for of_figure in zip(*sets, strict=True):
        values = [figure.value for figure in of_figure]
        protocol = {**of_figure[0].protocol, "seeds": len(values), "std": statistics.stdev(values)}
        found.append(Measurement(of_figure[0].name, statistics.fmean(values), protocol))
    return found


def _measure(metrics: list[Metric], images: Tensor, labels: Tensor | None) -> list[Measurement]:
    return [figure for metric in metrics for figure in metric.measure(images, labels)]


def _seen_by_inception(options: Options, reference: ImageSet, samples: int, device: torch.device) -> Tensor:
    count = options.reference_samples
    if count is None and device.type != "cuda":
        count = min(samples, len(reference))
    if count is not None and count > len(reference):
        raise ConfigError(f"reference_samples={count}: {reference.name} has {len(reference)} images")
    return choose_reference(reference, count)[0]


def _load(name: str, root: str | None, image_size: int, key: str) -> tuple[ImageSet, ImageSet | None]:
    """Training images, and test images where there is such a split."""
    if name not in NAMED:
        return load_folder(Path(name), image_size, key), None
    if image_size != 32:
        raise ConfigError(f"image_size={image_size}: the images of {name} have 32 pixels; use 32")
    if name.startswith("digits"):
        return load_stacked_digits("train"), load_stacked_digits("test") if name.endswith("-test") else None
    place = cifar10_root(root)
    prepare_cifar10(place)
    return load_cifar10(place, "train"), load_cifar10(place, "test")


def _default_name(options: Options, trained: TrainedRun | None) -> str:
    if trained is None:
        return f"evaluation-{Path(options.images or '').resolve().name}"
    return f"evaluation-step{trained.step}-{trained.network}-seed{options.seed}"


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
