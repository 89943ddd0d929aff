"""`data.*`: the images or points that are real."""

from dataclasses import dataclass
from typing import Any

from gantrain.networks import NETWORKS
from gantrain.options import choice, is_number, option, require, unread

TOYS = ("ring", "grid", "moons", "mixture")
"""Data sets of points in the plane, for model=mlp."""
DATA_NAMES = ("cifar10", "digits", "folder", *TOYS)
DATA_SIZES = {"cifar10": 32, "digits": 32}


@dataclass(slots=True, kw_only=True)
class DataConfig:
    """The images."""

    name: str = option("cifar10", "images: cifar10, digits (embedded) or folder; points: ring, grid, moons, mixture")
    root: str | None = option(None, "folder of the data; null is $GANTRAIN_DATA, else ./data (digits needs none)")
    image_size: int = option(32, "height and width in pixels: 32, or 64 for data=folder with model=dcgan or resnet")
    flip: bool = option(True, "mirror half of the training images at random")
    dequantize: bool = option(False, "spread each 8-bit level evenly by noise, in training")
    on_device: bool | None = option(
        None, "keep the set on the device; false streams it from the host; null: where half of the free memory holds it"
    )
    means: list[Any] = option([], "mixture: the components' means, [[x,y],[x,y],...]")
    stds: list[float] = option([], "mixture: their standard deviations, one for all or one each")
    weights: list[float] = option([], "mixture: their weights, in any unit; [] is equal ones")

    def __post_init__(self) -> None:
        """Checks names and ranges."""
        choice("data.name", self.name, DATA_NAMES)
        sizes = sorted({size for spec in NETWORKS for size in spec.image_sizes})
        require(self.image_size in sizes, "data.image_size", self.image_size, f"must be one of {sizes}")
        if self.name in DATA_SIZES:
            size = DATA_SIZES[self.name]
            require(
                self.image_size == size,
                "data.image_size",
                self.image_size,
                f"does not fit data={self.name}, whose images are {size} pixels; use {size}, or data=folder",
            )
        if self.name == "folder":
            require(bool(self.root), "data.root", self.root, "names no folder of images; set data.root=/path/to/images")
        if self.name == "mixture":
            self._check_mixture()
        else:
            for key in ("means", "stds", "weights"):
                unread(f"data.{key}", getattr(self, key), [], "data=mixture")
        if self.name in TOYS:
            for key, unset in (("image_size", 32), ("flip", False), ("dequantize", False), ("root", None)):
                unread(f"data.{key}", getattr(self, key), unset, "sets of images, not points")
        if self.name == "digits":
            require(not self.flip, "data.flip", self.flip, "would mirror digits into other signs; set data.flip=false")

    def _check_mixture(self) -> None:
        count = len(self.means)
        require(count > 0, "data.means", self.means, "names no component; e.g. data.means=[[-1,0],[1,0]]")
        for mean in self.means:
            ok = isinstance(mean, list) and len(mean) == 2 and all(is_number(x) and abs(x) <= 1000 for x in mean)
            require(ok, "data.means", mean, "must be two numbers between -1000 and 1000, as in [[-1,0],[1,0]]")
        require(
            len(self.stds) in (1, count) and all(0 < std <= 1000 for std in self.stds),
            "data.stds",
            self.stds,
            f"must be one number or {count}, each above 0 and at most 1000",
        )
        require(
            len(self.weights) in (0, count) and all(0 < weight <= 1e6 for weight in self.weights),
            "data.weights",
            self.weights,
            f"must be {count} numbers above 0 and at most 1e6, or [] for equal ones",
        )
