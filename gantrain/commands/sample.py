"""`python -m gantrain sample run=RUN`: images of a trained generator, of a class if it reads them."""

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torchvision.utils import save_image

from gantrain.build import CLASSES_IN_A_GRID, make_device
from gantrain.commands.trained import load_run
from gantrain.config import ConfigError, option
from gantrain.evidence.measurement import draw_images
from gantrain.files import PART
from gantrain.logs.run_folder import as_grid
from gantrain.networks import sample_latent

BATCH = 100


@dataclass(slots=True, kw_only=True)
class Options:
    """Draw images from a trained run into a picture."""

    run: str = option(..., "the run's folder, e.g. outputs/DATE/TIME-NAME")
    class_: str | None = option(None, "class by name or number; null is the first ten, one a row")
    n: int | None = option(None, "images, or images a class in a row; null is 64, or 8 a class")
    seed: int = option(0, "of z")
    network: str = option("ema", "generator: ema or raw")
    checkpoint: str = option("last", "last or best")
    out: str | None = option(None, "the picture; null is a new name in the run's samples/")
    device: str = option("auto", "auto, cpu, cuda or cuda:N")

    def __post_init__(self) -> None:
        """Checks ranges."""
        if self.n is not None and not 1 <= self.n <= 100_000:
            raise ConfigError(f"n={self.n} must lie between 1 and 100000")
        if not 0 <= self.seed < 2**63:
            raise ConfigError(f"seed={self.seed} must lie between 0 and 2**63 - 1")


def run(options: Options) -> None:
    """Writes a grid of samples and says where it is.

    Raises:
        ConfigError: a class, network or count that does not exist, or a picture that does.
        CheckpointError: no usable checkpoint.
    """
    device = make_device(options.device)
    trained = load_run(Path(options.run), checkpoint=options.checkpoint, network=options.network, device=device)
    networks, label = trained.networks, options.class_
    count = options.n or (8 if networks.classes and label is None else 64)
    labels = _labels(label, list(trained.classes) if networks.classes else [], count)
    chosen = "all" if label is None else label
    name = f"sample-{chosen}-seed{options.seed}-{options.network}-step{trained.step}.png"
    path = Path(options.out) if options.out else trained.folder / "samples" / name
    if path.exists():
        raise ConfigError(f"{str(path)!r} exists, and nothing is overwritten; give another out or seed")
    if not path.parent.is_dir():
        raise ConfigError(f"out={str(path)!r}: the folder {str(path.parent)!r} does not exist; make it first")
    source = torch.Generator(device).manual_seed(options.seed)
    z = sample_latent(networks.prior, (count, networks.latent_dim), source)
    columns = math.isqrt(count - 1) + 1
    if labels is not None:
        z = z.repeat(len(labels) // count, 1)  # the same z for every class
        columns = columns if label is not None else count
    images = draw_images(
        networks.generator,
        z,
        None if labels is None else labels.to(device),
        image_range=networks.image_range,
        batch_size=BATCH,
    )
    part = path.with_name(f".{path.stem}{PART}.png")
    save_image(as_grid(images.cpu(), columns), part)
    part.replace(path)
    print(path)


def _labels(label: str | None, classes: list[str], count: int) -> Tensor | None:
    if not classes:
        if label is not None:
            raise ConfigError(f"class={label!r}: the run was trained without labels (cond=none); leave it out")
        return None
    if label is None:
        return torch.arange(min(len(classes), CLASSES_IN_A_GRID)).repeat_interleave(count)
    if label in classes:
        return torch.full((count,), classes.index(label))
    if label.isdecimal() and int(label) < len(classes):
        return torch.full((count,), int(label))
    shown = ", ".join(classes[:20]) + (", …" if len(classes) > 20 else "")
    raise ConfigError(f"class={label!r} is no class of the run; choose one of [{shown}] or its number from 0")
