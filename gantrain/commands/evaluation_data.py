"""The images that `evaluate` measures, and the reference images."""

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from gantrain.builders import choose_reference
from gantrain.commands.trained import TrainedRun
from gantrain.config import ConfigError
from gantrain.data import DATASETS, DatasetSpec, ImageOptions, ImageSet
from gantrain.data.folder import load_folder
from gantrain.metrics.metric import RealImages

REFERENCES = {
    f"{spec.name}{'' if split == 'train' else '-test'}": (spec, split)
    for spec in DATASETS
    if not spec.points and not spec.needs_root
    for split in spec.splits
}
"""Data sets that `reference` can name, with the split."""
FEWEST = 10  # generated or real images: every metric can be computed on that many


def folder_images(folder: str, reference: ImageSet, *, samples: int | None, seed: int) -> tuple[Tensor, Tensor | None]:
    """Images of a folder, uint8 (N, 3, H, W), and their classes (N,) if its subfolders are classes of the reference.

    Raises:
        ConfigError: the folder contains fewer images than requested.
        DataError: it does not exist, or contains unreadable images.
    """
    images = load_folder(Path(folder), reference.images.shape[-1], "images")
    count = samples or len(images)
    if not FEWEST <= count <= len(images):
        raise ConfigError(
            f"images={folder!r} contains {len(images)} images, but {max(count, FEWEST)} are needed (the "
            f"minimum is {FEWEST})"
        )
    chosen = torch.arange(len(images))
    if count < len(images):
        chosen = torch.randperm(len(images), generator=torch.Generator().manual_seed(seed))[:count]
    labels = None
    if len(reference.classes) > 1 and set(images.classes) <= set(reference.classes):
        indices = torch.tensor([reference.classes.index(name) for name in images.classes])
        labels = indices[images.labels[chosen]]
    return images.images[chosen], labels


def load_run_data(trained: TrainedRun, reference: str | None, root: str | None) -> RealImages:
    """A run's own data, or another reference, on the CPU.

    Raises:
        ConfigError: too few images.
        DataError: the data are missing.
    """
    data = trained.config.data
    if reference is not None:
        return load_named_data(reference, root, data.image_size)
    options = replace(data.options, root=root or data.root)
    return _load(data.spec, options, trained.config.metrics.reference_split, f"data={data.name}")


def load_named_data(name: str, root: str | None, image_size: int) -> RealImages:
    """The reference, the training images and the images for the classifier, on the CPU.

    Args:
        name: a data set such as cifar10, a data set with `-test` for its held-out images, or a folder.
        root: folder of the data set; None searches where training does.
        image_size: height and width that a folder's images are resized to.

    Raises:
        ConfigError: too few images, or of another size.
        DataError: the data are missing.
    """
    if name not in REFERENCES:
        images = load_folder(Path(name), image_size, "reference")
        return _real_images(images, images, None, f"reference={name!r}")
    spec, split = REFERENCES[name]
    if spec.image_size not in (None, image_size):
        raise ConfigError(
            f"image_size={image_size}: the images of {name} have {spec.image_size} pixels; use {spec.image_size}"
        )
    return _load(spec, spec.options(root=root, image_size=image_size), split, f"reference={name!r}")


def choose_inception_images(reference: ImageSet, count: int | None, samples: int, device: torch.device) -> Tensor:
    """The part of the reference for Inception metrics: `count` images, or the device's default.

    Raises:
        ConfigError: there are fewer.
    """
    if count is None and device.type != "cuda":
        count = min(samples, len(reference))
    if count is not None and count > len(reference):
        raise ConfigError(f"reference_samples={count}: {reference.name} has {len(reference)} images")
    return choose_reference(reference, count)[0]


def _load(spec: DatasetSpec, options: ImageOptions, split: str, shown: str) -> RealImages:
    """The split of a data set as reference, with the images for the classifier."""
    spec.prepare(options)
    train = spec.load(options, "train")
    needs_test = split == "test" or not spec.labels_are_modes  # the classifier is for classes
    test = spec.load(options, "test") if spec.has_test and needs_test else None
    assert isinstance(train, ImageSet), "points are measured without other points"
    assert test is None or isinstance(test, ImageSet)
    return _real_images(test if split == "test" and test is not None else train, train, test, shown)


def _real_images(reference: ImageSet, train: ImageSet, test: ImageSet | None, shown: str) -> RealImages:
    if len(reference) < FEWEST:
        raise ConfigError(f"{shown} has {len(reference)} images; at least {FEWEST} are needed")
    return RealImages(reference=reference, train=train, test=test)
