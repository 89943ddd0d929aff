"""Losses, logits and other values of the last iterations, kept on the device until they are read."""

import torch
from torch import Tensor

from gantrain.system.distributed import SINGLE_PROCESS, Processes

MAX_NOTES = 24
"""Maximum number of named scalars per iteration."""


class StepBuffer:
    """Values computed by the iterations since the last `clear`.

    Every iteration writes to the same memory (`logits_now` etc.), so that it can be captured as a CUDA graph;
    `close_row` then copies this to a row of a table.

    Attributes:
        now: flat memory that every iteration writes, of which `logits_now` and `updates_now` are views.
        logits_now: (3, batch): v on real and on fake images in the last discriminator step, and on the generator
            step's fakes.
        updates_now: (k + 1, 2): loss and gradient norm of each update, the generator's last.
        fakes: the last generator step's images; None before the first.
        fake_labels: their labels, if the networks read labels.
        count: rows, one for each iteration.
        made: number of discriminator updates of each iteration.
    """

    def __init__(
        self, capacity: int, batch_size: int, d_steps: int, device: torch.device, processes: Processes = SINGLE_PROCESS
    ) -> None:
        """Allocates memory for `capacity` iterations of at most `d_steps` discriminator steps.

        Logits and updates are those of the complete batch; notes are those of this process's rows and are averaged
        over processes when read.
        """
        self.processes = processes
        self.capacity = capacity
        self.count = 0
        self.made: list[int] = []
        self.fakes: Tensor | None = None
        self.fake_labels: Tensor | None = None
        self._shapes = (3, batch_size), (d_steps + 1, 2), (MAX_NOTES,)
        width = sum(torch.Size(shape).numel() for shape in self._shapes)
        self._table = torch.zeros(capacity, width, device=device)
        self.now = torch.zeros(width, device=device)
        self.logits_now, self.updates_now, self._notes_now = self._parts(self.now)
        self._places: dict[str, int] = {}

    @property
    def logits(self) -> Tensor:
        """(3, count, batch), see `logits_now`."""
        return self._parts(self._table[: self.count])[0].transpose(0, 1)

    @property
    def updates(self) -> Tensor:
        """(k + 1, count, 2), see `updates_now`; 0 where an iteration made fewer updates."""
        return self._parts(self._table[: self.count])[1].transpose(0, 1)

    @property
    def notes(self) -> dict[str, Tensor]:
        """Named scalars (count,); NaN for iterations that did not note the name."""
        notes = self.processes.all_reduce_mean(self._parts(self._table[: self.count])[2])
        return {name: notes[:, place] for name, place in self._places.items()}

    def open_row(self) -> None:
        """Begins an iteration: updates become 0 and notes NaN."""
        self.updates_now.zero_()
        self._notes_now.fill_(torch.nan)

    def note(self, name: str, value: Tensor) -> None:
        """Keeps a scalar of the current iteration."""
        place = self._places.setdefault(name, len(self._places))
        assert place < MAX_NOTES, f"an iteration can note at most {MAX_NOTES} scalars"
        self._notes_now[place].copy_(value.detach())

    def keep_logits(
        self, *, real: Tensor | None = None, fake: Tensor | None = None, generated: Tensor | None = None
    ) -> None:
        """Keeps logits (batch,) of the current iteration."""
        for place, logits in enumerate((real, fake, generated)):
            if logits is not None:
                self.logits_now[place].copy_(logits.detach())

    def keep_fakes(self, images: Tensor, labels: Tensor | None) -> None:
        """Keeps the generator step's images and labels, in the same memory each time."""
        if self.fakes is None:
            self.fakes = torch.empty_like(images.detach())
            self.fake_labels = None if labels is None else torch.empty_like(labels)
        self.fakes.copy_(images.detach())
        if self.fake_labels is not None and labels is not None:
            self.fake_labels.copy_(labels)

    def close_row(self, d_steps: int) -> None:
        """Ends an iteration with that many discriminator updates."""
        assert self.count < self.capacity, "the buffer is full; clear it"
        self._table[self.count].copy_(self.now)
        self.made.append(d_steps)
        self.count += 1

    def clear(self) -> None:
        """Drops all iterations."""
        self.count = 0
        self.made.clear()

    def first_bad_update(self) -> tuple[int, int, bool] | None:
        """The first update that was not finite, as (row, update, whether the loss was finite), or None.

        Waits for the device.
        """
        finite = self.updates.isfinite()
        if bool(finite.all()):
            return None
        bad = (~finite.all(dim=2)).t().flatten().nonzero()[0].item()
        row, update = divmod(int(bad), len(finite))
        return row, update, bool(finite[update, row, 0])

    def _parts(self, flat: Tensor) -> tuple[Tensor, ...]:
        """Logits, updates and notes of rows (..., width)."""
        sizes = [torch.Size(shape).numel() for shape in self._shapes]
        parts = zip(flat.split(sizes, dim=-1), self._shapes, strict=True)
        return tuple(part.unflatten(-1, shape) for part, shape in parts)
