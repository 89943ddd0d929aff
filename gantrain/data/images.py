"""A set of uint8 images, and the conversion between uint8 and floats."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from gantrain.errors import GantrainError
from gantrain.system.distributed import rand


class DataError(GantrainError):
    """Data that are missing, damaged or unusable; the message says what to do."""


class ModeClassifier(Protocol):
    """Finds the mode that an image shows."""

    name: str
    """For the protocol of metric `modes`."""

    def modes(self, images: Tensor) -> Tensor:
        """uint8 (N, 3, H, W) -> labels (N,) on the CPU."""


@dataclass(frozen=True, slots=True)
class ImageSet:
    """Images and their labels.

    Attributes:
        name: the data set and split, for protocols.
        images: uint8 (N, 3, H, W).
        labels: int64 (N,), indices of `classes`.
        classes: names of the classes or modes.
        mode_classifier: makes the classifier of metric `modes`; None if the labels are not modes.
    """

    name: str
    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    mode_classifier: Callable[[], ModeClassifier] | None = None

    def __post_init__(self) -> None:
        """Checks type and shape."""
        assert self.images.dtype == torch.uint8
        assert self.images.shape[1:2] == (3,)
        assert len(self.labels) == len(self.images)

    @property
    def examples(self) -> Tensor:
        """The images, under the name that all kinds of data sets share."""
        return self.images

    def __len__(self) -> int:
        """Number of images."""
        return len(self.images)

    def to(self, device: torch.device) -> "ImageSet":
        """The same set on another device."""
        return replace(self, images=self.images.to(device), labels=self.labels.to(device))


def to_range(images: Tensor, image_range: tuple[float, float]) -> Tensor:
    """uint8 images as float32, with 0 at the low end of the range and 255 at the high end."""
    low, high = image_range
    return images.float() * ((high - low) / 255) + low


def dequantize(images: Tensor, image_range: tuple[float, float], generator: torch.Generator) -> Tensor:
    """uint8 images x as floats with uniform noise: (x + U[0, 1))/256 of the range (Theis et al. 2016)."""
    low, high = image_range
    noise = rand(tuple(images.shape), generator)
    return (images.float() + noise) * ((high - low) / 256) + low


def to_uint8(images: Tensor, image_range: tuple[float, float]) -> Tensor:
    """Float images in the range, rounded to uint8; values outside the range are clipped."""
    low, high = image_range
    return ((images.float() - low) * (255 / (high - low))).round().clamp(0, 255).to(torch.uint8)


def restore_generator(generator: torch.Generator, state: Tensor, *, seed: int) -> bool:
    """Restores the state of a generator, or seeds it if the state comes from another kind of device.

    Returns:
        Whether the state was restored.

    Raises:
        RuntimeError, TypeError: not a state of a generator.
    """
    same_kind = len(state) == len(generator.get_state())
    if same_kind:
        generator.set_state(state.cpu())
    else:
        generator.manual_seed(seed)
    return same_kind
