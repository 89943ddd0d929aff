"""What `evaluate` measures, and what it compares with."""

from pathlib import Path

import torch
from torch import Tensor

from gantrain.builders import choose_reference
from gantrain.commands.trained import TrainedRun
from gantrain.config import TOYS, ConfigError
from gantrain.data import ImageSet
from gantrain.data.cifar10 import cifar10_root, load_cifar10, prepare_cifar10
from gantrain.data.digits import load_stacked_digits
from gantrain.data.folder import load_folder
from gantrain.metrics.registry import RealImages

NAMED = ("cifar10", "cifar10-test", "digits", "digits-test")
FEWEST = 10  # images on either side: the Inception Score splits them in ten, density looks for the fifth neighbor


def folder_images(folder: str, reference: ImageSet, *, samples: int | None, seed: int) -> tuple[Tensor, Tensor | None]:
    """Images of a folder, uint8 (N, 3, H, W), and their classes (N,) where its folders are those of the reference.

    Raises:
        ConfigError: it holds fewer than are asked for.
        DataError: it is none, or holds what cannot be read.
    """
    given = load_folder(Path(folder), reference.images.shape[-1], "images")
    count = samples or len(given)
    if not FEWEST <= count <= len(given):
        raise ConfigError(
            f"images={folder!r} holds {len(given)} images, and {max(count, FEWEST)} are wanted; "
            f"at least {FEWEST} can be measured"
        )
    chosen = torch.arange(len(given))
    if count < len(given):
        chosen = torch.randperm(len(given), generator=torch.Generator().manual_seed(seed))[:count]
    labels = None
    if set(given.classes) <= set(reference.classes):  # a folder a class: what the images should show
        numbers = torch.tensor([reference.classes.index(name) for name in given.classes])
        labels = numbers[given.labels[chosen]] if len(reference.classes) > 1 else None
    return given.images[chosen], labels


def data_of_run(trained: TrainedRun, reference: str | None, root: str | None) -> RealImages:
    """A run's own data, or another reference, on the CPU.

    Raises:
        ConfigError: too few images.
        DataError: the data are not there.
    """
    data = trained.config.data
    assert data.name not in TOYS, "points are measured without other points"
    name, key = reference, "reference"
    if name is None and data.name == "folder":
        name, key = str(root or data.root), "root" if root else "data.root"
    elif name is None:
        split = trained.config.metrics.reference_split
        name, root = data.name if split == "train" else f"{data.name}-{split}", root or data.root
    assert name is not None
    return data_named(name, root, data.image_size, key)


def data_named(name: str, root: str | None, image_size: int, key: str = "reference") -> RealImages:
    """The reference, the training images and those for the classifier, all of them on the CPU.

    Args:
        name: one of NAMED, or a folder.
        root: where CIFAR-10 lies; None for where training looks.
        image_size: height and width that a folder's images are brought to.
        key: what an error calls the name.

    Raises:
        ConfigError: too few images, or of another size.
        DataError: the data are not there.
    """
    train, test = _load(name, root, image_size, key)
    reference = test if name.endswith("-test") and test is not None else train
    if len(reference) < FEWEST:
        raise ConfigError(f"{key}={name!r} holds {len(reference)} images; at least {FEWEST} are needed")
    return RealImages(reference, reference.images, train, (train, test))


def seen_by_inception(reference: ImageSet, count: int | None, samples: int, device: torch.device) -> Tensor:
    """As much of the reference as passes through the Inception: `count`, or as affordable on the device.

    Raises:
        ConfigError: there are fewer.
    """
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
