"""Ways to run an iteration: operation by operation (`eagerly`), compiled, or as one CUDA graph.

All run the same `TrainStep.body`. What the body needs of the host is settled before it, and every tensor that it
changes stays where it is, so that checkpoints are loaded into a captured graph in place.
"""

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from gantrain.cuda_graphs import capture_stream, captured, warm_up
from gantrain.training.train_step import Executor, GraphKey, TrainStep, run_eager

MOST_GRAPHS = 32
"""Variants whose graphs are kept. With one more all go: the end of one of a stream's graphs takes the cuBLAS workspace
that the others write into (PyTorch 2.14, pytorch#193402)."""


class Snapshot:
    """Everything that an iteration's body changes, to be put back in place."""

    def __init__(self, train_step: TrainStep) -> None:
        """Copies it, on the device."""
        self._tensors = [(tensor, tensor.detach().clone()) for tensor in train_step.tensors().values()]
        self._generators = [(generator, generator.get_state()) for generator in train_step.generators()]
        self._cpu = torch.get_rng_state()
        self._device = train_step.device
        self._cuda = torch.cuda.get_rng_state(self._device) if self._device.type == "cuda" else None

    @torch.no_grad()
    def restore(self) -> None:
        """Puts it back, random draws included."""
        for tensor, copy in self._tensors:
            tensor.copy_(copy)
        for generator, state in self._generators:
            generator.set_state(state)
        torch.set_rng_state(self._cpu)
        if self._cuda is not None:
            torch.cuda.set_rng_state(self._cuda, self._device)


class CompiledExecutor:
    """The body with its networks and losses compiled by torch.compile (Inductor), draws as eagerly.

    Penalties take second derivatives, which compiled functions do not have: what they need runs eagerly. The first
    iteration is tried on the side; where compiling fails, it is told and everything runs eagerly.

    Attributes:
        failure: why nothing is compiled; None while it works.
    """

    def __init__(self, say: Callable[[str], None] | None = None, **options: Any) -> None:
        """`say` is told of a failure (stderr without); `options` are torch.compile's."""
        self.failure: str | None = None
        self._say = say or _to_stderr
        # Dropout draws from PyTorch's own generators, as it does eagerly.
        self._options: dict[str, Any] = {"options": {"fallback_random": True}, "dynamic": False} | options
        self._tried = False

    def __call__(self, train_step: TrainStep, key: GraphKey) -> None:
        """Runs the body once; the first time it compiles, which takes a minute."""
        if not self._tried:
            self._try(train_step, key)
        train_step.body(key)

    def _try(self, train_step: TrainStep, key: GraphKey) -> None:
        self._tried = True
        eager = {name: getattr(train_step, name) for name in train_step.COMPILABLE}
        before = Snapshot(train_step)
        for name, function in eager.items():
            setattr(train_step, name, torch.compile(function, **self._options))
        try:
            train_step.body(key)
        except Exception as error:  # a compiler may fail in any way, and none of them needs to end a run
            self.failure = _first_line(error)
            for name, function in eager.items():
                setattr(train_step, name, function)
            self._say(f"gantrain: executor: compiling failed, and the run goes on eagerly: {self.failure}")
        _drop_gradients(train_step)
        before.restore()


class CudaGraphExecutor:
    """The whole iteration as one CUDA graph for each `GraphKey`: one launch in place of hundreds.

    A variant is captured when it first comes: after warm-ups on a stream of its own the state is put back, so that
    captured and eager runs pass through the same states. While a history is being filled, iterations run as the
    inner executor runs them. Where capturing fails, it is told and the inner executor takes over.

    Attributes:
        failure: why nothing is captured; None while it works.
    """

    def __init__(self, inner: Executor = run_eager, say: Callable[[str], None] | None = None) -> None:
        """`inner` runs the body while it is warmed up and captured; `say` is told of a failure (stderr without)."""
        self.inner = inner
        self.failure: str | None = None
        self._say = say or _to_stderr
        self._graphs: dict[GraphKey, tuple[Callable[[], None], list[tuple[nn.Parameter, Tensor | None]]]] = {}
        self._pool: Any = None
        self._stream: torch.cuda.Stream | None = None
        self._last: GraphKey | None = None

    def __call__(self, train_step: TrainStep, key: GraphKey) -> None:
        """Replays the variant's graph, captured if it is not yet."""
        if self.failure is None and not key.filling and key not in self._graphs:
            self._try(train_step, key)
        if key not in self._graphs:
            self.inner(train_step, key)
            self._last = None
            return
        replay, gradients = self._graphs[key]
        replay()
        if key != self._last:  # whoever looks at a gradient sees the one of this graph
            for parameter, gradient in gradients:
                parameter.grad = gradient
            self._last = key

    def _try(self, train_step: TrainStep, key: GraphKey) -> None:
        if len(self._graphs) == MOST_GRAPHS:
            self._forget(train_step)
        before = Snapshot(train_step)
        try:
            replay = self.record(train_step, key, before)
            self._graphs[key] = replay, [(p, p.grad) for p in train_step.networks.generator.parameters()]
        except Exception as error:  # the run is worth more than its speed
            self.failure = _first_line(error)
            self._forget(train_step)
            before.restore()
            self._say(
                f"gantrain: executor: the iteration cannot be captured as a CUDA graph, and the run goes on without, "
                f"several times slower for small networks: {self.failure}"
            )

    def _forget(self, train_step: TrainStep) -> None:
        """Frees all graphs and their memory; the next one begins another, since a pool ends with its last graph."""
        if train_step.device.type == "cuda":
            torch.cuda.synchronize(train_step.device)
        self._graphs.clear()
        self._pool = self._last = None
        _drop_gradients(train_step)

    def record(self, train_step: TrainStep, key: GraphKey, before: Snapshot) -> Callable[[], None]:
        """What runs the variant's body again, with everything as it was `before`."""
        if self._stream is None:
            self._stream = capture_stream(train_step.device, self)
        if self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
        work = partial(self.inner, train_step, key)
        warm_up(work, self._stream)
        _drop_gradients(train_step)  # the captured ones are to lie in the graph's own memory
        before.restore()
        graph = torch.cuda.CUDAGraph()
        captured(work, graph, stream=self._stream, pool=self._pool, generators=list(train_step.generators()))
        replay: Callable[[], None] = graph.replay
        return replay


def _drop_gradients(train_step: TrainStep) -> None:
    for optimizer in (train_step.optimizer_g, train_step.optimizer_d):
        optimizer.zero_grad(set_to_none=True)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__


def _to_stderr(words: str) -> None:
    print(words, file=sys.stderr)
