"""`python -m gantrain sample run=RUN`: samples of a trained generator as a grid, files, arrays or an animation."""

import logging
import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from gantrain.atomic_io import create_atomically
from gantrain.builders import CLASSES_IN_A_GRID, MAPPED_POINTS, make_device
from gantrain.commands import sample_formats as formats
from gantrain.commands.drawing import Latents, check_ratio, check_truncation, choose_latents, ranked, with_log_ratio
from gantrain.commands.trained import TrainedRun, check_images, load_run
from gantrain.config import ConfigError, option
from gantrain.metrics.rejection import PERCENTILE
from gantrain.networks.latent_paths import interpolate

ENDINGS = {"grid": ".png", "png": "", "npz": ".npz", "gif": ".gif", "mp4": ".mp4"}
"""Ending of `out`, by format; single PNGs are written into a folder."""
ANIMATIONS = ("gif", "mp4")
MAX_IMAGES = {"grid": 10_000, "png": 1_000_000, "npz": 100_000, "gif": 64, "mp4": 64}
"""Largest number of images, by format."""

log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class Options:
    """Draw images or points from a trained run, from its checkpoint only."""

    run: str = option(..., "the run's folder, e.g. outputs/DATE/TIME-NAME")
    n: int | None = option(
        None,
        "number of images (null: 64), points, rows of interpolate or images of walk; of each class in a grid (null: 8)",
    )
    seed: int = option(0, "seed of z")
    class_: str | None = option(None, "class by name or number; null: the first ten in a grid, one per row, else all")
    network: str = option("ema", "generator: ema or raw")
    checkpoint: str = option("last", "last or best")
    device: str = option("auto", "auto, cpu, cuda or cuda:N")
    out: str | None = option(None, "file or folder to write; null is a new name in the run's samples/")
    format: str | None = option(
        None, "grid, png (a folder of files), npz, gif or mp4; null: by the ending of out, else grid, or gif for walk"
    )
    truncation: float | None = option(None, "limit of |z| for the normal prior: nearer to the mean, with less variety")
    rank: str | None = option(None, "log_ratio: sort by the discriminator's log q/p, most realistic first")
    rejection: bool = option(False, "discriminator rejection sampling: accept samples by their q/p")
    percentile: float | None = option(
        PERCENTILE,
        "rejection: percentile of q/p at which half of the draws are accepted; null: accept with r/M, exact if r is",
    )
    interpolate: int | None = option(None, "number of columns of a grid whose rows interpolate between two z")
    walk: float | None = option(None, "length in seconds of an animation on a closed walk through z")

    def __post_init__(self) -> None:
        """Checks ranges and combinations of keys."""
        if self.n is not None and not 1 <= self.n <= max(MAX_IMAGES.values()):
            raise ConfigError(f"n={self.n} must lie between 1 and {max(MAX_IMAGES.values())}")
        if not 0 <= self.seed < 2**63:
            raise ConfigError(f"seed={self.seed} must lie between 0 and 2**63 - 1")
        if self.format is not None and self.format not in ENDINGS:
            raise ConfigError(f"format={self.format!r} is not known; choose one of [{', '.join(ENDINGS)}]")
        if self.truncation is not None and not 0 < self.truncation <= 100:
            raise ConfigError(f"truncation={self.truncation:g} must lie in (0, 100]; 2 is mild, 0.5 strong")
        if self.rank not in (None, "log_ratio"):
            raise ConfigError(f"rank={self.rank!r} is not known; choose log_ratio, or null for none")
        if self.percentile is not None and not 0 <= self.percentile <= 100:
            raise ConfigError(f"percentile={self.percentile:g} must lie between 0 and 100, or be null")
        if self.percentile != PERCENTILE and not self.rejection:
            raise ConfigError("percentile is of rejection sampling: set rejection=true, or leave it out")
        if self.interpolate is not None and not 2 <= self.interpolate <= 100:
            raise ConfigError(f"interpolate={self.interpolate} must lie between 2 and 100 columns")
        if self.walk is not None and not 1 <= self.walk <= 30:
            raise ConfigError(f"walk={self.walk:g} must lie between 1 and 30 seconds")
        self._check_pairs()

    def _check_pairs(self) -> None:
        if self.interpolate and self.walk:
            raise ConfigError("interpolate makes a grid and walk an animation: choose one of them")
        path = "walk" if self.walk else "interpolate" if self.interpolate else None
        chosen = "rank" if self.rank else "rejection" if self.rejection else None
        if path and chosen:
            raise ConfigError(f"{chosen} chooses among independent samples, and {path} has none: leave one of them out")
        if self.rejection and self.truncation:
            raise ConfigError(
                "rejection uses the density ratio of data and generator, and truncation changes the generator's "
                "density: leave one of them out"
            )
        if self.walk and self.output_format not in ANIMATIONS:
            raise ConfigError(f"walk is an animation, and format={self.output_format!r} is not one: choose gif or mp4")
        if not self.walk and self.output_format in ANIMATIONS:
            raise ConfigError(
                f"format={self.output_format!r} needs a walk: set walk=4 for four seconds, or another format"
            )
        if self.interpolate and self.output_format != "grid":
            raise ConfigError(
                f"interpolate makes a grid, not format={self.output_format!r}: leave it out, or let out end in .png"
            )
        if self.out is not None and Path(self.out).suffix.lower() != ENDINGS[self.output_format]:
            ending = ENDINGS[self.output_format] or "no ending: it is a folder of PNGs"
            raise ConfigError(f"out={self.out!r} must end in {ending} for format={self.output_format!r}")

    @property
    def output_format(self) -> str:
        """The format, with null resolved."""
        if self.format is not None:
            return self.format
        if self.out is not None:
            by_ending = {ending: name for name, ending in ENDINGS.items()}
            suffix = Path(self.out).suffix.lower()
            if suffix not in by_ending:
                known = ", ".join(filter(None, by_ending))
                raise ConfigError(f"out={self.out!r} ends in {suffix}, which is not supported; choose one of [{known}]")
            return by_ending[suffix]
        return "gif" if self.walk else "grid"


