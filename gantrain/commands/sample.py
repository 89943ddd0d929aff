"""`gantrain sample run=RUN`: samples of a trained generator as a grid, PNGs, arrays or an animation."""

import csv
import logging
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torchvision.utils import save_image

from gantrain.builders import CLASSES_IN_A_GRID, MAPPED_POINTS, load_density, make_device
from gantrain.commands.drawing import Latents, check_ratio, check_truncation, choose_latents, discriminate, generate
from gantrain.commands.trained import TrainedRun, check_images, check_new, load_run
from gantrain.config import ConfigError, option
from gantrain.diagnostics.ratio_map import RatioMap
from gantrain.metrics.rejection import PERCENTILE
from gantrain.networks.latent_paths import closed_walk, interpolate
from gantrain.options import between, choice, require
from gantrain.run_io.animation import save_gif, save_mp4
from gantrain.run_io.run_folder import as_grid
from gantrain.system.atomic_io import create_atomically

ENDINGS = {"grid": ".png", "png": "", "npz": ".npz", "gif": ".gif", "mp4": ".mp4"}
"""Ending of `out`, by format; single PNGs are written into a folder."""
ANIMATIONS = ("gif", "mp4")
FPS = 25
SECONDS_PER_TURN = 4

log = logging.getLogger(__name__)


@dataclass(slots=True, kw_only=True)
class Options:
    """Draw images or points from a trained run; only its checkpoint is needed."""

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
    out: str | None = option(None, "file or folder to write; null: a new name in the run's samples/")
    format: str | None = option(
        None, "grid, png (a folder of files), npz, gif or mp4; null: by the ending of out, else grid, or gif for walk"
    )
    truncation: float | None = option(
        None, "limit of |z| for the normal prior: samples nearer to the mean, with less variety"
    )
    rank: str | None = option(None, "log_ratio: sort by the discriminator's log q/p, most realistic first")
    rejection: bool = option(False, "discriminator rejection sampling: accept samples according to their q/p")
    percentile: float | None = option(
        PERCENTILE,
        "rejection: percentile of q/p at which half of the draws are accepted; null: accept with r/M",
    )
    interpolate: int | None = option(None, "number of columns of a grid whose rows interpolate between two z")
    walk: float | None = option(None, "length in seconds of an animation on a closed walk through z")

    def __post_init__(self) -> None:
        """Checks ranges and combinations of keys."""
        between("n", self.n, 1, 1_000_000)
        require(0 <= self.seed < 2**63, "seed", self.seed, "must be between 0 and 2**63 - 1")
        limit = self.truncation
        require(limit is None or 0 < limit <= 100, "truncation", limit, "must be in (0, 100]; 2 is mild, 0.5 strong")
        between("percentile", self.percentile, 0, 100)
        between("interpolate", self.interpolate, 2, 100, what="it is a number of columns")
        between("walk", self.walk, 1, 30, what="it is a number of seconds")
        if self.rank is not None:
            choice("rank", self.rank, ("log_ratio",))
        form = self.output_format
        animated = form in ANIMATIONS
        path = "walk" if self.walk else "interpolate" if self.interpolate else None
        chosen = "rank" if self.rank else "rejection" if self.rejection else None
        ending = ENDINGS[form]
        contradictions = {
            "interpolate makes a grid and walk an animation: choose one of them": self.walk and self.interpolate,
            f"{chosen} chooses among independent samples, which {path} does not have: use only one of them": chosen
            and path,
            "rejection uses the density of the generator, and truncation changes it: leave one of them out": (
                self.rejection and limit
            ),
            "percentile is only used by rejection sampling: set rejection=true, or leave it out": (
                self.percentile != PERCENTILE and not self.rejection
            ),
            f"walk is an animation, and format={form!r} is not one: choose gif or mp4": self.walk and not animated,
            f"format={form!r} needs a walk: set walk=4 for four seconds, or another format": animated and not self.walk,
            f"interpolate makes a grid, not format={form!r}: leave it out, or let out end in .png": (
                self.interpolate and form != "grid"
            ),
            f"out={self.out!r} must end in {ending or 'no ending: it is a folder of PNGs'} for format={form!r}": (
                self.out is not None and Path(self.out).suffix.lower() != ending
            ),
        }
        for message, wrong in contradictions.items():
            if wrong:
                raise ConfigError(message)

    @property
    def output_format(self) -> str:
        """The format, with null resolved."""
        if self.format is not None:
            choice("format", self.format, tuple(ENDINGS))
            return self.format
        if self.out is None:
            return "gif" if self.walk else "grid"
        suffix = Path(self.out).suffix.lower()
        for form, ending in ENDINGS.items():
            if suffix == ending:
                return form
        known = ", ".join(filter(None, ENDINGS.values()))
        raise ConfigError(f"out={self.out!r} ends in {suffix}, which is not supported; choose one of [{known}]")


