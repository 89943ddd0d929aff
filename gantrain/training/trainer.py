"""The training loop: steps, and the logging, sampling, evaluation and checkpoints between them."""

import contextlib
import logging
import time
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from gantrain.diagnostics.doctor import Doctor
from gantrain.errors import FAILED, GantrainError
from gantrain.metrics.metric import LOWER, Metric, MetricValue, headline
from gantrain.metrics.sampling import draw_images, evaluating
from gantrain.run_io.profile import Profile
from gantrain.run_io.progress import Progress
from gantrain.run_io.run_folder import RunFolder
from gantrain.run_io.scalars import pair_scalars
from gantrain.run_io.status import FINISHED, PRUNED, RUNNING, STOPPED, Status
from gantrain.system.distributed import Processes
from gantrain.system.signals import StopRequested, handle_signals, pending_signal
from gantrain.training.checkpoint import BEST, LAST, save_checkpoint
from gantrain.training.diagnostics import Diagnostics
from gantrain.training.evaluation import evaluate
from gantrain.training.nan_guard import check_finite
from gantrain.training.optimizers import learning_rate
from gantrain.training.plan import Grid, Outcome, Plan, Sampling
from gantrain.training.state import load_training_state, training_state
from gantrain.training.train_step import TrainStep

Prune = Callable[[int, dict[str, float]], str | None]
"""(step of an evaluation, its metrics) -> the reason to end the run, or None."""

log = logging.getLogger(__name__)


class StoppedByDoctorError(GantrainError):
    """The doctor has ended the run; its last checkpoint is at the step of the finding."""

    exit_code = FAILED


