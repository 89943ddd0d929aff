"""From the configuration to a data set."""

from pathlib import Path

import torch
from torch import Tensor

from gantrain.config import (
    TOYS,
    Config,
    ConfigError,
)
from gantrain.data import DataSet, ImageSet
from gantrain.data.cifar10 import cifar10_root, load_cifar10, prepare_cifar10
from gantrain.data.digits import load_stacked_digits
from gantrain.data.folder import list_images, load_folder
from gantrain.data.points import GaussianMixture, grid, load_points, mixture, moons, ring

REFERENCE_SEED = 0  # of the choice of reference images: the same for every run


def prepare_data(config: Config) -> None:
    """Refuses data that are not there, before anything is loaded; downloads CIFAR-10 if it is absent."""
    if config.data.name == "cifar10":
        prepare_cifar10(cifar10_root(config.data.root))
    elif config.data.name == "folder":
        list_images(Path(config.data.root or ""))


def make_density(config: Config) -> GaussianMixture:
    """The density of a toy."""
    data = config.data
    if data.name == "mixture":
        means, stds, weights = (
            torch.tensor(part, dtype=torch.float64) for part in (data.means, data.stds, data.weights)
        )
        return mixture(means, stds, weights if data.weights else None)
    return {"ring": ring, "grid": grid, "moons": moons}[data.name]()


def load_data(config: Config, split: str) -> DataSet:
    """The configured data set, on the CPU."""
    if config.data.name in TOYS:
        return load_points(config.data.name, make_density(config), split)
    return load_images(config, split)


def load_images(config: Config, split: str) -> ImageSet:
    """The configured images, on the CPU."""
    if config.data.name == "digits":
        return load_stacked_digits(split)
    if config.data.name == "folder":
        return load_folder(Path(config.data.root or ""), config.data.image_size)
    return load_cifar10(cifar10_root(config.data.root), split)


def check_classes(asker: str, images: DataSet, labels: Tensor) -> None:
    """Refuses images of a single class to what tells classes apart.

    Raises:
        ConfigError: there is only one.
    """
    if len(labels.unique()) < 2:
        raise ConfigError(
            f"{asker} needs images of at least two classes, and {images.name} has one: with data=folder each folder "
            "inside data.root is a class"
        )


def lies_on(device: torch.device, asked: bool | None, examples: DataSet) -> bool:
    """Whether a set is kept on the device: as asked, else where half of its free memory holds it."""
    if asked is not None or device.type != "cuda":
        return asked is not False
    size = examples.examples.numel() * examples.examples.element_size()
    return size <= torch.cuda.mem_get_info(device)[0] // 2


def choose_some(examples: DataSet, count: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """At most `count` examples of a set and their labels, at random but alike for every run."""
    order = torch.randperm(len(examples), generator=torch.Generator().manual_seed(REFERENCE_SEED))[:count]
    return examples.examples[order].to(device), examples.labels[order].to(device)
