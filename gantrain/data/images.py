"""A set of images as uint8, and the way from its levels to floats and back."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from gantrain.distributed import rand
from gantrain.errors import GantrainError

STATE_BYTES = (5056, 16)
"""Of a generator's state, on the CPU and on CUDA."""


class DataError(GantrainError):
    """Data that are missing, damaged or unusable, with the way out."""


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
        labels: int64 (N,); the class, or for digits the mode 0 to 999.
        classes: the names of the classes, in the order of the labels.
        mode_classifier: makes the classifier of metric `modes`; None if the labels are not modes.
    """

    name: str
    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    mode_classifier: Callable[[], ModeClassifier] | None = None

    def __post_init__(self) -> None:
        """Checks the types that the docstring promises."""
        assert self.images.dtype == torch.uint8
        assert self.images.ndim == 4
        assert self.images.shape[1] == 3
        assert len(self.labels) == len(self.images)

    @property
    def examples(self) -> Tensor:
        """The images, as every kind of data set calls what it holds."""
        return self.images

    def __len__(self) -> int:
        """Number of images."""
        return len(self.images)

    def to(self, device: torch.device) -> "ImageSet":
        """The same set on another device."""
        return replace(self, images=self.images.to(device), labels=self.labels.to(device))


def to_range(images: Tensor, image_range: tuple[float, float]) -> Tensor:
    """uint8 images as float32 with 0 at the low end of the range and 255 at its high end."""
    low, high = image_range
    return images.float() * ((high - low) / 255) + low


def dequantize(images: Tensor, image_range: tuple[float, float], generator: torch.Generator) -> Tensor:
    """uint8 images as floats spread evenly over their level: (x + U[0, 1))/256 of the range (Theis et al. 2016)."""
    low, high = image_range
    noise = rand(tuple(images.shape), generator)
    return (images.float() + noise) * ((high - low) / 256) + low


def to_uint8(images: Tensor, image_range: tuple[float, float]) -> Tensor:
    """Float images in the range as uint8, rounded to the nearest level."""
    low, high = image_range
    return ((images.float() - low) * (255 / (high - low))).round().clamp(0, 255).to(torch.uint8)


def restore_generator(generator: torch.Generator, state: Tensor, *, seed: int) -> bool:
    """Sets a generator's state, or seeds it anew if the state comes from the other kind of device.

    Returns:
        Whether the draws go on exactly.

    Raises:
        TypeError, ValueError: it is no generator's state.
    """
    if not isinstance(state, Tensor) or state.dtype != torch.uint8 or state.ndim != 1:
        raise TypeError("the state of a generator is a row of bytes")
    if state.numel() not in (generator.get_state().numel(), *STATE_BYTES):
        raise ValueError(f"the state of a generator has not {state.numel()} bytes")
    same_kind = state.numel() == generator.get_state().numel()
    if same_kind:
        generator.set_state(state.cpu())
    else:
        generator.manual_seed(seed)
    return same_kind
