"""Builds data sets from the configuration."""

import torch
from torch import Tensor

from gantrain.config import Config, ConfigError
from gantrain.data import DataSet, GaussianMixture, ImageSet, PointSet

REFERENCE_SEED = 0  # selects the same reference images in every run


def prepare_data(config: Config) -> None:
    """Downloads missing data or raises a DataError, before anything is loaded."""
    config.data.spec.prepare(config.data.options)


def load_data(config: Config, split: str) -> DataSet:
    """A split (train or test) of the configured data set, on the CPU."""
    return config.data.spec.load(config.data.options, split)


def load_images(config: Config, split: str) -> ImageSet:
    """A split of the configured images, on the CPU."""
    images = load_data(config, split)
    assert isinstance(images, ImageSet), f"data={config.data.name} consists of points"
    return images


def load_density(config: Config) -> GaussianMixture:
    """The density that the configured points are drawn from."""
    points = load_data(config, "test")
    assert isinstance(points, PointSet), f"data={config.data.name} consists of images"
    return points.density


def check_classes(reader: str, images: DataSet, labels: Tensor) -> None:
    """Checks that there are at least two classes for `reader`, the option that needs them.

    Raises:
        ConfigError: there is only one class.
    """
    if len(labels.unique()) < 2:
        raise ConfigError(
            f"{reader} needs images of at least two classes, but {images.name} has one: with data=folder each folder "
            "inside data.root is a class"
        )


def is_on_device(device: torch.device, requested: bool | None, examples: DataSet) -> bool:
    """Whether to keep a set on the device: as requested; for None, if it fits into half of the free memory."""
    if requested is not None or device.type != "cuda":
        return requested is not False
    size = examples.examples.numel() * examples.examples.element_size()
    return size <= torch.cuda.mem_get_info(device)[0] // 2


def choose_examples(examples: DataSet, count: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """At most `count` random examples of a set and their labels, the same for every run."""
    order = torch.randperm(len(examples), generator=torch.Generator().manual_seed(REFERENCE_SEED))[:count]
    return examples.examples[order].to(device), examples.labels[order].to(device)
