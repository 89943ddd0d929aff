"""How much a run writes into its folder, told from its configuration, and whether there is room for it."""

import math
import shutil
from pathlib import Path

import torch

from gantrain.builders.measuring import measuring_protocol
from gantrain.builders.training import (
    CLASSES_IN_A_GRID,
    build_networks,
    diagnostics_every,
    make_plan,
)
from gantrain.config import TOYS, Config, ConfigError
from gantrain.data.digits import IMAGES, MODES
from gantrain.data.folder import list_images
from gantrain.data.points import POINTS
from gantrain.diagnostics.ratio_map import PICTURE
from gantrain.run_io.run_folder import MOST_FRAMES

CIFAR10_IMAGES, CIFAR10_CLASSES = 50_000, 10
CHECKPOINTS = 3
"""last.pt, previous.pt, and the one that is being written; best.pt where something is measured."""
MOMENTS = 2
"""Adam's, each as large as the parameters."""
TENSOR = 900
"""Bytes that a tensor of a checkpoint takes beside its content."""
RNG_STATES = 5 * 5_056
ROW = 3_500
"""Bytes of a row of scalars: up to 1,100 in metrics.jsonl, and 57 a scalar in TensorBoard."""
LOOK = 9_000
"""Bytes of a row of diagnostics: 1,200 in metrics.jsonl, then scalars, a small picture and four histograms."""
PACKED = 450
"""Bytes of a row in a checkpoint, compressed."""
FIGURES, FIGURE = 3, 400
"""What a metric tells at most, and bytes of each with its protocol, in metrics.jsonl and in TensorBoard."""
TEXTS = 40_000
"""Bytes of config.yaml, job.json, run.json, status.json and of what TensorBoard is told at the start."""
TRACE = 30_000_000
"""Bytes of a profile."""


def disk_need(config: Config, device: torch.device, *, done: int | None = None) -> int:
    """Bytes that a run of this configuration takes in its folder at most, its logs and all checkpoints together.

    Of a run that goes on from a checkpoint, `done` steps of which are done, only what is still to be written: the rest
    of the logs, and one checkpoint more while it is written.

    What grows with `schedule.steps`, by the row, which checkpoints hold packed: scalars each `log.every_steps`, looks
    of diagnostics each `log.diagnostics_every_steps`, figures each `metrics.every_steps`; and grids each
    `log.grids_every_steps`, each once as a file and once in TensorBoard. The default intervals of all but the
    diagnostics are shares of the run, so that there only these and the rows of scalars, each 100 steps, grow.

    Raises:
        DataError: a folder of images that is not there.
    """
    checkpoint, logs = checkpoint_bytes(config), _logs_need(config, device)
    if done is not None:
        return checkpoint + TEXTS + int((1 - min(done / config.schedule.steps, 1.0)) * logs)
    kept = CHECKPOINTS + bool(measuring_protocol(config, device).names)
    return kept * checkpoint + logs + TEXTS + (TRACE if config.profile else 0)


def _logs_need(config: Config, device: torch.device) -> int:
    """Of what grows with the steps: rows, in the logs and packed in checkpoints, and grids."""
    plan, protocol = make_plan(config, device), measuring_protocol(config, device)
    steps = plan.steps
    scalars = steps // plan.log_every + 1
    every = diagnostics_every(config, plan.log_every, device)
    looks = steps // every if every else 0
    measured = steps // protocol.every + 1 if protocol.every else 1
    figures = measured * len(protocol.names) * len(config.metrics.networks) * FIGURES
    picture = _picture_bytes(config)
    grids = 2 * picture * (steps // plan.grids_every + 3)  # also the real ones, the first and the last
    if config.data.name in TOYS:
        grids += picture // 3 * min(MOST_FRAMES, steps // plan.grids_every + 2)  # the animation has a byte a pixel
    packed = (CHECKPOINTS + 1) * (scalars + looks + figures) * PACKED
    return scalars * ROW + looks * LOOK + figures * FIGURE + grids + packed


def checkpoint_bytes(config: Config) -> int:
    """Of one checkpoint: the networks, Adam's moments, the EMA, the order of the data, `tricks.history`."""
    examples, classes = _examples(config)
    with torch.device("meta"):  # shapes alone, and no random number is drawn
        pair = build_networks(config, classes)
    total = RNG_STATES + 8 * examples
    for network in (pair.generator, pair.discriminator):
        copies = 2 if network is pair.generator and config.schedule.ema_decay else 1
        for value in network.state_dict().values():
            total += copies * (value.numel() * value.element_size() + TENSOR)
        for parameter in network.parameters():
            total += MOMENTS * parameter.numel() * parameter.element_size() + (MOMENTS + 1) * TENSOR
    shape = 2 if config.data.name in TOYS else 3 * config.data.image_size**2
    total += config.tricks.history * (4 * shape + 8)
    if diagnostics_every(config, 1, torch.device("cpu")):  # the gradient that the next look compares with
        total += sum(parameter.numel() * parameter.element_size() for parameter in pair.generator.parameters())
    return total


def check_room(config: Config, folder: Path, device: torch.device, *, done: int | None = None) -> None:
    """Refuses a run that its folder's file system has no room for.

    Args:
        config: of the run.
        folder: of the run.
        device: where it trains.
        done: generator steps of the checkpoint that it goes on from; None for a new run.

    Raises:
        ConfigError: there is less.
    """
    need = disk_need(config, device, done=done)
    place = next(p for p in (folder.absolute(), *folder.absolute().parents) if p.is_dir())
    try:
        total, _, free = shutil.disk_usage(place)
    except OSError:
        return  # writing tells what is wrong
    if free >= need or total == 0:  # a file system without a size does not say
        return
    shrinks = "model.width, tricks.history, log.grid_images, or longer log.*_every_steps"
    way_out = (
        f"make room, or move the folder to another file system and give resume=THERE/{folder.name}"
        if done is not None
        else f"make room, choose another folder with hydra.run.dir (of a sweep hydra.sweep.dir), or lower {shrinks}"
    )
    raise ConfigError(
        f"{str(folder)!r}: the run writes up to {_words(need)}, and {str(place)!r} has {_words(free)} free; {way_out}"
    )


def _examples(config: Config) -> tuple[int, int]:
    """How many training examples there are, and of how many classes, without loading them."""
    if config.data.name in TOYS:
        return POINTS["train"], 1
    if config.data.name == "digits":
        return IMAGES["train"], MODES
    if config.data.name == "cifar10":
        return CIFAR10_IMAGES, CIFAR10_CLASSES
    root = Path(config.data.root or "")
    files = list_images(root)
    return len(files), len({path.relative_to(root).parts[0] if path.parent != root else "." for path in files})


def _picture_bytes(config: Config) -> int:
    """Of a grid that no compression makes smaller; of points' maps, which are of few colors, a tenth."""
    if config.data.name in TOYS:
        width, height = PICTURE
        return 3 * width * height // 10
    columns = rows = math.isqrt(config.log.grid_images)
    if config.cond.name != "none":
        rows = min(_examples(config)[1], max(columns, CLASSES_IN_A_GRID))
    side = config.data.image_size + 2
    return 3 * (side * columns + 2) * (side * rows + 2)


def _words(size: int) -> str:
    return f"{size / 1e9:.3g} GB" if size >= 1e9 else f"{size / 1e6:.3g} MB"