def run(options: Options) -> None:
    """Writes the samples and prints the path.

    Raises:
        ConfigError: an unknown class or network, a discriminator without ratio, or an existing file.
        CheckpointError: no usable checkpoint.
    """
    form = options.output_format
    if form == "mp4":
        _check_ffmpeg()
    device = make_device(options.device)
    trained = load_run(Path(options.run), checkpoint=options.checkpoint, network=options.network, device=device)
    check_truncation(trained, options.truncation)
    if options.rank:
        check_ratio(trained, "rank=log_ratio")
    points = trained.networks.image_range is None
    if points and (form not in ("grid", "npz") or options.interpolate):
        reader = "interpolate" if options.interpolate else "walk" if options.walk else f"format={form}"
        check_images(trained, reader, "choose format=grid, a map of the ratio with the points, or format=npz")
    count, rows, labels = choose_labels(options, trained)
    path = Path(options.out) if options.out else _default_path(options, trained)
    check_new(path)
    if options.walk:
        frames = walk_frames(trained, labels, count, options.seed, options.walk, options.truncation)
        with create_atomically(path) as place:
            (save_mp4 if form == "mp4" else save_gif)(frames, place, FPS)
    else:
        latents = _latents(options, trained, count, rows, labels)
        examples = generate(trained, latents.z, latents.labels).cpu()
        with create_atomically(path) as place:
            if form == "npz":
                write_npz(examples, latents, place)
            elif form == "png":
                write_pngs(examples, latents, trained.classes, place)
            elif points:
                save_image(_map(trained, examples), place)
            else:
                columns = options.interpolate or (count if rows > 1 else math.isqrt(count - 1) + 1)
                save_image(as_grid(examples, columns), place)
    print(path)


def choose_labels(options: Options, trained: TrainedRun) -> tuple[int, int, Tensor | None]:
    """The number of z (rows of interpolate, images of a walk), for how many classes, and labels.

    Labels are (number of z · classes,), or None if they are drawn with z or the networks read none.

    Raises:
        ConfigError: an unknown class.
    """
    classes = list(trained.classes) if trained.networks.classes else []
    label, path = options.class_, options.walk or options.interpolate
    by_class = bool(classes) and label is None and options.output_format == "grid" and not path
    rows = min(len(classes), CLASSES_IN_A_GRID) if by_class else 1
    points = trained.networks.image_range is None
    count = options.n or (
        MAPPED_POINTS if points else 16 if options.walk else 8 if options.interpolate or by_class else 64
    )
    if label is not None:
        if not classes:
            raise ConfigError(f"class={label!r}: the run was trained without labels (cond=none); leave it out")
        numbers = {str(number): number for number in range(len(classes))}
        number = (numbers | {name: k for k, name in enumerate(classes)}).get(label)
        if number is None:
            shown = ", ".join(classes[:20]) + (", …" if len(classes) > 20 else "")
            raise ConfigError(
                f"class={label!r} is not a class of the run; choose one of [{shown}] or its number from 0"
            )
        return count, 1, torch.full((count,), number)
    if by_class:
        return count, rows, torch.arange(rows).repeat_interleave(count)
    return count, 1, torch.arange(count) % len(classes) if classes and path else None


def walk_frames(
    trained: TrainedRun, labels: Tensor | None, count: int, seed: int, seconds: float, truncation: float | None
) -> Iterator[Tensor]:
    """Yields frames (3, H, W) in [0, 1] of a grid of `count` images on a closed walk, see `closed_walk`."""
    walk = closed_walk(
        trained.networks.prior,
        (count, trained.networks.latent_dim),
        round(FPS * seconds),
        torch.Generator(trained.device).manual_seed(seed),
        turns=max(1, round(seconds / SECONDS_PER_TURN)),
        limit=truncation,
    )
    labels = None if labels is None else labels.to(trained.device)
    for z in walk:
        yield as_grid(generate(trained, z, labels).cpu(), math.isqrt(count - 1) + 1)


