"""A history of fakes for the discriminator (Shrivastava et al. 2017, arXiv:1612.07828, §2.3)."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gantrain.options import between, option
from gantrain.system.distributed import SINGLE_PROCESS, Processes
from gantrain.training.tricks.base import Decision, Trick, TrickOptions, TrickSetup


@dataclass(slots=True, kw_only=True)
class HistoryOptions(TrickOptions):
    """Options of `History`."""

    history: int = option(0, "earlier fakes kept for half of D's batches; 0: off")

    def __post_init__(self) -> None:
        """Checks ranges."""
        between("tricks.history", self.history, 0, 10**6)

    def build(self, setup: TrickSetup) -> "History | None":
        """See `TrickOptions`."""
        if not self.history:
            return None
        images = torch.zeros(self.history, *setup.example_shape, device=setup.device)
        labels = torch.zeros(self.history, dtype=torch.long, device=setup.device) if setup.labeled else None
        return History(images, labels, setup.batch_size, setup.processes)


class History(Trick):
    """A buffer of earlier fakes.

    Once it is full, half of every batch of fakes that the discriminator sees is drawn from it, and the other half of
    the generator's fakes replace those that were drawn. All processes keep the same buffer.

    Attributes:
        filled: number of fakes in it.
    """

    name = "history"

    def __init__(
        self, images: Tensor, labels: Tensor | None, batch_size: int, processes: Processes = SINGLE_PROCESS
    ) -> None:
        """Initializes an empty buffer.

        Args:
            images: (capacity, 3, H, W).
            labels: (capacity,), if the networks read labels.
            batch_size: fakes of a discriminator step, over all processes.
            processes: the processes that train together.
        """
        self.images, self.labels = images, labels
        self.batch_size = batch_size
        self.processes = processes
        self.filled = 0

    @property
    def is_filling(self) -> bool:
        """Whether there is room left."""
        return self.filled < len(self.images)

    @property
    def is_capturable(self) -> bool:
        """False while the buffer is being filled, since each iteration writes to another place."""
        return not self.is_filling

    def prepare(self, step: int, epoch: int) -> bool:
        """Whether the next iteration fills the buffer."""
        return self.is_filling

    def replace_fakes(
        self, fake: Tensor, labels: Tensor | None, draws: torch.Generator, d_step: int, decision: Decision
    ) -> tuple[Tensor, Tensor | None]:
        """See `Trick`; takes and returns this process's rows."""
        processes = self.processes
        (all_fakes,) = processes.all_gather(fake)
        all_labels = None if labels is None else processes.all_gather(labels)[0]
        if decision:
            self._fill(all_fakes, all_labels, self.filled + d_step * self.batch_size)
            return fake, labels
        mixed, mixed_labels = self._mix(all_fakes, all_labels, draws)
        return processes.local_rows(mixed), None if mixed_labels is None else processes.local_rows(mixed_labels)

    def _fill(self, fake: Tensor, labels: Tensor | None, first: int) -> None:
        """Stores as many fakes as fit, from index `first` on."""
        places = slice(min(len(self.images), first), first + len(fake))
        room = len(self.images[places])
        self.images[places].copy_(fake[:room])
        if self.labels is not None and labels is not None:
            self.labels[places].copy_(labels[:room])

    def _mix(self, fake: Tensor, labels: Tensor | None, draws: torch.Generator) -> tuple[Tensor, Tensor | None]:
        """Half a batch from the buffer and half of the new fakes; the others replace those taken from the buffer."""
        half = min(len(fake) // 2, len(self.images))
        places = torch.rand(len(self.images), generator=draws, device=self.images.device).topk(half).indices
        mixed = torch.cat((self.images.index_select(0, places).to(fake.dtype), fake[half:]))
        self.images.index_copy_(0, places, fake[:half].to(self.images.dtype))
        if self.labels is None or labels is None:
            return mixed, labels
        mixed_labels = torch.cat((self.labels.index_select(0, places), labels[half:]))
        self.labels.index_copy_(0, places, labels[:half])
        return mixed, mixed_labels

    def finish(self, d_steps: int) -> None:
        """Counts the fakes that the iteration has stored."""
        self.filled = min(len(self.images), self.filled + d_steps * self.batch_size)

    def tensors(self) -> dict[str, Tensor]:
        """See `Trick`."""
        return {"images": self.images} | ({} if self.labels is None else {"labels": self.labels})

    def state_dict(self) -> dict[str, Any]:
        """See `Trick`."""
        return {**self.tensors(), "filled": self.filled}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """See `Trick`."""
        super().load_state_dict(state)
        self.filled = state["filled"]
