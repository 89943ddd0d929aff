"""Networks of a run, loaded from its checkpoint; neither its data nor its configuration files are needed."""

from dataclasses import dataclass
from pathlib import Path

import torch

from gantrain.builders import build_networks, stored_config
from gantrain.config import Config, ConfigError
from gantrain.networks import NetworkPair
from gantrain.options import choice
from gantrain.training.checkpoint import BEST, LAST, CheckpointError, load_checkpoint, load_network

CHECKPOINTS = {"last": LAST, "best": BEST}


@dataclass(frozen=True, slots=True)
class TrainedRun:
    """The contents of a checkpoint.

    Attributes:
        folder: folder of the run.
        config: configuration of the run.
        classes: names of the data set's classes.
        networks: both networks in eval mode.
        network: which generator `networks` has, ema or raw.
        checkpoint: which checkpoint was loaded, last or best.
        step: number of generator steps.
        metric_values: the last value of each metric at that step, by name and network, e.g. `fid_ema`.
    """

    folder: Path
    config: Config
    classes: tuple[str, ...]
    networks: NetworkPair
    network: str
    checkpoint: str
    step: int
    metric_values: dict[str, float]

    @property
    def device(self) -> torch.device:
        """Device of the networks."""
        return next(self.networks.generator.parameters()).device


def load_run(
    folder: Path, *, checkpoint: str = "last", network: str = "ema", device: torch.device | None = None
) -> TrainedRun:
    """Loads a run's networks.

    Args:
        folder: folder of the run.
        checkpoint: last or best.
        network: which generator, ema or raw.
        device: of the networks; None is the CPU.

    Raises:
        ConfigError: an unknown checkpoint or network, or the run has no EMA.
        CheckpointError: no usable checkpoint.
    """
    choice("checkpoint", checkpoint, tuple(CHECKPOINTS))
    choice("network", network, ("ema", "raw"))
    if folder.is_file():
        raise CheckpointError(f"{str(folder)!r} is a file; give the run's folder, {str(folder.parent)!r}")
    file = folder / CHECKPOINTS[checkpoint]
    if not file.is_file():
        hint = "; its error.txt says why it ended" if (folder / "error.txt").is_file() else ""
        raise CheckpointError(f"{str(file)!r} does not exist; give a run's folder, or another checkpoint{hint}")
    state = load_checkpoint(file)
    config = stored_config(state, folder)
    if network == "ema" and "ema" not in state:
        raise ConfigError(f"{str(folder)!r} was trained with schedule.ema_decay=0 and has no EMA; use network=raw")
    classes = tuple(str(name) for name in state["classes"])
    networks = build_networks(config, len(classes))
    load_network(networks.generator, state["ema" if network == "ema" else "generator"], "the generator")
    load_network(networks.discriminator, state["discriminator"], "the discriminator")
    for module in (networks.generator, networks.discriminator):
        module.to(device or torch.device("cpu")).eval()
    values = {str(name): float(value) for name, value in state.get("metric_values", {}).items()}
    return TrainedRun(folder, config, classes, networks, network, checkpoint, int(state["step"]), values)


def check_images(trained: TrainedRun, reader: str, way_out: str) -> None:
    """Checks that a run generates images, for an option that needs them.

    Raises:
        ConfigError: it generates points.
    """
    if trained.networks.image_range is None:
        raise ConfigError(f"{reader} needs images, but data={trained.config.data.name} consists of points: {way_out}")


def check_new(path: Path) -> None:
    """Checks that a file or folder can be created.

    Raises:
        ConfigError: it exists already, or its parent folder does not.
    """
    if path.exists():
        raise ConfigError(f"out={str(path)!r} already exists and will not be overwritten; choose another name")
    if not path.absolute().parent.is_dir():
        raise ConfigError(f"out={str(path)!r}: the folder {str(path.parent)!r} does not exist; create it first")
