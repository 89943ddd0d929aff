"""The processes that train one run together (torchrun) and compute the same numbers as a single process.

A batch is split evenly: each process discriminates and generates its own rows. All processes draw the random numbers
of the complete batch from generators in the same state and keep their own rows. Losses are computed on the complete
batch (`Processes.all_gather`), so that gradients summed over processes equal those of a single process up to rounding.
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

TIMEOUT = timedelta(hours=2)
"""How long processes wait for the main one, which may be downloading data or drawing figures."""


@dataclass(frozen=True, slots=True)
class Processes:
    """The processes of a run, seen from one of them.

    Attributes:
        rank: number of this process, from 0.
        world_size: number of processes.
        local_rank: number of this process on its machine, which selects its GPU.
    """

    rank: int = 0
    world_size: int = 1
    local_rank: int = 0

    @property
    def is_main(self) -> bool:
        """Whether this is the process of rank 0, which writes files and makes decisions."""
        return self.rank == 0

    @property
    def group(self) -> "dist.ProcessGroup | None":
        """The torch.distributed group; None for a single process."""
        return dist.group.WORLD if self.world_size > 1 else None

    def local_rows(self, batch: Tensor, dim: int = 0) -> Tensor:
        """This process's rows of a complete batch."""
        return batch if self.world_size == 1 else batch.chunk(self.world_size, dim)[self.rank]

    def loss_share(self, loss: Tensor) -> Tensor:
        """A complete batch's loss as one term of a sum over processes: 1/world_size of its value, its full gradient.

        After `all_gather` each process's gradient already contains only the part of its own rows.
        """
        return loss if self.world_size == 1 else loss - loss.detach() * (1 - 1 / self.world_size)

    def mean_share(self, mean: Tensor) -> Tensor:
        """The mean over this process's rows as one term of a sum over processes, which is the mean over all rows."""
        return mean if self.world_size == 1 else mean / self.world_size

    def all_gather(self, *local: Tensor) -> list[Tensor]:
        """Concatenates the rows of all processes; gradients flow through this process's rows only.

        Args:
            *local: tensors (rows, ...) of equal shape and dtype.
        """
        if self.world_size == 1:
            return list(local)
        sent = torch.stack([rows.detach() for rows in local]).contiguous()
        parts = [torch.empty_like(sent) for _ in range(self.world_size)]
        dist.all_gather(parts, sent)
        gathered = []
        for index, rows in enumerate(local):
            by_rank = [part[index] for part in parts]
            by_rank[self.rank] = rows
            gathered.append(torch.cat(by_rank))
        return gathered

    def all_reduce_gradients(self, gradients: list[Tensor], loss: Tensor) -> Tensor:
        """Sums gradients in place and a scalar loss over processes, in one message; returns the summed loss."""
        if self.world_size == 1:
            return loss
        flat = torch.cat([*(gradient.flatten() for gradient in gradients), loss.reshape(1).to(gradients[0].dtype)])
        dist.all_reduce(flat)
        *sums, total = flat.split([*(gradient.numel() for gradient in gradients), 1])
        torch._foreach_copy_(gradients, [s.view(g.shape) for s, g in zip(sums, gradients, strict=True)])
        summed: Tensor = total[0]
        return summed

    def all_reduce_mean(self, values: Tensor) -> Tensor:
        """The mean over processes."""
        if self.world_size == 1:
            return values
        total = values.clone()
        dist.all_reduce(total)
        mean: Tensor = total / self.world_size
        return mean

    def broadcast_tensors(self, tensors: Iterable[Tensor]) -> None:
        """Overwrites tensors with those of the main process, one message for each dtype."""
        if self.world_size == 1:
            return
        by_dtype: dict[torch.dtype, list[Tensor]] = {}
        for tensor in tensors:
            by_dtype.setdefault(tensor.dtype, []).append(tensor.detach())
        for group in by_dtype.values():
            flat = torch.cat([tensor.flatten() for tensor in group])
            dist.broadcast(flat, src=0)
            received = flat.split([tensor.numel() for tensor in group])
            for tensor, value in zip(group, received, strict=True):
                tensor.copy_(value.view(tensor.shape))

    def broadcast(self, value: Any = None) -> Any:
        """The main process's value, in all processes."""
        if self.world_size == 1:
            return value
        values = [value if self.is_main else None]
        dist.broadcast_object_list(values, src=0, device=torch.device("cpu"))
        return values[0]

    def gather_objects(self, value: Any) -> list[Any]:
        """Each process's value, by rank."""
        if self.world_size == 1:
            return [value]
        values: list[Any] = [None] * self.world_size
        dist.all_gather_object(values, value)
        return values

    def local_slice(self, count: int) -> slice:
        """This process's part of `count` rows; parts follow the rank and differ by at most one row."""
        return slice(self.rank * count // self.world_size, (self.rank + 1) * count // self.world_size)

    def gather_slices(self, part: Tensor, count: int) -> Tensor:
        """All `count` rows, of which each process holds its `local_slice`; without gradients."""
        if self.world_size == 1:
            return part
        sent = part.new_zeros(-(-count // self.world_size), *part.shape[1:])
        sent[: len(part)] = part
        parts = [torch.empty_like(sent) for _ in range(self.world_size)]
        dist.all_gather(parts, sent)
        bounds = [rank * count // self.world_size for rank in range(self.world_size + 1)]
        return torch.cat([rows[: bounds[rank + 1] - bounds[rank]] for rank, rows in enumerate(parts)])

    def rank_seed(self, seed: int, step: int = 0) -> int:
        """Seed of a process's own random numbers from a step on; 32 bits, which is all that a CPU generator uses."""
        return int(np.random.SeedSequence((seed, self.rank, step)).generate_state(1)[0])

    @contextlib.contextmanager
    def main_process_first(self) -> Iterator[None]:
        """Runs the block in the main process, then in the others; for downloads and other files made once."""
        if not self.is_main:
            self.broadcast()
        yield
        if self.is_main:
            self.broadcast()


SINGLE_PROCESS = Processes()


def current_processes() -> Processes:
    """The processes of the initialized group; `SINGLE_PROCESS` without one."""
    if not dist.is_initialized():
        return SINGLE_PROCESS
    return Processes(dist.get_rank(), dist.get_world_size(), int(os.environ.get("LOCAL_RANK", "0")))


def torchrun_world_size(environment: Mapping[str, str]) -> int:
    """How many processes torchrun has started, from the variables that it sets; 1 without torchrun."""
    world_size = environment.get("WORLD_SIZE", "1")
    by_torchrun = "RANK" in environment and "MASTER_ADDR" in environment
    return int(world_size) if by_torchrun and world_size.isdigit() else 1


@contextlib.contextmanager
def process_group() -> Iterator[Processes]:
    """Initializes torch.distributed: gloo on the CPU, NCCL on CUDA.

    At the end the other processes are released if the main one has sent them no task.
    """
    dist.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo", timeout=TIMEOUT)
    _sent_tasks.clear()
    try:
        yield current_processes()
    finally:
        _release_workers()


def destroy_process_group() -> None:
    """Ends the group after success; after an error in one process this would block forever."""
    _release_workers()
    dist.destroy_process_group()


_sent_tasks: list[Any] = []  # by the main process, since `process_group` began


def broadcast_task(task: Any) -> None:
    """Sends a task from the main process to the others, which wait in `receive_task`; does nothing in others."""
    processes = current_processes()
    if processes.world_size > 1 and processes.is_main:
        _sent_tasks.append(task)
        processes.broadcast(task)


def receive_task() -> Any:
    """Waits for the main process's task; None if the main process ends without one."""
    return current_processes().broadcast()


def _release_workers() -> None:
    if dist.is_initialized() and current_processes().is_main and not _sent_tasks:
        _sent_tasks.append(None)
        with contextlib.suppress(RuntimeError):  # they may have ended
            current_processes().broadcast()


def is_connection_lost(error: BaseException) -> bool:
    """Whether the error says that another process ended while this one waited for it."""
    lost = any(words in str(error) for words in ("onnection", "Broken pipe", "NCCL"))
    return dist.is_initialized() and isinstance(error, RuntimeError) and lost


class SharedGenerator(torch.Generator):
    """A random generator that is in the same state in all processes, for `rand`, `randn` and `randint`.

    Attributes:
        processes: the processes that share it.
    """

    processes: Processes = SINGLE_PROCESS


def shared_generator(device: torch.device, seed: int, processes: Processes) -> torch.Generator:
    """A seeded `SharedGenerator`; a plain generator for a single process."""
    if processes.world_size == 1:
        return torch.Generator(device).manual_seed(seed)
    generator = SharedGenerator(device)
    generator.manual_seed(seed)
    generator.processes = processes
    return generator


def rand(shape: tuple[int, ...], draws: torch.Generator, *, rows: int = 0) -> Tensor:
    """Uniform float32 values in [0, 1) on the generator's device.

    Args:
        shape: of this process's part.
        draws: the generator; from a shared one each process takes its rows of the complete batch's values.
        rows: the batch dimension.
    """
    return _local(torch.rand(_batch_shape(shape, draws, rows), generator=draws, device=draws.device), draws, rows)


def randn(shape: tuple[int, ...], draws: torch.Generator, *, rows: int = 0) -> Tensor:
    """Standard normal values; otherwise as `rand`."""
    return _local(torch.randn(_batch_shape(shape, draws, rows), generator=draws, device=draws.device), draws, rows)


def randint(low: int, high: int, shape: tuple[int, ...], draws: torch.Generator, *, rows: int = 0) -> Tensor:
    """int64 values in [low, high); otherwise as `rand`."""
    complete = _batch_shape(shape, draws, rows)
    return _local(torch.randint(low, high, complete, generator=draws, device=draws.device), draws, rows)


def batch_std(local: Tensor, draws: torch.Generator) -> Tensor:
    """Unbiased standard deviation over all values of the complete batch, of which `local` is this process's part."""
    processes = _processes(draws)
    if processes.world_size == 1:
        return local.std()
    count = local.numel() * processes.world_size
    mean = processes.all_reduce_mean(local.mean())
    variance = processes.all_reduce_mean((local - mean).square().mean()) * count / (count - 1)
    return variance.sqrt()


def _processes(draws: torch.Generator) -> Processes:
    return draws.processes if isinstance(draws, SharedGenerator) else SINGLE_PROCESS


def _batch_shape(shape: tuple[int, ...], draws: torch.Generator, rows: int) -> tuple[int, ...]:
    return (*shape[:rows], shape[rows] * _processes(draws).world_size, *shape[rows + 1 :])


def _local(complete: Tensor, draws: torch.Generator, rows: int) -> Tensor:
    return _processes(draws).local_rows(complete, rows)
