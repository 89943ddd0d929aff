"""Batches of a data set that is stored on the device, or on the host if it is too large for the device."""

from typing import Any

import torch
from torch import Tensor

from gantrain.data.images import DataError, dequantize, restore_generator, to_range
from gantrain.system.distributed import SINGLE_PROCESS, Processes, rand, shared_generator

RING = 3
"""Number of pinned buffers of a streamed set: the host fills one while the others are copied to the device."""


class BatchSampler:
    """Endless batches in the order of a new permutation for each epoch, mirrored at random.

    Every example is seen once per epoch; the last batch of an epoch is completed from the next permutation.
    `prepare` chooses the examples of the next batches, and `batch` gathers them from buffers with fixed addresses so
    that a CUDA graph can capture it. The host never waits for the device.

    A streamed set stays on the host: `prepare` gathers the examples into pinned memory and copies them while the device
    computes. Its permutations are drawn on the host.
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
        at_once: int = 1,
        device: torch.device | None = None,
        streamed: bool = False,
        channels_last: bool = False,
        processes: Processes = SINGLE_PROCESS,
    ) -> None:
        """Starts the first epoch.

        Args:
            images: uint8 images (N, 3, H, W), or floats (N, ...) that batches contain unchanged.
            batch_size: examples in a batch, summed over all processes.
            image_range: of the images in batches; None for examples that are not images.
            flip: whether each image is mirrored with probability ½.
            seed: of permutations, flips and dequantization.
            labels: (N,), on the device of the images; None for batches without labels.
            dequantize: whether noise spreads each level evenly, see `dequantize`.
            at_once: largest number of batches that `prepare` is called with.
            device: of the batches; None is the device of the images.
            streamed: whether the images stay on the host.
            channels_last: whether batches of images have memory format channels_last.
            processes: the processes that train together; a batch has this process's rows only.
        """
        self.processes = processes
        self.channels_last = channels_last and images.ndim == 4
        self.images = images.contiguous(memory_format=torch.channels_last) if self.channels_last else images
        self.labels = labels
        self.batch_size = batch_size
        self.image_range = image_range
        self.flip = flip
        self.dequantize = dequantize
        self.device = images.device if device is None else device
        self.streamed = streamed
        self.generator = shared_generator(self.device, seed, processes)
        # A CUDA generator cannot draw permutations on the host.
        on_host = images.device != self.device
        self._permutations: torch.Generator = torch.Generator().manual_seed(seed) if on_host else self.generator
        self.epoch = 0
        self.cursor = 0
        self.order = self._permutation()
        shape = (at_once, batch_size // processes.world_size)
        if self.streamed:
            self._levels = torch.zeros(*shape, *images.shape[1:], dtype=images.dtype, device=self.device)
            self._labels = None if labels is None else torch.zeros(shape, dtype=torch.long, device=self.device)
            pinned = self.device.type == "cuda"
            self._ring = [torch.empty(self._levels.shape, dtype=images.dtype, pin_memory=pinned) for _ in range(RING)]
            self._label_ring = [torch.empty(shape, dtype=torch.long, pin_memory=pinned) for _ in range(RING)]
            self._copied = [torch.cuda.Event() for _ in range(RING)] if pinned else []
            self._turn = 0
        else:
            self._indices = torch.zeros(shape, dtype=torch.long, device=self.device)

    def prepare(self, count: int) -> None:
        """Chooses the examples of the next `count` batches."""
        indices = self.processes.local_rows(self.next_indices(count * self.batch_size).view(count, -1), dim=1)
        if self.streamed:
            self._stream(indices.flatten(), count)
        else:
            self._indices[:count].copy_(indices)

    def batch(self, place: int) -> tuple[Tensor, Tensor | None]:
        """Batch number `place` of the prepared batches: float images (rows, 3, H, W) in `image_range`, and labels."""
        if self.streamed:
            return self._augmented(self._levels[place]), None if self._labels is None else self._labels[place]
        indices = self._indices[place]
        labels = None if self.labels is None else self.labels.index_select(0, indices)
        if self.channels_last:  # gathers contiguous NHWC images
            levels = self.images.permute(0, 2, 3, 1).index_select(0, indices).permute(0, 3, 1, 2)
        else:
            levels = self.images.index_select(0, indices)
        return self._augmented(levels), labels

    def next(self) -> tuple[Tensor, Tensor | None]:
        """Prepares and returns the next batch."""
        self.prepare(1)
        return self.batch(0)

    def next_indices(self, wanted: int) -> Tensor:
        """The next `wanted` indices of examples, across ends of epochs."""
        taken = []
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

    def _augmented(self, levels: Tensor) -> Tensor:
        """uint8 images as floats in `image_range`, dequantized and mirrored as configured."""
        if self.image_range is None:
            return levels
        if self.dequantize:
            batch = dequantize(levels, self.image_range, self.generator)
        else:
            batch = to_range(levels, self.image_range)
        if self.flip:
            coin = rand((len(batch), 1, 1, 1), self.generator) < 0.5
            batch = torch.where(coin, batch.flip(3), batch)
        return batch.contiguous(memory_format=torch.channels_last) if self.channels_last else batch

    def _stream(self, indices: Tensor, count: int) -> None:
        """Gathers examples into the next pinned buffer and starts its copy to the device."""
        turn, self._turn = self._turn, (self._turn + 1) % RING
        if self._copied:
            self._copied[turn].synchronize()  # the last copy from this buffer, RING calls ago
        gathered = self._ring[turn][:count]
        torch.index_select(self.images, 0, indices, out=gathered.view(-1, *gathered.shape[2:]))
        self._levels[:count].copy_(gathered, non_blocking=True)
        if self._labels is not None:
            assert self.labels is not None
            torch.index_select(self.labels, 0, indices, out=self._label_ring[turn][:count].view(-1))
            self._labels[:count].copy_(self._label_ring[turn][:count], non_blocking=True)
        if self._copied:
            self._copied[turn].record()

    def state_dict(self) -> dict[str, Any]:
        """Everything that determines the next batches."""
        state: dict[str, Any] = {
            "order": self.order,
            "cursor": self.cursor,
            "epoch": self.epoch,
            "generator": self.generator.get_state(),
        }
        if self._permutations is not self.generator:
            state["permutations"] = self._permutations.get_state()
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continues where `state_dict` was taken.

        If the state comes from another kind of device, permutations, flips and noise are drawn from a new seed.

        Raises:
            DataError: the number of examples differs.
            LookupError, RuntimeError, TypeError: not a state of this class.
        """
        order: Any = state["order"]
        if len(order) != len(self.images):
            raise DataError(
                f"the checkpoint was trained on {len(order)} images, but the data set now has {len(self.images)}; "
                "point data.root at the original data set"
            )
        self.order = order.to(self.images.device)
        self.cursor, self.epoch = int(state["cursor"]), int(state["epoch"])
        seed = self.epoch * len(order) + self.cursor
        restore_generator(self.generator, state["generator"], seed=seed)
        if self._permutations is not self.generator:
            if "permutations" in state:
                self._permutations.set_state(state["permutations"])
            else:  # the set was on the device before
                self._permutations.manual_seed(seed)

    def _permutation(self) -> Tensor:
        return torch.randperm(len(self.images), generator=self._permutations, device=self.images.device)
