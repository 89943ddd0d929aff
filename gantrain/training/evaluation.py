"""Measuring: while training waits, or beside it in a thread of its own, on copies of the generators."""

import contextlib
import copy
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from gantrain.cuda_graphs import CAPTURING, working_stream
from gantrain.distributed import ALONE, Processes
from gantrain.metrics.metric import Metric, MetricValue, generate_images, heed, may_be_abandoned
from gantrain.networks import NetworkPair
from gantrain.training.plan import Sampling

TURN = 0.1
"""Seconds between two looks whether a measurement that waits for its turn is still wanted."""


@dataclass(frozen=True, slots=True)
class Measured:
    """What a measurement has found.

    Attributes:
        step: the one that it belongs to.
        kept: whether that step was to be kept as last.pt.
        figures: of each network, in the order asked for.
        checkpoint: that step's, on the CPU, without what was measured; None where training has waited and stands there.
    """

    step: int
    kept: bool
    metric_values: dict[str, list[MetricValue]]
    checkpoint: dict[str, Any] | None


class Measuring:
    """Takes the metrics of a run's generators, one measurement at a time.

    Beside training a measurement reads copies that nobody changes, z and labels from its own source and no default
    random numbers, and on CUDA works on a stream of its own: training and figures are those of a run that waits,
    bit for bit on a CPU. What is process-wide (TF32, deterministic kernels) it leaves as training has it. On CUDA the
    first measurement of a process waits all the same: it captures the Inception's graph, chooses between solvers by
    their time, and lays out the memory that later ones use again, on the same stream.
    """

    def __init__(
        self,
        metrics: list[Metric],
        sampling: Sampling,
        networks: NetworkPair,
        *,
        device: torch.device,
        processes: Processes = ALONE,
        asynchronous: bool | None = False,
    ) -> None:
        """Takes what to measure, and how.

        Args:
            metrics: what to measure.
            sampling: how to generate images.
            networks: whose latents and labels the generators read.
            device: where the work is done.
            processes: those that measure together.
            asynchronous: whether to measure beside training; None is where memory suffices: the first measurement then
                waits, and later ones do if PyTorch had to give memory back for it.
        """
        self._metrics, self._sampling, self._networks = metrics, sampling, networks
        self._device, self._processes = device, processes
        self._asynchronous = asynchronous
        self._first_waits = asynchronous is None or device.type == "cuda"
        beside = bool(metrics) and device.type == "cuda" and asynchronous is not False
        self._stream = working_stream(device) if beside else None
        self._done: Measured | None = None
        self._under_way: _UnderWay | None = None

    @property
    def is_under_way(self) -> bool:
        """Whether there is one whose findings nobody has taken."""
        return self._done is not None or self._under_way is not None

    @property
    def is_over(self) -> bool:
        """Whether there are findings to be taken, without waiting for them."""
        return self._done is not None or (self._under_way is not None and not self._under_way.thread.is_alive())

    def begin(
        self,
        step: int,
        generators: dict[str, nn.Module],
        checkpoint: Callable[[], dict[str, Any]],
        *,
        kept: bool,
        waits: bool,
    ) -> None:
        """Measures generators as they are after `step`; the findings are taken with `findings`.

        Args:
            step: generator steps done.
            generators: by name.
            checkpoint: everything that decides the rest of the run.
            kept: whether the step is to be kept as last.pt.
            waits: whether training waits in any case.
        """
        assert not self.is_under_way, "one at a time"
        if waits or self._first_waits or not self._asynchronous:
            self._done = Measured(step, kept, self._watched(generators), None)
            return
        copies = {name: copy.deepcopy(network).eval().requires_grad_(False) for name, network in generators.items()}
        ready = None if self._stream is None else torch.cuda.current_stream(self._device).record_event()
        begun = _UnderWay(step, kept, on_cpu(checkpoint()), copies)
        begun.thread = threading.Thread(
            target=self._work, args=(begun, ready), name=f"measuring step {step}", daemon=True
        )
        self._under_way = begun
        begun.thread.start()

    def findings(self) -> Measured:
        """Those of the measurement that was begun; waits for them.

        Raises:
            Exception: whatever a metric has raised.
        """
        assert self.is_under_way, "begun before"
        if self._done is not None:
            done, self._done = self._done, None
            return done
        begun = self._under_way
        assert begun is not None
        begun.thread.join()
        self._under_way = None
        if isinstance(begun.error, torch.OutOfMemoryError):
            print(
                f"memory does not suffice to measure beside training ({str(begun.error).splitlines()[0]}): from step "
                f"{begun.step} on training waits meanwhile",
                file=sys.stderr,
            )
            begun.error = None
            self._asynchronous = False
            begun.metric_values = self._take(begun.generators)
        if begun.error is not None:
            raise begun.error
        return Measured(begun.step, begun.kept, begun.metric_values, begun.checkpoint)

    def abandon(self) -> None:
        """Ends what is under way at its next batch; its findings are lost."""
        if self._under_way is not None:
            self._under_way.abandoned.set()
            self._under_way.thread.join()
        self._under_way = self._done = None

    def _watched(self, generators: dict[str, nn.Module]) -> dict[str, list[MetricValue]]:
        """Takes the metrics while training waits; the first time it is seen whether memory suffices for both."""
        given_back = memory_given_back(self._device)
        with self._on_own_stream():
            figures = self._take(generators)
        if self._first_waits:
            self._first_waits = False
            if self._asynchronous is None:
                self._asynchronous = memory_given_back(self._device) == given_back
        return figures

    def _work(self, begun: "_UnderWay", ready: torch.cuda.Event | None) -> None:
        """What the thread does."""
        try:
            with may_be_abandoned(begun.abandoned), self._on_own_stream(ready):
                begun.metric_values = self._take(begun.generators)
        except BaseException as error:  # told where training takes the findings
            begun.error = error

    def _take(self, generators: dict[str, nn.Module]) -> dict[str, list[MetricValue]]:
        networks, sampling = self._networks, self._sampling
        found: dict[str, list[MetricValue]] = {}
        with _in_turn():
            for name, generator in generators.items():
                images, labels = generate_images(
                    generator,
                    count=sampling.count,
                    latent_dim=networks.latent_dim,
                    prior=networks.prior,
                    image_range=networks.image_range,
                    batch_size=sampling.batch_size,
                    seed=sampling.seed,
                    device=self._device,
                    classes=networks.classes,
                    processes=self._processes,
                )
                found[name] = []
                for metric in self._metrics:
                    heed()
                    found[name] += metric.measure(images, labels)
        return found

    @contextlib.contextmanager
    def _on_own_stream(self, ready: torch.cuda.Event | None = None) -> Iterator[None]:
        """Kernels of this thread on the measurements' own stream, after what was asked for before; done at the end."""
        if self._stream is None:
            yield
            return
        with torch.cuda.device(self._device):
            if ready is None:
                self._stream.wait_stream(torch.cuda.current_stream())
            else:
                self._stream.wait_event(ready)
            with torch.cuda.stream(self._stream):
                try:
                    yield
                finally:
                    self._stream.synchronize()


