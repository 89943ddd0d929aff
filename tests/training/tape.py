"""What a CUDA graph does, on a CPU: the operations of one run of the body, done again on the very same tensors."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from gantrain.training.executors import CudaGraphExecutor, Snapshot
from gantrain.training.train_step import GraphKey, TrainStep


class Tape(TorchDispatchMode):
    """StepBuffer every operation with its arguments, numbers of the host included, and what it gave."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[tuple[Any, Any, Any, Any]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        found = func(*args, **kwargs)
        self.calls.append((func, args, kwargs, found))
        return found

    @torch.no_grad()
    def replay(self) -> None:
        """Does them again: what they give goes where it went, whatever the host has come to think meanwhile."""
        for func, args, kwargs, found in self.calls:
            inputs = {a.untyped_storage().data_ptr() for a in tree_leaves((args, kwargs)) if isinstance(a, Tensor)}
            again = func(*args, **kwargs)
            for old, new in zip(tree_leaves(found), tree_leaves(again), strict=True):
                if isinstance(old, Tensor) and old.untyped_storage().data_ptr() not in inputs:
                    old.copy_(new)


class Taped(CudaGraphExecutor):
    """`CudaGraphExecutor` with a tape in place of a CUDA graph."""

    def record(self, train_step: TrainStep, key: GraphKey, before: Snapshot) -> Callable[[], None]:
        tape = Tape()
        with tape:
            self.inner(train_step, key)
        before.restore()
        return tape.replay
