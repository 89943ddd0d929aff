"""Diagnostics of a run at regular steps; they draw from none of the random generators of training."""

import dataclasses
import math
import time
from dataclasses import dataclass

import torch
from torch import Tensor

from gantrain.data import to_range
from gantrain.diagnostics.statistics import (
    SATURATED,
    Reliability,
    as_coordinates,
    best_loss_at_equality,
    effective_share,
    gradient_weights,
    overfitting,
    rank_accuracy,
    reliability,
    similarity,
    swings,
)
from gantrain.metrics.sampling import evaluating
from gantrain.training.train_step import TrainStep

EXAMPLES = 64
"""Number of examples of each kind for comparisons."""
STEPS_READ = 8
"""Number of steps used for values computed from pairs of examples or by autograd."""


@dataclass(frozen=True, slots=True)
class Measurement:
    """Diagnostics of one step.

    Attributes:
        values: diagnostics by name; those that the objective or the data do not have are absent.
        curve: D's reliability curve, for discriminators that estimate a ratio.
        logits: D's logits v by kind of example, for histograms.
    """

    values: dict[str, float]
    curve: Reliability | None
    logits: dict[str, Tensor]


class Diagnostics:
    """Measures diagnostics of a training step every `every` steps.

    They are computed from the step's buffer. To detect overfitting D also discriminates equally many training
    examples, held-out examples and fakes, in eval mode and without changing any state.

    Attributes:
        seconds: wall-clock time spent on diagnostics.
    """

    def __init__(
        self,
        train_step: TrainStep,
        *,
        every: int,
        trained: tuple[Tensor, Tensor],
        held_out: tuple[Tensor, Tensor] | None,
    ) -> None:
        """Takes examples as their data set holds them, with labels, on the device of the training step.

        Args:
            train_step: the step to diagnose.
            every: generator steps between two measurements.
            trained: some training examples.
            held_out: real examples that D is never trained on; None for a data set without a test split.
        """
        self.train_step = train_step
        self.every = every
        self.trained = trained
        self.held_out = held_out
        self.best_loss = best_loss_at_equality(train_step.objective)
        self.seconds = 0.0
        self._before: Tensor | None = None

    def is_due(self) -> bool:
        """Whether diagnostics are due after this step."""
        return self.train_step.step % self.every == 0

    def keep_gradient(self) -> None:
        """Keeps the generator's gradient if diagnostics are due after the next step; does not wait for the device.

        It is called after each step.
        """
        if (self.train_step.step + 1) % self.every == 0:
            started = time.monotonic()
            self._before = self._gradient()
            self.seconds += time.monotonic() - started

    def measure(self) -> Measurement:
        """Diagnostics of the steps since the buffer was cleared; waits for the device."""
        started = time.monotonic()
        train_step, buffer, objective = self.train_step, self.train_step.buffer, self.train_step.objective
        real, fake, generated = buffer.logits.cpu()
        some = torch.linspace(0, len(real) - 1, min(STEPS_READ, len(real))).long()
        weights = gradient_weights(
            lambda v: train_step.generator_loss(v, real[-1].double() if objective.needs_real_logits else None),
            generated[some],
        )
        right, wrong = swings(real, fake)
        values = {
            "loss/discriminator_at_q=p": self.best_loss,
            "generator_weight/mean": float(weights.mean()),
            "generator_weight/effective_share": effective_share(weights),
            "generator_weight/saturated": float((weights < SATURATED).double().mean()),
            "discriminator/rank_accuracy": rank_accuracy(real[some], fake[some]),
            "discriminator/surely_right": right,
            "discriminator/surely_wrong": wrong,
        }
        if self._before is not None:
            values["generator_gradient/cosine"] = float(_cosine(self._before, self._gradient()))
            self._before = None
        if objective.boundary is not None:
            values["overfitting/r_t"] = float((real - objective.boundary).sign().mean())
        curve = None
        if objective.has_log_ratio:
            unbounded = dataclasses.replace(objective, max_log_ratio=None)  # the bound would hide D's estimate
            on_real, on_fake = (unbounded.log_ratio(v) for v in (real, fake))
            curve = reliability(on_real, on_fake)
            values["D/calibration_error"] = curve.error
            # Medians over the steps, since a single example can dominate the mean of a ratio.
            values["ratio/typical_E_p[r]"] = float(on_fake.double().exp().nanmean(dim=1).nanmedian())
            values["ratio/typical_E_q[1/r]"] = float((-on_real.double()).exp().nanmean(dim=1).nanmedian())
            both = torch.sigmoid(torch.cat((on_real, on_fake)))
            values["D/distance_from_half"] = float((both - 0.5).abs().nanmean())
        logits = {"real": real, "fake": fake, "generated": generated}
        found, logits_of = self._compare()
        values |= found
        if "held_out" in logits_of:
            logits["held_out"] = logits_of["held_out"]
        self.seconds += time.monotonic() - started
        return Measurement({name: value for name, value in values.items() if not math.isnan(value)}, curve, logits)

    def state_dict(self) -> dict[str, Tensor | None]:
        """The stored gradient, if the next measurement needs it."""
        return {"gradient": self._before}

    def load_state_dict(self, state: dict[str, Tensor | None]) -> None:
        """Restores what `state_dict` returned."""
        gradient = state["gradient"]
        self._before = None if gradient is None else gradient.to(self.train_step.device)

    def _gradient(self) -> Tensor:
        """The generator's last gradient, flattened; it is in the parameters until the next step."""
        parameters = self.train_step.networks.generator.parameters()
        return torch.cat([p.grad.flatten() for p in parameters if p.grad is not None])

    @torch.no_grad()
    def _compare(self) -> tuple[dict[str, float], dict[str, Tensor]]:
        """Values from equally many training examples, held-out examples and fakes, and D's logits on them."""
        train_step = self.train_step
        fakes, labels = train_step.buffer.fakes, train_step.buffer.fake_labels
        assert fakes is not None
        (fakes,) = train_step.processes.all_gather(fakes)
        labels = None if labels is None else train_step.processes.all_gather(labels)[0]
        count = min(EXAMPLES, len(fakes), len(self.trained[0]))
        if self.held_out is not None:
            count = min(count, len(self.held_out[0]))
        sets = {"trained": self._batch(self.trained, count)}
        if self.held_out is not None:
            sets["held_out"] = self._batch(self.held_out, count)
        sets["generated"] = fakes[:count].float(), None if labels is None else labels[:count]
        coordinates = [as_coordinates(sets[name][0]).cpu() for name in ("trained", "generated")]
        like = similarity(*coordinates)
        values = {
            "similarity/spread": like.spread,
            "similarity/nearest": like.nearest,
            "similarity/energy": like.energy,
        }
        if self.held_out is None:
            return values, {}
        draws = torch.Generator(train_step.device).manual_seed(train_step.step)
        with evaluating(train_step.networks.discriminator):
            of_sets = [
                train_step.discriminate(train_step.augment_inputs(images, draws), of)[0] for images, of in sets.values()
            ]
        logits_of = dict(zip(sets, torch.stack(of_sets).cpu(), strict=True))
        values |= {f"overfitting/logit_{name}": float(v.mean()) for name, v in logits_of.items()}
        values["overfitting/r_v"] = overfitting(logits_of["trained"], logits_of["held_out"], logits_of["generated"])
        return values, logits_of

    def _batch(self, of_set: tuple[Tensor, Tensor], count: int) -> tuple[Tensor, Tensor | None]:
        """The next examples of a data set as D sees them, and labels if D reads them."""
        held, labels = of_set
        networks = self.train_step.networks
        first = self.train_step.step // self.every * count
        places = (first + torch.arange(count, device=held.device)) % len(held)
        examples = held[places]
        if networks.image_range is not None:
            examples = to_range(examples, networks.image_range)
        return examples, labels[places] if networks.classes else None


def _cosine(a: Tensor, b: Tensor) -> Tensor:
    cosine: Tensor = a @ b / (a.norm() * b.norm())
    return cosine