class _UnderWay:
    """A measurement beside training.

    Attributes:
        thread: where it happens.
        abandoned: set where nobody waits for it any more.
        figures: what it has found.
        error: what it ended with.
    """

    thread: threading.Thread

    def __init__(self, step: int, kept: bool, checkpoint: dict[str, Any], generators: dict[str, nn.Module]) -> None:
        self.step, self.kept, self.checkpoint, self.generators = step, kept, checkpoint, generators
        self.abandoned = threading.Event()
        self.metric_values: dict[str, list[MetricValue]] = {}
        self.error: BaseException | None = None


@contextlib.contextmanager
def _in_turn() -> Iterator[None]:
    """One measurement at a time in a process, whose runs may share a network, and none while a graph is captured."""
    while not CAPTURING.acquire(timeout=TURN):
        heed()
    try:
        yield
    finally:
        CAPTURING.release()


def memory_given_back(device: torch.device) -> int:
    """How often PyTorch had to give cached memory back to find room on a CUDA device; 0 elsewhere."""
    return int(torch.cuda.memory_stats(device).get("num_alloc_retries", 0)) if device.type == "cuda" else 0


def on_cpu(value: Any) -> Any:
    """A copy on the CPU of tensors in dictionaries, lists and tuples, which nobody else changes."""
    if isinstance(value, Tensor):
        return value.detach().to("cpu", copy=True)
    if isinstance(value, dict):
        found = copy.copy(value)  # of its own type: a state dict also knows its format
        found.update({key: on_cpu(inner) for key, inner in value.items()})
        return found
    if isinstance(value, list | tuple):
        return type(value)(on_cpu(inner) for inner in value)
    return value
