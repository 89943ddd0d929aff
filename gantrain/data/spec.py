"""What a data set declares: its options, its limits, and the function that loads it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gantrain.data.gaussian_mixture import PointSet
from gantrain.data.images import ImageSet
from gantrain.options import option, require

DataSet = ImageSet | PointSet
ON_DEVICE = (
    "keep the data set on the device; false: stream it from the host; null: if it fits into half of the free memory"
)
NOT_MIRRORED = {"flip": (False, "which has no images to mirror")}
"""`DatasetSpec.fixed` of a set of points."""


@dataclass(kw_only=True)
class PointOptions:
    """Options of data sets of points, `data.*`."""

    on_device: bool | None = option(None, ON_DEVICE)


@dataclass(kw_only=True)
class ImageOptions:
    """Options of data sets of images, `data.*`."""

    root: str | None = option(None, "folder of the data; null: $GANTRAIN_DATA, else ./data (digits needs none)")
    image_size: int = option(32, "height and width in pixels: 32, or 64 for data=folder with model=dcgan or resnet")
    flip: bool = option(True, "mirror half of the training images at random")
    dequantize: bool = option(False, "spread each 8-bit level evenly by noise, in training")
    on_device: bool | None = option(None, ON_DEVICE)


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetSpec:
    """A data set that `data.name` can choose.

    Attributes:
        name: value of `data.name`, and name of its file configs/data/NAME.yaml.
        title: short description for the help text.
        load: (options, split) -> the `ImageSet` or `PointSet` of that split, on the CPU.
        prepare: called before training starts: downloads or raises DataError if something is missing.
        options: dataclass of the `data.*` keys that it reads.
        points: whether it consists of points instead of images.
        image_size: height and width, if the images have a fixed size.
        splits: splits that `load` accepts: train, and test if there are held-out examples.
        needs_root: whether `data.root` must be set.
        labels_are_modes: whether the labels of images are modes that metric `modes` counts, not classes; the `ImageSet`
            then has a `mode_classifier`.
        fixed: keys that must have one value, with the reason: {"flip": (False, "which has no mirror images")}.
        note: origin and license, for the model card of an exported generator.
    """

    name: str
    title: str
    load: Callable[[Any, str], DataSet]
    prepare: Callable[[Any], object] = lambda options: None
    options: type = ImageOptions
    points: bool = False
    image_size: int | None = None
    splits: tuple[str, ...] = ("train", "test")
    needs_root: bool = False
    labels_are_modes: bool = False
    fixed: Mapping[str, tuple[object, str]] = field(default_factory=dict)
    note: str = "See the data set's own terms."

    @property
    def has_test(self) -> bool:
        """Whether there are held-out examples."""
        return "test" in self.splits

    def check(self, options: Any) -> None:
        """Checks image size and root; ConfigError if they do not fit."""
        if self.image_size is not None:
            size = self.image_size
            rule = f"does not fit data={self.name}, whose images are {size} pixels; use {size}, or data=folder"
            require(options.image_size == size, "data.image_size", options.image_size, rule)
        if self.needs_root:
            rule = "is not set; set data.root=/path/to/images"
            require(bool(options.root), "data.root", options.root, rule)
