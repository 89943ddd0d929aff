"""Tiny trainers, the operations that a step runs, and a stand-in for CUDA graphs on a CPU that repeats them."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from gantrain import builders
from gantrain.system.distributed import SINGLE_PROCESS, Processes
from gantrain.training.executors import CudaGraphExecutor, Snapshot
from gantrain.training.train_step import TrainStep
from gantrain.training.trainer import Trainer
from tests.conftest import compose
from tests.techniques import tiny

WAITS = ("_local_scalar_dense", "nonzero", "equal.default", "item")


def make_trainer(*overrides: str, steps: int = 40, processes: Processes = SINGLE_PROCESS) -> Trainer:
    """A tiny trainer on the CPU that evaluates and logs only at the end, unless overridden."""
    words = (f"schedule.steps={steps}", "metrics=none", f"log.every_steps={steps}")
    config = compose(*tiny((*words, *overrides)))
    return builders.build_trainer(config, builders.load_data(config, "train"), [], torch.device("cpu"), processes)


class Operations(TorchDispatchMode):
    """Records the names of all operations."""

    def __init__(self) -> None:
        super().__init__()
        self.names: list[str] = []

    @property
    def that_wait(self) -> list[str]:
        """Those that read a tensor on the host."""
        return [name for name in self.names if any(wait in name for wait in WAITS)]

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.names.append(str(func))
        return func(*args, **(kwargs or {}))


class Tape(TorchDispatchMode):
    """Records every operation with its arguments, numbers of the host included, and its result."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, Any, Any, Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        self.calls.append((func, args, kwargs, result))
        return result

    @torch.no_grad()
    def replay(self) -> None:
        """Repeats them with the recorded arguments and writes results where they went."""
        for func, args, kwargs, result in self.calls:
            inputs = {a.untyped_storage().data_ptr() for a in tree_leaves((args, kwargs)) if isinstance(a, Tensor)}
            again = func(*args, **kwargs)
            for old, new in zip(tree_leaves(result), tree_leaves(again), strict=True):
                if isinstance(old, Tensor) and old.untyped_storage().data_ptr() not in inputs:
                    old.copy_(new)


class TapeExecutor(CudaGraphExecutor):
    """`CudaGraphExecutor` with a tape in place of a CUDA graph."""

    def record(self, train_step: TrainStep, before: Snapshot) -> Callable[[], None]:
        tape = Tape()
        with tape:
            self.inner(train_step)
        before.restore()
        return tape.replay
