"""Batches of a set that lies on the device, or on the host where it is too large for that."""

import torch
from torch import Tensor

from gantrain.data.images import DataError, dequantize, restore_generator, to_range
from gantrain.distributed import SINGLE_PROCESS, Processes, rand, shared_generator

RING = 3
"""Pinned buffers of a streamed set: the host fills one while copies from the others are under way."""


class BatchSampler:
    """Endless batches: a new permutation each epoch, mirrored at random.

    Every image is seen once an epoch: a batch that the epoch's rest cannot fill is filled from the next
    permutation. `prepare` settles which examples the batches of an iteration are made of; `batch` makes them, from
    memory that stays where it is, so that a CUDA graph can hold it. Nothing waits for the host.

    Examples that lie elsewhere than on the device are streamed: `prepare` gathers them into pinned memory and copies
    from there while the device is at work. Permutations are then the host's.
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
        """Takes uint8 images (N, 3, H, W), and labels (N,) on the same device if batches are to have them.

        Without `image_range` the examples are floats of any shape, and batches hold them as they are.

        Args:
            images: the examples.
            batch_size: of each batch, over all processes.
            image_range: of the batches' images.
            flip: whether they are mirrored at random.
            seed: of permutations, flips and dequantization.
            labels: the examples' labels.
            dequantize: whether each level is spread evenly.
            at_once: the most batches that `prepare` is asked for.
            device: where batches are wanted; None is where the images are.
            streamed: whether the images stay on the host, and `prepare` copies what it needs.
            channels_last: whether batches of images are laid out as NHWC.
            processes: those that train together; batches hold this one's rows, and `batch_size` counts all.
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
        apart = images.device != self.device  # the device's generator cannot draw permutations on the host
        self._permutations: torch.Generator = torch.Generator().manual_seed(seed) if apart else self.generator
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
        """Settles what the next `count` batches are made of."""
        indices = self.processes.local_rows(self.next_indices(count * self.batch_size).view(count, -1), dim=1)
        if self.streamed:
            self._stream(indices.flatten(), count)
        else:
            self._indices[:count].copy_(indices)

    def batch(self, place: int) -> tuple[Tensor, Tensor | None]:
        """One of the batches prepared: images as floats (rows, 3, H, W) in `image_range`, and their labels."""
        if self.streamed:
            return self._augmented(self._levels[place]), None if self._labels is None else self._labels[place]
        indices = self._indices[place]
        labels = None if self.labels is None else self.labels.index_select(0, indices)
        if self.channels_last:  # whole rows of NHWC are gathered
            levels = self.images.permute(0, 2, 3, 1).index_select(0, indices).permute(0, 3, 1, 2)
        else:
            levels = self.images.index_select(0, indices)
        return self._augmented(levels), labels

    def next(self) -> tuple[Tensor, Tensor | None]:
        """The next batch by itself."""
        self.prepare(1)
        return self.batch(0)

    def next_indices(self, wanted: int) -> Tensor:
        """The next `wanted` indices of the order."""
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
        """Levels as floats, dequantized if asked for, each mirrored with probability ½ if `flip`."""
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
        """Gathers on the host into the next of the pinned buffers, and copies from there without waiting for it."""
        turn, self._turn = self._turn, (self._turn + 1) % RING
        if self._copied:
            self._copied[turn].synchronize()  # this buffer's last copy, RING iterations ago
        gathered = self._ring[turn][:count]
        torch.index_select(self.images, 0, indices, out=gathered.view(-1, *gathered.shape[2:]))
        self._levels[:count].copy_(gathered, non_blocking=True)
        if self._labels is not None:
            assert self.labels is not None
            torch.index_select(self.labels, 0, indices, out=self._label_ring[turn][:count].view(-1))
            self._labels[:count].copy_(self._label_ring[turn][:count], non_blocking=True)
        if self._copied:
            self._copied[turn].record()

    def state_dict(self) -> dict[str, Tensor | int]:
        """Everything that decides the batches to come."""
        state: dict[str, Tensor | int] = {
            "order": self.order,
            "cursor": self.cursor,
            "epoch": self.epoch,
            "generator": self.generator.get_state(),
        }
        apart = self._permutations is not self.generator
        return state | ({"permutations": self._permutations.get_state()} if apart else {})

    def load_state_dict(self, state: dict[str, Tensor | int]) -> None:
        """Continues where `state_dict` was taken.

        Generators of the CPU and of CUDA do not understand each other's states: restore_generator says what
        happens then.

        Raises:
            DataError: the set has another number of images.
            TypeError, ValueError: it is no such state.
        """
        order, rng = state["order"], state["generator"]
        if not isinstance(order, Tensor) or order.dtype != torch.long or order.ndim != 1 or not isinstance(rng, Tensor):
            raise TypeError("the order of the examples is no row of numbers")
        if len(order) != len(self.images):
            raise DataError(
                f"the checkpoint was trained on {len(order)} images and the data set now has {len(self.images)}; "
                "point data.root at the set of the run"
            )
        if not torch.equal(order.sort().values, torch.arange(len(order))):
            raise ValueError("the order of the examples has not each of them once")
        cursor, epoch = state["cursor"], state["epoch"]
        if not (type(cursor) is int and type(epoch) is int and 0 <= cursor <= len(order) and 0 <= epoch < 2**31):
            raise ValueError("the place in the order of the examples is none")
        self.order = order.to(self.images.device)
        self.cursor, self.epoch = cursor, epoch
        seen = self.epoch * len(order) + self.cursor
        restore_generator(self.generator, rng, seed=seen)
        permutations = state.get("permutations")
        if self._permutations is self.generator:
            return
        if isinstance(permutations, Tensor):
            self._permutations.set_state(permutations)
        else:  # the run kept its set on the device so far
            self._permutations.manual_seed(seen)

    def _permutation(self) -> Tensor:
        return torch.randperm(len(self.images), generator=self._permutations, device=self.images.device)