class Trainer:
    """Trains a pair of networks and writes scalars, sample grids, metrics and checkpoints into a run folder.

    Attributes:
        prune: called after each evaluation except the last; may end the run. None for no pruning.
        stopped: the doctor's finding that ended the run.
        pruned: why `prune` ended the run.
        saved_step: step of last.pt.
        best: name, headline, value and step of the best evaluation by the first metric's headline; {} without one.
        metric_values: latest value of each metric, by name and network.
        profile: the profiler, if a trace was written.
    """

    def __init__(
        self,
        train_step: TrainStep,
        *,
        plan: Plan,
        sampling: Sampling,
        metrics: list[Metric],
        grid: Grid,
        config: dict[str, Any],
        classes: tuple[str, ...],
        learning_rate_factor: Callable[[int], float],
        diagnostics: Diagnostics | None = None,
        stop_at_a_finding: bool = False,
        executor: str = "eager",
        profiled: bool = False,
    ) -> None:
        """Takes the parts of a run.

        Args:
            train_step: the step with networks, objective, optimizers and data.
            plan: length and intervals of the run.
            sampling: how images for metrics are generated.
            metrics: metrics to evaluate; the headline of the first one selects best.pt.
            grid: what the sample grids show.
            config: the nested configuration, for the checkpoint.
            classes: names of the data set's classes, for the checkpoint.
            learning_rate_factor: step -> factor on the initial learning rates.
            diagnostics: what the doctor reads; None for no doctor.
            stop_at_a_finding: whether the doctor's first finding ends the run.
            executor: description of how the step is executed.
            profiled: whether to write a profiler trace of some steps.
        """
        self.train_step = train_step
        self.plan = plan
        self.sampling = sampling
        self.metrics = metrics
        self.grid = grid
        self.config = config
        self.classes = classes
        self.learning_rate_factor = learning_rate_factor
        self.diagnostics = diagnostics
        self.doctor = Doctor()
        self.stop_at_a_finding = stop_at_a_finding
        self.executor = executor
        self.profiled = profiled
        self.prune: Prune | None = None
        self.stopped: str | None = None
        self.pruned: str | None = None
        self.saved_step = 0
        self.best: dict[str, Any] = {}
        self.metric_values: dict[str, float] = {}
        self.profile: Profile | None = None
        self._earlier_seconds = 0.0
        self._progress: Progress | None = None

    @property
    def step(self) -> int:
        """Generator steps done."""
        return self.train_step.step

    @property
    def seconds(self) -> float:
        """Training time over all starts of the run, without evaluation, grids and checkpoints."""
        return self._earlier_seconds + (self._progress.training_seconds() if self._progress else 0.0)

    @property
    def processes(self) -> Processes:
        """The processes of the run; the main one writes files and makes decisions."""
        return self.train_step.processes

    def images_at(self, step: int) -> int:
        """Real images that D has seen after `step` generator steps."""
        return self.train_step.batches.batch_size * self.train_step.d_steps.total(step)

    def fit(self, folder: RunFolder) -> Outcome:
        """Trains from the current step to the last.

        Raises:
            NotFiniteError: a loss or gradient was not finite; the message names step, side and objective.
            StopRequested: a signal has stopped the run, and last.pt holds its step.
        """
        self.train_step.buffer.clear()
        if self.step == 0:
            folder.grid(0, self.grid.draw(self.grid.real, self.discriminate), "real")
            self._draw_grid(folder)
            self._save(folder, LAST)
        self.saved_step = self.step
        device, steps_left = self.train_step.device, self.plan.steps - self.step
        progress = self._progress = Progress(
            first=self.step, steps=self.plan.steps, images=self.images_at, warn_slow=device.type == "cpu"
        )
        self._write_status(folder, RUNNING, now=True)
        if self.profiled and steps_left and self.processes.is_main:
            self.profile = Profile(folder.path, device, steps=steps_left)
        with progress:
            if self.best:
                value = self.metric_values.get(self.best["headline"], self.best["value"])
                progress.show(**{self.best["name"]: f"{value:.4g}"})
            try:
                with handle_signals():
                    self._train(folder, progress)
            except BaseException:
                with contextlib.suppress(OSError):  # the disk may be full
                    self._write_status(folder, RUNNING, now=True)  # the caller writes the final state
                raise
            finally:
                if self.profile is not None:
                    self.profile.close()
            seconds = progress.training_seconds()
        if self.grid.animated:
            folder.animate()
        state = STOPPED if self.stopped else PRUNED if self.pruned else FINISHED
        folder.end(state, self.step, self.stopped or self.pruned)
        self._write_status(folder, state, now=True)
        return Outcome(
            step=self.step,
            metric_values=self.metric_values,
            best=self.best,
            diagnostics_share=None if self.diagnostics is None else self.diagnostics.seconds / max(seconds, 1e-9),
            stopped=self.stopped,
            pruned=self.pruned,
            findings=list(self.doctor.reported),
        )

    def _train(self, folder: RunFolder, progress: Progress) -> None:
        """Trains step by step until the last step, or until the doctor, `prune` or a signal ends the run."""
        train_step, plan = self.train_step, self.plan
        on_cpu = train_step.device.type == "cpu"
        while self.step < plan.steps:
            train_step.set_learning_rates(self.learning_rate_factor(self.step))
            train_step.run()
            if self.profile is not None:
                self.profile.step()
            draws, saves, logs = plan.draws(self.step), plan.saves(self.step), plan.logs(self.step)
            measures = bool(self.metrics) and plan.measures(self.step)
            if on_cpu or logs:  # on a GPU this waits for the device
                check_finite(train_step, self.saved_step)
            if logs:
                self._log(folder, progress)
            if self.diagnostics is not None:
                self.diagnostics.keep_gradient()
            with progress.paused():
                if draws or measures or saves:  # each process has its own batch norm statistics
                    self.processes.broadcast_tensors(train_step.tensors().values())
                if draws:
                    self._draw_grid(folder)
                improved = measures and self._measure(folder, progress)
                signal = self._stop_signal()
                ends = self.step == plan.steps or bool(self.stopped or self.pruned or signal)
                if saves or improved or ends:
                    self._save(folder, *([BEST] if improved else []), LAST)
            progress.advance(self.step)
            if signal is not None and not (self.stopped or self.pruned):
                raise StopRequested(signal)
            if ends:
                return

    def _stop_signal(self) -> str | None:
        """The signal that stops the run; several processes, which must stop together, check only when they log."""
        if self.step == self.plan.steps:
            return None
        if self.processes.world_size == 1:
            return pending_signal()
        if self.step % self.plan.log_every:
            return None
        return next((name for name in self.processes.gather_objects(pending_signal()) if name is not None), None)

    def state_dict(self) -> dict[str, Any]:
        """The complete state of the run."""
        state = training_state(self.train_step) | {
            "config": self.config,
            "classes": list(self.classes),
            "best": self.best,
            "metric_values": self.metric_values,
            "seconds": self.seconds,
        }
        if self.diagnostics is not None:
            state |= {"diagnostics": self.diagnostics.state_dict(), "doctor": self.doctor.state_dict()}
        return state

    def checkpoint_bytes(self) -> int:
        """Approximate size of a checkpoint in bytes."""
        tensors = (*self.train_step.tensors().values(), self.train_step.batches.order)
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores what `state_dict` returned.

        Raises:
            LookupError, RuntimeError, TypeError, ValueError: it belongs to another configuration.
        """
        load_training_state(self.train_step, state, seed=self.config["seed"])
        if self.diagnostics is not None and "doctor" in state:
            self.diagnostics.load_state_dict(state["diagnostics"])
            self.doctor.load_state_dict(state["doctor"])
        self.best, self.metric_values = state["best"], state["metric_values"]
        self._earlier_seconds = state.get("seconds", 0.0)

    def sampling_network(self, name: str) -> nn.Module:
        """The generator called `ema` or `raw`."""
        if name == "ema" and self.train_step.ema is not None:
            return self.train_step.ema.network
        return self.train_step.networks.generator

    @torch.no_grad()
    def discriminate(self, examples: Tensor) -> Tensor:
        """The discriminator's logits (N,) of examples, in eval mode."""
        discriminator = self.train_step.networks.discriminator
        with evaluating(discriminator):
            logits: Tensor = discriminator(examples)
        return logits

    def _log(self, folder: RunFolder, progress: Progress) -> None:
        """Writes the scalars of the steps since the last call, and diagnostics where they are due."""
        buffer = self.train_step.buffer
        real, fake, generated = buffer.logits
        d_updates, notes = sum(buffer.made), buffer.notes
        values = pair_scalars(
            self.train_step.objective, real, fake, generated, buffer.updates, d_updates=d_updates, notes=notes
        )
        values |= {
            "learning_rate/generator": learning_rate(self.train_step.optimizer_g),
            "learning_rate/discriminator": learning_rate(self.train_step.optimizer_d),
            "images_per_second": progress.images_per_second(self.step),
            "cost/images": self.images_at(self.step),
            "cost/seconds": self.seconds,
        }
        folder.scalars(self.step, values)
        self._write_status(folder, RUNNING)
        symbol, name = ("D", "D") if "D/real" in values else ("v", "logit")
        for inputs, kind in (("x", "real"), ("G(z)", "generated")):
            progress.show(**{f"{symbol}({inputs})": f"{values[f'{name}/{kind}']:.2f}"})
        if self.diagnostics is not None and self.diagnostics.is_due():
            self._diagnose(self.diagnostics, values, folder, progress)
            self.stopped = self.processes.broadcast(self.stopped)
        buffer.clear()

    def _diagnose(
        self, diagnostics: Diagnostics, scalars: dict[str, float], folder: RunFolder, progress: Progress
    ) -> None:
        """Writes a row of diagnostics, and the doctor's findings from diagnostics and scalars."""
        measured = diagnostics.measure()
        started = time.monotonic()
        share = diagnostics.seconds / max(progress.training_seconds(), 1e-9)
        values = {**measured.values, "diagnostics/share_of_time": share}
        folder.diagnostics(self.step, values, measured.curve, measured.logits)
        for finding in self.doctor.observe(self.step, {**scalars, **measured.values}):
            folder.finding(self.step, finding)
            what = f"{finding.name} at step {self.step}"
            log.warning("doctor: %s: %s", what, finding.text)
            if self.stop_at_a_finding and self.stopped is None:
                self.stopped = what
        diagnostics.seconds += time.monotonic() - started

    def _write_status(self, folder: RunFolder, state: str, *, now: bool = False) -> None:
        status = Status(
            state=state,
            step=self.step,
            steps=self.plan.steps,
            images=self.images_at(self.step),
            seconds=self.seconds,
            images_per_second=self._progress.images_per_second(self.step) if self._progress else 0.0,
            metric_values=dict(self.metric_values),
            best=self.best,
            findings=list(self.doctor.reported),
            reason=self.stopped or self.pruned,
        )
        folder.status(status, now=now)

    def _draw_grid(self, folder: RunFolder) -> None:
        samples = draw_images(
            self.sampling_network("ema"),
            self.grid.z,
            self.grid.labels,
            image_range=self.train_step.networks.image_range,
            batch_size=self.sampling.batch_size,
        )
        folder.grid(self.step, self.grid.draw(samples, self.discriminate), f"{self.step:07d}")

    def _measure(self, folder: RunFolder, progress: Progress) -> bool:
        """Evaluates the generators; returns whether the first metric's headline is the best so far."""
        check_finite(self.train_step, self.saved_step)
        results = evaluate(
            {name: self.sampling_network(name) for name in self.sampling.networks},
            self.metrics,
            self.sampling,
            self.train_step.networks,
            device=self.train_step.device,
            processes=self.processes,
        )
        for name, values in results.items():
            folder.measurements(self.step, name, values)
            self.metric_values |= {f"{value.name}_{name}": value.value for value in values}
            log.info("step %d, %s: %s", self.step, name, ", ".join(f"{v.name} {v.value:.4g}" for v in values))
        improved = self._update_best(results[self.sampling.networks[0]], progress)
        if self.prune is not None and self.step < self.plan.steps:
            self.pruned = self.prune(self.step, dict(self.metric_values))
        improved, self.pruned = self.processes.broadcast((improved, self.pruned))
        self._write_status(folder, RUNNING)
        return bool(improved)

    def _update_best(self, values: list[MetricValue], progress: Progress) -> bool:
        """Records the first metric's headline if it is the best so far; returns whether it is."""
        spec = headline(metric.spec for metric in self.metrics)
        if spec is None:
            return False
        value = next(v.value for v in values if v.name == spec.name)
        progress.show(**{spec.name: f"{value:.4g}"})
        sign = 1 if spec.better == LOWER else -1
        if self.best and sign * value >= sign * self.best["value"]:
            return False
        name = f"{spec.name}_{self.sampling.networks[0]}"
        self.best = {"name": spec.name, "headline": name, "value": value, "step": self.step}
        return True

    def _save(self, folder: RunFolder, *names: str) -> None:
        """Writes checkpoints of the current step, after everything logged so far."""
        check_finite(self.train_step, self.saved_step)
        state = self.state_dict()
        if self.processes.is_main:
            folder.sync()
            for name in names:
                save_checkpoint(state, folder.path / name)
        self.saved_step = self.step
