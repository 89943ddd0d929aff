"""The processes that train one run together: what each of them does of a batch, and how they come to the same numbers.

A batch is that of all processes; each judges and generates its own rows of it, equally many. Random numbers are
drawn for the whole batch by every process from the same state, and each keeps its rows of them. Losses are of the
whole batch too (`gather`), so that gradients, summed over processes, are those of one process alone to rounding.
"""

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

PATIENCE = timedelta(hours=2)  # while the first process downloads or measures, the others wait


@dataclass(frozen=True, slots=True)
class Processes:
    """This process among those of its run.

    Attributes:
        rank: its number, from 0; the first one writes.
        count: how many there are.
        local_rank: its number on this machine, which is that of its GPU.
    """

    rank: int = 0
    count: int = 1
    local_rank: int = 0

    @property
    def is_first(self) -> bool:
        """Whether this is the one that writes and decides."""
        return self.rank == 0

    @property
    def group(self) -> "dist.ProcessGroup | None":
        """What torch.distributed knows them as; None for one alone."""
        return dist.group.WORLD if self.count > 1 else None

    def own(self, whole: Tensor, dim: int = 0) -> Tensor:
        """This process's rows of what all of them hold."""
        return whole if self.count == 1 else whole.chunk(self.count, dim)[self.rank]

    def part_of(self, loss: Tensor) -> Tensor:
        """The loss of a whole batch as a term of a sum over processes: 1/count of its value, all of its gradient.

        Its gradient is complete by this process's rows alone, see `gather`.
        """
        return loss if self.count == 1 else loss - loss.detach() * (1 - 1 / self.count)

    def share_of(self, mean: Tensor) -> Tensor:
        """The mean over this process's rows as a term of a sum over processes, which is the mean over all rows."""
        return mean if self.count == 1 else mean / self.count

    def gather(self, *own: Tensor) -> list[Tensor]:
        """The whole of each (rows, ...), of one shape and dtype; only this process's rows pass a gradient on."""
        if self.count == 1:
            return list(own)
        sent = torch.stack([rows.detach() for rows in own]).contiguous()
        parts = [torch.empty_like(sent) for _ in range(self.count)]
        dist.all_gather(parts, sent)
        found = []
        for place, rows in enumerate(own):
            in_order = [part[place] for part in parts]
            in_order[self.rank] = rows
            found.append(torch.cat(in_order))
        return found

    def sum_gradients(self, gradients: list[Tensor], loss: Tensor) -> Tensor:
        """Adds up gradients in place and a scalar loss over processes, all in one message; returns the loss."""
        if self.count == 1:
            return loss
        flat = torch.cat([*(gradient.flatten() for gradient in gradients), loss.reshape(1).to(gradients[0].dtype)])
        dist.all_reduce(flat)
        *sums, total = flat.split([*(gradient.numel() for gradient in gradients), 1])
        torch._foreach_copy_(gradients, [s.view(g.shape) for s, g in zip(sums, gradients, strict=True)])
        whole: Tensor = total[0]
        return whole

    def mean(self, values: Tensor) -> Tensor:
        """The mean over processes."""
        if self.count == 1:
            return values
        total = values.clone()
        dist.all_reduce(total)
        found: Tensor = total / self.count
        return found

    def take_from_first(self, tensors: Iterable[Tensor]) -> None:
        """Overwrites tensors with those of the first process, one message for each dtype."""
        if self.count == 1:
            return
        by_dtype: dict[torch.dtype, list[Tensor]] = {}
        for tensor in tensors:
            by_dtype.setdefault(tensor.dtype, []).append(tensor.detach())
        for kept in by_dtype.values():
            flat = torch.cat([tensor.flatten() for tensor in kept])
            dist.broadcast(flat, src=0)
            sent = flat.split([tensor.numel() for tensor in kept])
            for tensor, value in zip(kept, sent, strict=True):
                tensor.copy_(value.view(tensor.shape))

    def first_says(self, value: Any = None) -> Any:
        """What the first process gives, in all of them."""
        if self.count == 1:
            return value
        said = [value if self.is_first else None]
        dist.broadcast_object_list(said, src=0, device=torch.device("cpu"))
        return said[0]

    def all_say(self, value: Any) -> list[Any]:
        """What each process gives, by rank."""
        if self.count == 1:
            return [value]
        said: list[Any] = [None] * self.count
        dist.all_gather_object(said, value)
        return said

    def rows_of(self, count: int) -> slice:
        """This process's part of so many rows, in order of rank; the parts differ by one row at most."""
        return slice(self.rank * count // self.count, (self.rank + 1) * count // self.count)

    def join(self, part: Tensor, count: int) -> Tensor:
        """The whole `count` rows of which each process has its `rows_of`; no gradient passes."""
        if self.count == 1:
            return part
        sent = part.new_zeros(-(-count // self.count), *part.shape[1:])
        sent[: len(part)] = part
        parts = [torch.empty_like(sent) for _ in range(self.count)]
        dist.all_gather(parts, sent)
        bounds = [rank * count // self.count for rank in range(self.count + 1)]
        return torch.cat([found[: bounds[rank + 1] - bounds[rank]] for rank, found in enumerate(parts)])

    def own_seed(self, seed: int, step: int = 0) -> int:
        """The seed of what each process draws by itself from a step on: 32 bits, since a CPU reads no more."""
        return int(np.random.SeedSequence((seed, self.rank, step)).generate_state(1)[0])

    @contextlib.contextmanager
    def first_alone(self) -> Iterator[None]:
        """The first process goes ahead, the others follow when it has left: for what is made once and then found."""
        if not self.is_first:
            self.first_says()
        yield
        if self.is_first:
            self.first_says()


ALONE = Processes()


def present() -> Processes:
    """This process among those that `joined` has brought together; `ALONE` without that."""
    if not dist.is_initialized():
        return ALONE
    return Processes(dist.get_rank(), dist.get_world_size(), int(os.environ.get("LOCAL_RANK", "0")))


def started(environment: Mapping[str, str]) -> int:
    """How many processes torchrun has started together, by the variables that it sets; 1 without it."""
    count = environment.get("WORLD_SIZE", "1")
    by_torchrun = "RANK" in environment and "MASTER_ADDR" in environment
    return int(count) if by_torchrun and count.isdigit() else 1


@contextlib.contextmanager
def joined() -> Iterator[Processes]:
    """Waits for the other processes of torchrun: gloo on the CPU, NCCL on CUDA.

    The others are let go if the first process ends without having called them to a run.
    """
    dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo", timeout=PATIENCE)
    _calls.clear()
    try:
        yield present()
    finally:
        _dismiss()


def part() -> None:
    """Ends in good order what `joined` has begun; where something went wrong that could wait for ever."""
    _dismiss()
    dist.destroy_process_group()


_calls: list[Any] = []  # what the first process has called the others to since `joined`


def call(task: Any) -> None:
    """The first process has the others take part in a task, whose `wait_for_call` returns it; else nothing."""
    if present().count > 1 and present().is_first:
        _calls.append(task)
        present().first_says(task)


def wait_for_call() -> Any:
    """What the first process calls for, None if it ends before."""
    return present().first_says()


def _dismiss() -> None:
    if dist.is_initialized() and present().is_first and not _calls:
        _calls.append(None)
        with contextlib.suppress(RuntimeError):  # they may be gone by themselves
            present().first_says()


def is_parting(error: BaseException) -> bool:
    """Whether it says that another process has gone while this one waited for it."""
    gone = any(words in str(error) for words in ("onnection", "Broken pipe", "NCCL"))
    return dist.is_initialized() and isinstance(error, RuntimeError) and gone


class SharedGenerator(torch.Generator):
    """A source of random numbers that all processes have in the same state, see `rand` and the others.

    Attributes:
        processes: whose.
    """

    processes: Processes = ALONE


def shared_generator(device: torch.device, seed: int, processes: Processes) -> torch.Generator:
    """A seeded one; a plain one for a process alone."""
    if processes.count == 1:
        return torch.Generator(device).manual_seed(seed)
    generator = SharedGenerator(device)
    generator.manual_seed(seed)
    generator.processes = processes
    return generator


def rand(shape: tuple[int, ...], draws: torch.Generator, *, rows: int = 0) -> Tensor:
    """Uniform on [0, 1), float32 on the generator's device.

    Args:
        shape: of what this process needs.
        draws: the source; a shared one gives each process its rows of the whole batch's numbers.
        rows: which dimension is the batch's.
    """
    return _own(torch.rand(_whole(shape, draws, rows), generator=draws, device=draws.device), draws, rows)


def randn(shape: tuple[int, ...], draws: torch.Generator, *, rows: int = 0) -> Tensor:
    """Standard normal ones; otherwise as `rand`."""
    return _own(torch.randn(_whole(shape, draws, rows), generator=draws, device=draws.device), draws, rows)


def randint(low: int, high: int, shape: tuple[int, ...], draws: torch.Generator, *, rows: int = 0) -> Tensor:
    """Integers in [low, high), int64; otherwise as `rand`."""
    whole = _whole(shape, draws, rows)
    return _own(torch.randint(low, high, whole, generator=draws, device=draws.device), draws, rows)


def standard_deviation(own: Tensor, draws: torch.Generator) -> Tensor:
    """Of all values in the whole batch of which `own` (rows, ...) is this process's part; the unbiased one."""
    processes = _processes(draws)
    if processes.count == 1:
        return own.std()
    mean = processes.mean(own.mean())
    return (
        (processes.mean((own - mean).square().mean()) * (own.numel() * processes.count))
        .div(own.numel() * processes.count - 1)
        .sqrt()
    )


def _processes(draws: torch.Generator) -> Processes:
    return draws.processes if isinstance(draws, SharedGenerator) else ALONE


def _whole(shape: tuple[int, ...], draws: torch.Generator, rows: int) -> tuple[int, ...]:
    count = _processes(draws).count
    return (*shape[:rows], shape[rows] * count, *shape[rows + 1 :])


def _own(whole: Tensor, draws: torch.Generator, rows: int) -> Tensor:
    return _processes(draws).own(whole, rows)
