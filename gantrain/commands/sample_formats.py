"""Output formats of `gantrain sample`: a grid, a folder of PNGs, arrays, or an animation."""

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from PIL import Image
from torch import Tensor
from torchvision.utils import save_image

from gantrain.builders import MAPPED_POINTS, load_density
from gantrain.commands.drawing import Latents, generate
from gantrain.commands.trained import TrainedRun
from gantrain.config import ConfigError
from gantrain.diagnostics.ratio_map import RatioMap
from gantrain.networks.latent_paths import closed_walk
from gantrain.run_io.animation import save_gif, save_mp4
from gantrain.run_io.run_folder import as_grid

FPS = 25
SECONDS_PER_TURN = 4


def write_grid(trained: TrainedRun, latents: Latents, columns: int, path: Path) -> None:
    """Writes all images into one PNG, row by row."""
    images = torch.cat([batch.cpu() for batch in generate(trained, latents)])
    save_image(as_grid(images, columns), path)


def write_map(trained: TrainedRun, latents: Latents, path: Path) -> None:
    """Writes generated and real points with the true and the learned ratio, as training does."""
    density = load_density(trained.config)
    real, _ = density.sample(MAPPED_POINTS, torch.Generator().manual_seed(0))
    points = torch.cat(list(generate(trained, latents)))
    with torch.no_grad():
        picture = RatioMap(density, real, trained.config.loss.make()).picture(points, trained.networks.discriminator)
    save_image(picture, path)


def write_pngs(trained: TrainedRun, latents: Latents, folder: Path) -> None:
    """Writes one PNG per image, and samples.csv with columns file, class and log_ratio."""
    folder.mkdir()
    count = len(latents.z)
    columns: dict[str, list[str]] = {"file": [f"{k:0{len(str(count - 1))}}.png" for k in range(count)]}
    if latents.labels is not None:
        columns["class"] = [trained.classes[label] for label in latents.labels.tolist()]
    if latents.log_ratio is not None:
        columns["log_ratio"] = [f"{value:.6g}" for value in latents.log_ratio.tolist()]
    names = iter(columns["file"])
    for batch in generate(trained, latents):
        for image in batch.permute(0, 2, 3, 1).cpu().numpy():
            Image.fromarray(image).save(folder / next(names))
    if len(columns) > 1:
        with (folder / "samples.csv").open("w", newline="", encoding="utf-8") as file:
            rows = csv.writer(file, lineterminator="\n")
            rows.writerow(columns)
            rows.writerows(zip(*columns.values(), strict=True))


def write_npz(trained: TrainedRun, latents: Latents, path: Path) -> None:
    """Writes arrays: images uint8 (N, H, W, 3) or points (N, 2), z (N, latent_dim), labels (N,), log_ratio (N,)."""
    arrays: dict[str, Any] = {"z": latents.z.cpu().numpy()}
    if latents.labels is not None:
        arrays["labels"] = latents.labels.cpu().numpy()
    if latents.log_ratio is not None:
        arrays["log_ratio"] = latents.log_ratio.cpu().numpy()
    if trained.networks.image_range is None:
        np.savez(path, points=torch.cat(list(generate(trained, latents))).cpu().numpy(), **arrays)
        return
    images: npt.NDArray[np.uint8] | None = None
    done = 0
    for batch in generate(trained, latents):
        if images is None:
            _, channels, height, width = batch.shape
            images = np.empty((len(latents.z), height, width, channels), np.uint8)  # may be large
        images[done : done + len(batch)] = batch.permute(0, 2, 3, 1).cpu().numpy()
        done += len(batch)
    assert images is not None, "n is at least 1"
    np.savez(path, images=images, **arrays)


def walk_frames(
    trained: TrainedRun,
    labels: Tensor | None,
    count: int,
    seed: int,
    seconds: float,
    truncation: float | None,
) -> Iterator[Tensor]:
    """Yields frames (3, H, W) in [0, 1] of a grid of `count` images on a closed walk, see `closed_walk`."""
    networks = trained.networks
    walk = closed_walk(
        networks.prior,
        (count, networks.latent_dim),
        round(FPS * seconds),
        torch.Generator(trained.device).manual_seed(seed),
        turns=max(1, round(seconds / SECONDS_PER_TURN)),
        limit=truncation,
    )
    labels = None if labels is None else labels.to(trained.device)
    columns = next(k for k in range(1, count + 1) if k * k >= count)
    for z in walk:
        images = torch.cat(list(generate(trained, Latents(z=z, labels=labels))))
        yield as_grid(images.cpu(), columns)


def write_walk(frames: Iterator[Tensor], path: Path) -> None:
    """Writes a GIF or MP4, by the ending of the name."""
    (save_mp4 if path.suffix.lower() == ".mp4" else save_gif)(frames, path, FPS)


def check_video() -> None:
    """Checks that ffmpeg is available for MP4.

    Raises:
        ConfigError: it is not.
    """
    try:
        import imageio_ffmpeg

        imageio_ffmpeg.get_ffmpeg_exe()
    except (ModuleNotFoundError, RuntimeError):
        raise ConfigError(
            "format=mp4 needs ffmpeg, which is not installed: pip install 'gantrain[video]', or choose format=gif"
        ) from None
