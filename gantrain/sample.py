"""`python -m gantrain sample RUN`: images of a trained generator, of a chosen class if it was trained with labels."""

import argparse
import math
from pathlib import Path

import torch
from torch import Tensor
from torchvision.utils import save_image

from gantrain.build import CLASSES_IN_A_GRID, build_networks, make_device
from gantrain.config import ConfigError, from_dict
from gantrain.evidence.measurement import draw_images
from gantrain.files import PART
from gantrain.logs.run_folder import as_grid
from gantrain.networks import sample_latent
from gantrain.training.checkpoint import BEST, LAST, CheckpointError, load_checkpoint

BATCH = 100


def sample(
    run: Path,
    *,
    label: str | None = None,
    count: int | None = None,
    seed: int = 0,
    network: str = "ema",
    checkpoint: str = "last",
    out: Path | None = None,
    device: str = "auto",
) -> Path:
    """Writes a grid of samples and returns its path.

    Args:
        run: the run's folder.
        label: name or number of the class; None draws the first ten, one a row, or just images without labels.
        count: images, in a square, or with all classes in rows of `count`; None is 64, or 8 a class.
        seed: of z.
        network: ema or raw.
        checkpoint: last or best.
        out: the picture; None is a name of its own in the run's samples/.
        device: as the key `device`.

    Raises:
        ConfigError: a class, network or count that does not exist, or a picture that does.
        CheckpointError: no usable checkpoint.
    """
    if count is not None and not 1 <= count <= 100_000:
        raise ConfigError(f"--count {count} must lie between 1 and 100000")
    if not 0 <= seed < 2**63:
        raise ConfigError(f"--seed {seed} must lie between 0 and 2**63 - 1")
    file = run / {"last": LAST, "best": BEST}[checkpoint]
    if not file.is_file():
        hint = "; its error.txt says why it ended" if (run / "error.txt").is_file() else ""
        raise CheckpointError(f"{str(file)!r} does not exist; give a run's folder, or another --checkpoint{hint}")
    state = load_checkpoint(file)
    config = from_dict(state["config"])
    classes = [str(name) for name in state["classes"]]
    with_labels = config.cond.name != "none"
    if count is None:
        count = 8 if with_labels and label is None else 64
    labels = _labels(label, classes if with_labels else [], count)
    if network == "ema" and "ema" not in state:
        raise ConfigError(f"{str(run)!r} was trained with schedule.ema_decay=0 and has no EMA; take --network raw")
    chosen = "all" if label is None else label
    path = out or run / "samples" / f"sample-{chosen}-seed{seed}-{network}-step{state['step']}.png"
    if path.exists():
        raise ConfigError(f"{str(path)!r} exists, and nothing is overwritten; give another --out or --seed")
    if not path.parent.is_dir():
        raise ConfigError(f"--out {str(path)!r}: the folder {str(path.parent)!r} does not exist; make it first")
    target = make_device(device)
    networks = build_networks(config, len(classes))
    try:
        networks.generator.load_state_dict(state["ema" if network == "ema" else "generator"])
    except (RuntimeError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())[:300]
        raise CheckpointError(f"the checkpoint in {str(run)!r} does not fit its configuration ({reason})") from None
    source = torch.Generator(target).manual_seed(seed)
    z = sample_latent(networks.prior, (count, networks.latent_dim), source)
    columns = math.isqrt(count - 1) + 1
    if labels is not None:
        z = z.repeat(len(labels) // count, 1)  # the same z for every class
        columns = columns if label is not None else count
    images = draw_images(
        networks.generator.to(target),
        z,
        None if labels is None else labels.to(target),
        image_range=networks.image_range,
        batch_size=BATCH,
    )
    part = path.with_name(f".{path.stem}{PART}.png")
    save_image(as_grid(images.cpu(), columns), part)
    part.replace(path)
    return path


def _labels(label: str | None, classes: list[str], count: int) -> Tensor | None:
    if not classes:
        if label is not None:
            raise ConfigError(f"--label {label!r}: the run was trained without labels (cond=none); leave it out")
        return None
    if label is None:
        return torch.arange(min(len(classes), CLASSES_IN_A_GRID)).repeat_interleave(count)
    if label in classes:
        return torch.full((count,), classes.index(label))
    if label.isdecimal() and int(label) < len(classes):
        return torch.full((count,), int(label))
    shown = ", ".join(classes[:20]) + (", …" if len(classes) > 20 else "")
    raise ConfigError(f"--label {label!r} is no class of the run; choose one of [{shown}] or its number from 0")


def run_command(arguments: list[str]) -> None:
    """Parses the words after `sample`, draws, and says where the picture is."""
    parser = argparse.ArgumentParser(
        prog="python -m gantrain sample", description="Draw images from a trained run into a picture."
    )
    parser.add_argument("run", type=Path, help="the run's folder, e.g. outputs/DATE/TIME-NAME")
    parser.add_argument("--label", help="class by name or number; the first ten, one a row, if left out")
    parser.add_argument("--count", type=int, help="images (64; 8 a class if all classes are drawn)")
    parser.add_argument("--seed", type=int, default=0, help="of z")
    parser.add_argument("--network", choices=("ema", "raw"), default="ema")
    parser.add_argument("--checkpoint", choices=("last", "best"), default="last")
    parser.add_argument("--out", type=Path, help="the picture; a new name in the run's samples/ otherwise")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    words = parser.parse_args(arguments)
    path = sample(
        words.run,
        label=words.label,
        count=words.count,
        seed=words.seed,
        network=words.network,
        checkpoint=words.checkpoint,
        out=words.out,
        device=words.device,
    )
    print(path)