def run(options: Options) -> None:
    """Writes the samples and prints the path.

    Raises:
        ConfigError: an unknown class or network, a discriminator without ratio, too many images, or an existing file.
        CheckpointError: no usable checkpoint.
    """
    if options.output_format == "mp4":
        formats.check_video()
    device = make_device(options.device)
    trained = load_run(Path(options.run), checkpoint=options.checkpoint, network=options.network, device=device)
    if options.rank:
        check_ratio(trained, "rank=log_ratio")
    points = trained.networks.image_range is None
    if points and (options.output_format not in ("grid", "npz") or options.interpolate):
        reader = "interpolate" if options.interpolate else "walk" if options.walk else f"format={options.output_format}"
        check_images(trained, reader, "choose format=grid, a map of the ratio with the points, or format=npz")
    request = _request(options, trained)
    path = _free_path(options, trained)
    if options.walk:
        check_truncation(trained, options.truncation)
        frames = formats.walk_frames(
            trained, request.labels, request.count, options.seed, options.walk, options.truncation
        )
        with create_atomically(path) as place:
            formats.write_walk(frames, place)
    else:
        latents = _latents(options, trained, request)
        with create_atomically(path) as place:
            if points and options.output_format == "grid":
                formats.write_map(trained, latents, place)
            elif options.output_format == "grid":
                formats.write_grid(trained, latents, request.columns, place)
            elif options.output_format == "npz":
                formats.write_npz(trained, latents, place)
            else:
                formats.write_pngs(trained, latents, place)
    print(path)


@dataclass(frozen=True, slots=True)
class _Request:
    """What to draw: `count` z (rows of interpolate, images of a walk) for each of `rows` classes."""

    count: int
    labels: Tensor | None
    columns: int
    rows: int = 1