def write_npz(examples: Tensor, latents: Latents, path: Path) -> None:
    """Writes arrays: images uint8 (N, H, W, 3) or points (N, 2), z (N, latent_dim), labels (N,), log_ratio (N,)."""
    images = examples.ndim == 4
    arrays = {"images": examples.permute(0, 2, 3, 1)} if images else {"points": examples}
    others = {"z": latents.z, "labels": latents.labels, "log_ratio": latents.log_ratio}
    arrays |= {key: tensor.cpu() for key, tensor in others.items() if tensor is not None}
    np.savez(path, **{key: tensor.numpy() for key, tensor in arrays.items()})  # type: ignore[arg-type]


def write_pngs(images: Tensor, latents: Latents, classes: tuple[str, ...], folder: Path) -> None:
    """Writes one PNG per image, and samples.csv with columns file, class and log_ratio."""
    folder.mkdir()
    digits = len(str(len(images) - 1))
    columns = {"file": [f"{k:0{digits}}.png" for k in range(len(images))]}
    if latents.labels is not None:
        columns["class"] = [classes[label] for label in latents.labels.tolist()]
    if latents.log_ratio is not None:
        columns["log_ratio"] = [f"{value:.6g}" for value in latents.log_ratio.tolist()]
    for name, image in zip(columns["file"], images.permute(0, 2, 3, 1).numpy(), strict=True):
        Image.fromarray(image).save(folder / name)
    if len(columns) > 1:
        with (folder / "samples.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows([columns, *zip(*columns.values(), strict=True)])


def _latents(options: Options, trained: TrainedRun, count: int, rows: int, labels: Tensor | None) -> Latents:
    """Z and labels in the order of the output."""
    labels = None if labels is None else labels.to(trained.device)
    if options.interpolate:
        ends = choose_latents(trained, 2 * count, options.seed, truncation=options.truncation).z
        z = interpolate(trained.networks.prior, ends[::2], ends[1::2], options.interpolate).flatten(0, 1)
        return Latents(z, None if labels is None else labels.repeat_interleave(options.interpolate))
    if options.rejection:
        seed, percentile = options.seed, options.percentile
        latents = choose_latents(trained, count * rows, seed, labels, rejection=True, percentile=percentile)
        log.info("rejection sampling accepted %.1f %% of the draws", 100 * (latents.acceptance or 0.0))
    else:
        first_row = None if labels is None else labels[:count]
        latents = choose_latents(trained, count, options.seed, first_row, truncation=options.truncation)
        if rows > 1:  # the same z for each class
            latents = Latents(latents.z.repeat(rows, 1), labels)
    listed = options.output_format != "grid" and trained.config.loss.make().has_log_ratio
    if (options.rank or listed) and latents.log_ratio is None:
        latents = replace(latents, log_ratio=discriminate(trained, latents.z, latents.labels))
    if options.rank:
        latents = latents.ranked(by_label=rows > 1)
        assert latents.log_ratio is not None
        low, high = latents.log_ratio.aminmax()
        log.info("log q/p from %.4g (most realistic) to %.4g", high, low)
    return latents


def _map(trained: TrainedRun, points: Tensor) -> Tensor:
    """Generated and real points with the true and the learned ratio, as training draws them."""
    density = load_density(trained.config)
    real, _ = density.sample(MAPPED_POINTS, torch.Generator().manual_seed(0))
    with torch.no_grad():
        ratio_map = RatioMap(density, real, trained.config.loss.make())
        return ratio_map.picture(points.to(trained.device), trained.networks.discriminator)


def _default_path(options: Options, trained: TrainedRun) -> Path:
    """A new path in the run's samples/, named after the options."""
    words = ["walk" if options.walk else "interpolation" if options.interpolate else "sample"]
    words += [options.class_ or "all", f"seed{options.seed}", options.network, f"step{trained.step}"]
    for key in ("n", "truncation", "rank", "interpolate", "walk"):
        value = getattr(options, key)
        if value is not None:
            words.append(key if key == "rank" else f"{key}{value:g}")
    if options.rejection:
        words.append("rejection" if options.percentile is None else f"rejection{options.percentile:g}")
    path = trained.folder / "samples" / ("-".join(words) + ENDINGS[options.output_format])
    path.parent.mkdir(exist_ok=True)
    return path


def _check_ffmpeg() -> None:
    try:
        import imageio_ffmpeg

        imageio_ffmpeg.get_ffmpeg_exe()
    except (ModuleNotFoundError, RuntimeError):
        raise ConfigError(
            "format=mp4 needs ffmpeg, which is not installed: pip install 'gantrain[video]', or choose format=gif"
        ) from None
