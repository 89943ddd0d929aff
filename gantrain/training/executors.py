"""Ways to run an iteration: compiled, or as a CUDA graph; `TrainStep.body` itself runs it operation by operation.

All run the same `TrainStep.body`. The host decides everything before it, and the body changes tensors in place, so
that a checkpoint can be loaded while graphs exist.
"""

import logging
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from gantrain.system.cuda_graphs import capture_graph, capture_stream, warm_up
from gantrain.training.train_step import Executor, GraphKey, TrainStep

logger = logging.getLogger(__name__)

MAX_GRAPHS = 32
"""Maximum number of graphs. Beyond it all are freed, since freeing one frees the stream's cuBLAS workspace, which the
others use (PyTorch 2.14, pytorch#193402)."""


class Snapshot:
    """A copy of everything that the body changes."""

    def __init__(self, train_step: TrainStep) -> None:
        """Copies the state, on the device."""
        self._tensors = [(tensor, tensor.detach().clone()) for tensor in train_step.tensors().values()]
        self._generators = [(generator, generator.get_state()) for generator in train_step.generators()]
        self._cpu = torch.get_rng_state()
        self._device = train_step.device
        self._cuda = torch.cuda.get_rng_state(self._device) if self._device.type == "cuda" else None

    @torch.no_grad()
    def restore(self) -> None:
        """Restores the state in place, including random generators."""
        for tensor, copy in self._tensors:
            tensor.copy_(copy)
        for generator, state in self._generators:
            generator.set_state(state)
        torch.set_rng_state(self._cpu)
        if self._cuda is not None:
            torch.cuda.set_rng_state(self._cuda, self._device)


class CompiledExecutor:
    """Runs the body with networks and losses compiled by torch.compile (Inductor), with the same random numbers.

    Compiled functions have no second derivatives, so gradient penalties run eagerly. The first iteration is a trial
    and is undone; if compiling fails, everything runs eagerly.

    Attributes:
        failure: the reason if compiling failed, else None.
    """

    def __init__(self, **options: Any) -> None:
        """`options` are passed to torch.compile."""
        self.failure: str | None = None
        # With fallback_random dropout uses PyTorch's own generators, as it does eagerly.
        self._options: dict[str, Any] = {"options": {"fallback_random": True}, "dynamic": False} | options
        self._tried = False

    def __call__(self, train_step: TrainStep) -> None:
        """Runs the body; the first call compiles, which takes a minute."""
        if not self._tried:
            self._try(train_step)
        train_step.body()

    def _try(self, train_step: TrainStep) -> None:
        self._tried = True
        eager = {name: getattr(train_step, name) for name in train_step.COMPILABLE}
        before = Snapshot(train_step)
        for name, function in eager.items():
            setattr(train_step, name, torch.compile(function, **self._options))
        try:
            train_step.body()
        except Exception as error:  # compilers fail in many ways; the run can continue without
            self.failure = _first_line(error)
            for name, function in eager.items():
                setattr(train_step, name, function)
            logger.warning("compiling failed, the run continues eagerly: %s", self.failure)
        _drop_gradients(train_step)
        before.restore()


class CudaGraphExecutor:
    """Replays the body as one CUDA graph per `GraphKey`: one launch instead of hundreds.

    A graph is captured when its key first occurs. The state is restored after the warm-up, so that captured and eager
    runs have the same states. Iterations that cannot be captured use the inner executor; if capturing fails, all do.

    Attributes:
        failure: the reason if capturing failed, else None.
    """

    def __init__(self, inner: Executor = TrainStep.body) -> None:
        """`inner` runs the body while it is warmed up and captured."""
        self.inner = inner
        self.failure: str | None = None
        self._graphs: dict[GraphKey, tuple[Callable[[], None], list[tuple[nn.Parameter, Tensor | None]]]] = {}
        self._pool: Any = None
        self._stream: torch.cuda.Stream | None = None
        self._last: GraphKey | None = None

    def __call__(self, train_step: TrainStep) -> None:
        """Replays the graph of the current key; captures it first if there is none."""
        key = train_step.key
        if self.failure is None and key.capturable and key not in self._graphs:
            self._capture(train_step)
        if key not in self._graphs:
            self.inner(train_step)
            self._last = None
            return
        replay, gradients = self._graphs[key]
        replay()
        if key != self._last:  # `.grad` must be that of the graph that ran last
            for parameter, gradient in gradients:
                parameter.grad = gradient
            self._last = key

    def _capture(self, train_step: TrainStep) -> None:
        if len(self._graphs) == MAX_GRAPHS:
            self._forget(train_step)
        before = Snapshot(train_step)
        try:
            replay = self.record(train_step, before)
            gradients = [(p, p.grad) for p in train_step.networks.generator.parameters()]
            self._graphs[train_step.key] = replay, gradients
        except Exception as error:  # the run can continue without graphs
            self.failure = _first_line(error)
            self._forget(train_step)
            before.restore()
            logger.warning(
                "the iteration cannot be captured as a CUDA graph; the run continues without one, several times "
                "slower for small networks: %s",
                self.failure,
            )

    def record(self, train_step: TrainStep, before: Snapshot) -> Callable[[], None]:
        """Captures the body for the current key; returns a function that replays it. The state stays as in `before`."""
        if self._stream is None:
            self._stream = capture_stream(train_step.device, self)
        if self._pool is None:
            self._pool = torch.cuda.graph_pool_handle()
        warm_up(lambda: self.inner(train_step), self._stream)
        _drop_gradients(train_step)  # the captured gradients must be in the graph's own memory
        before.restore()
        graph = torch.cuda.CUDAGraph()
        capture_graph(
            lambda: self.inner(train_step),
            graph,
            stream=self._stream,
            pool=self._pool,
            generators=train_step.generators(),
        )
        replay: Callable[[], None] = graph.replay
        return replay

    def _forget(self, train_step: TrainStep) -> None:
        """Frees all graphs and their memory pool, which is unusable after its last graph."""
        if train_step.device.type == "cuda":
            torch.cuda.synchronize(train_step.device)
        self._graphs.clear()
        self._pool = self._last = None
        _drop_gradients(train_step)


def _drop_gradients(train_step: TrainStep) -> None:
    for optimizer in (train_step.optimizer_g, train_step.optimizer_d):
        optimizer.zero_grad(set_to_none=True)


def _first_line(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0]}" if lines else type(error).__name__