def _request(options: Options, trained: TrainedRun) -> _Request:
    """The number of samples and their labels.

    Raises:
        ConfigError: an unknown class, or too many images.
    """
    classes = list(trained.classes) if trained.networks.classes else []
    label, path = options.class_, options.walk or options.interpolate
    if label is not None and not classes:
        raise ConfigError(f"class={label!r}: the run was trained without labels (cond=none); leave it out")
    in_rows = bool(classes) and label is None and options.output_format == "grid" and not path
    rows = min(len(classes), CLASSES_IN_A_GRID) if in_rows else 1
    points = trained.networks.image_range is None
    default = MAPPED_POINTS if points else 16 if options.walk else 8 if options.interpolate or in_rows else 64
    count = options.n or default
    total = count * rows * (options.interpolate or 1)
    if total > MAX_IMAGES[options.output_format]:
        way_out = ", or choose format=png" if options.output_format in ("grid", "npz") and not path else ""
        raise ConfigError(
            f"n={count} makes {total} images, and format={options.output_format} takes at most "
            f"{MAX_IMAGES[options.output_format]}: "
            f"lower it{way_out}"
        )
    columns = options.interpolate or (count if in_rows else math.isqrt(count - 1) + 1)
    labels = None
    if label is not None:
        labels = torch.full((count,), _class_number(label, classes))
    elif in_rows:
        labels = torch.arange(rows).repeat_interleave(count)
    elif classes and path:
        labels = torch.arange(count) % len(classes)
    return _Request(count, labels, columns, rows)


def _class_number(label: str, classes: list[str]) -> int:
    if label in classes:
        return classes.index(label)
    if label.isdecimal() and int(label) < len(classes):
        return int(label)
    shown = ", ".join(classes[:20]) + (", …" if len(classes) > 20 else "")
    raise ConfigError(f"class={label!r} is not a class of the run; choose one of [{shown}] or its number from 0")


def _free_path(options: Options, trained: TrainedRun) -> Path:
    """The path to write: `out`, or a name made of the options.

    Raises:
        ConfigError: it exists, or its folder does not.
    """
    if options.out:
        path = Path(options.out)
    else:
        words = ["walk" if options.walk else "interpolation" if options.interpolate else "sample"]
        words += [options.class_ or "all", f"seed{options.seed}", options.network, f"step{trained.step}"]
        for key in ("n", "truncation", "rank", "interpolate", "walk"):
            value = getattr(options, key)
            words += [] if value is None else [f"{key}{value:g}" if isinstance(value, int | float) else key]
        words += [f"rejection{'' if options.percentile is None else f'{options.percentile:g}'}"] * options.rejection
        path = trained.folder / "samples" / ("-".join(words) + ENDINGS[options.output_format])
        path.parent.mkdir(exist_ok=True)
    if path.exists():
        raise ConfigError(f"{str(path)!r} exists, and nothing is overwritten; give another out or seed")
    if not path.parent.is_dir():
        raise ConfigError(f"out={str(path)!r}: the folder {str(path.parent)!r} does not exist; make it first")
    return path


def _latents(options: Options, trained: TrainedRun, request: _Request) -> Latents:
    """Z and labels in the order of the output."""
    labels = None if request.labels is None else request.labels.to(trained.device)
    if options.interpolate:
        ends = choose_latents(trained, 2 * request.count, options.seed, truncation=options.truncation).z
        z = interpolate(trained.networks.prior, ends[::2], ends[1::2], options.interpolate)
        return Latents(
            z=z.flatten(0, 1), labels=None if labels is None else labels.repeat_interleave(options.interpolate)
        )
    if options.rejection:
        total = request.count * request.rows
        latents = choose_latents(trained, total, options.seed, labels, rejection=True, percentile=options.percentile)
        log.info("rejection sampling accepted %.1f %% of the draws", 100 * (latents.acceptance or 0.0))
    else:
        of_row = None if labels is None else labels[: request.count]
        latents = choose_latents(trained, request.count, options.seed, of_row, truncation=options.truncation)
        if request.rows > 1:  # the same z for each class
            latents = Latents(z=latents.z.repeat(request.rows, 1), labels=labels)
    if options.rank or (options.output_format != "grid" and trained.config.loss.make().has_log_ratio):
        latents = with_log_ratio(trained, latents)
    if options.rank:
        latents = ranked(latents, in_rows=request.rows > 1)
        assert latents.log_ratio is not None
        low, high = latents.log_ratio.aminmax()
        log.info("log q/p from %.4g (most realistic) to %.4g", high, low)
    return latents
