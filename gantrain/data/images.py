"""A set of images that lives on the device, and batches of any set drawn there."""

from dataclasses import dataclass

import torch
from torch import Tensor


class DataError(ValueError):
    """Data that are missing, damaged or unusable, with the way out."""


@dataclass(frozen=True, slots=True)
class ImageSet:
    """Images and their labels.

    Attributes:
        name: the data set and split, for protocols.
        images: uint8 (N, 3, H, W).
        labels: int64 (N,); the class, or for digits the mode 0 to 999.
        classes: the names of the classes, in the order of the labels.
    """

    name: str
    images: Tensor
    labels: Tensor
    classes: tuple[str, ...]

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
        return ImageSet(self.name, self.images.to(device), self.labels.to(device), self.classes)


def to_range(images: Tensor, image_range: tuple[float, float]) -> Tensor:
    """uint8 images as float32 with 0 at the low end of the range and 255 at its high end."""
    low, high = image_range
    return images.float() * ((high - low) / 255) + low


def dequantize(images: Tensor, image_range: tuple[float, float], generator: torch.Generator) -> Tensor:
    """uint8 images as floats spread evenly over their level: (x + U[0, 1))/256 of the range (Theis et al. 2016)."""
    low, high = image_range
    noise = torch.rand(images.shape, generator=generator, device=images.device)
    return (images.float() + noise) * ((high - low) / 256) + low


def to_uint8(images: Tensor, image_range: tuple[float, float]) -> Tensor:
    """Float images in the range as uint8, rounded to the nearest level."""
    low, high = image_range
    return ((images.float() - low) * (255 / (high - low))).round().clamp(0, 255).to(torch.uint8)


def restore_generator(generator: torch.Generator, state: Tensor, *, seed: int) -> bool:
    """Sets a generator's state, or seeds it anew if the state comes from the other kind of device.

    Returns:
        Whether the draws go on exactly.
    """
    same_kind = state.numel() == generator.get_state().numel()
    if same_kind:
        generator.set_state(state.cpu())
    else:
        generator.manual_seed(seed)
    return same_kind


class BatchSampler:
    """Endless batches from a resident set: a new permutation each epoch, mirrored at random.

    Every image is seen once an epoch: a batch that the epoch's rest cannot fill is filled from the next
    permutation. All randomness comes from one generator on the set's device; nothing waits for the host.
    """

    def __init__(
        self,
        images: Tensor,
        *,
        batch_size: int,
        image_range: tuple[float, float] | None,
        flip: bool,
        seed: int,
        labels: Tensor | None = None,
        dequantize: bool = False,
    ) -> None:
        """Takes uint8 images (N, 3, H, W) on the device where the batches are wanted, and labels (N,) if they are.

        Without `image_range` the examples are floats of any shape, and batches hold them as they are.
        """
        self.images = images
        self.labels = labels
        self.batch_size = batch_size
        self.image_range = image_range
        self.flip = flip
        self.dequantize = dequantize
        self.generator = torch.Generator(images.device).manual_seed(seed)
        self.epoch = 0
        self.cursor = 0
        self.order = self._permutation()

    def next(self) -> tuple[Tensor, Tensor | None]:
        """The next examples, images as floats (batch_size, 3, H, W) in `image_range`, and their labels if any."""
        indices = self.next_indices()
        return self.images_at(indices), None if self.labels is None else self.labels[indices]

    def next_indices(self) -> Tensor:
        """The next `batch_size` indices of the order."""
        taken = []
        wanted = self.batch_size
        while wanted:
            if self.cursor == len(self.order):
                self.order = self._permutation()
                self.cursor = 0
                self.epoch += 1
            part = self.order[self.cursor : self.cursor + wanted]
            self.cursor += len(part)
            wanted -= len(part)
            taken.append(part)
        return taken[0] if len(taken) == 1 else torch.cat(taken)

    def images_at(self, indices: Tensor) -> Tensor:
        """Those images as floats, dequantised if asked for, each mirrored with probability ½ if `flip`."""
        levels = self.images[indices]
        if self.image_range is None:
            return levels
        if self.dequantize:
            batch = dequantize(levels, self.image_range, self.generator)
        else:
            batch = to_range(levels, self.image_range)
        if self.flip:
            coin = torch.rand(len(batch), 1, 1, 1, generator=self.generator, device=batch.device) < 0.5
            batch = torch.where(coin, batch.flip(3), batch)
        return batch

    def state_dict(self) -> dict[str, Tensor | int]:
        """Everything that decides the batches to come."""
        return {
            "order": self.order,
            "cursor": self.cursor,
            "epoch": self.epoch,
            "generator": self.generator.get_state(),
        }

    def load_state_dict(self, state: dict[str, Tensor | int]) -> None:
        """Continues where `state_dict` was taken.

        Generators of the CPU and of CUDA do not understand each other's states: restore_generator says what
        happens then.
        """
        order, rng = state["order"], state["generator"]
        assert isinstance(order, Tensor)
        assert isinstance(rng, Tensor)
        if len(order) != len(self.images):
            raise DataError(
                f"the checkpoint was trained on {len(order)} images and the data set now has {len(self.images)}; "
                "point data.root at the set of the run"
            )
        self.order = order.to(self.images.device)
        self.cursor, self.epoch = int(state["cursor"]), int(state["epoch"])
        restore_generator(self.generator, rng, seed=self.epoch * len(order) + self.cursor)

    def _permutation(self) -> Tensor:
        return torch.randperm(len(self.images), generator=self.generator, device=self.images.device)
