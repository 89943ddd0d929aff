"""The training step: Algorithm 1 of Goodfellow et al. 2014 (arXiv:1406.2661), in `TrainStep.body`.

Before an iteration the host decides on examples, learning rates and lazy penalties. The body then only reads and writes
tensors that stay in place, so that it can be captured as a CUDA graph and replayed; `gantrain.training.executors` has
the ways to run it.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from torch.optim import Optimizer

from gantrain.data import restore_generator
from gantrain.networks import NetworkPair, in_parts, power_iterate, sample_latent, shared_spectral_norm
from gantrain.objectives import Objective
from gantrain.training.optimizers import adam_tensors, parameters_of, scale_learning_rate
from gantrain.training.regularizers import DiscriminatorBatch, Regularizer
from gantrain.training.step_buffer import StepBuffer
from gantrain.training.step_options import DataSources, Optimizers, StepOptions
from gantrain.training.tricks import Decision


@dataclass(frozen=True, slots=True)
class GraphKey:
    """The host's decisions about an iteration; iterations with the same key run the same operations.

    Attributes:
        due: which regularizers add penalties, for each discriminator step.
        decisions: decision of each trick, see `Trick.prepare`.
        capturable: whether the iteration can be replayed.
    """

    due: tuple[tuple[bool, ...], ...]
    decisions: tuple[Decision, ...]
    capturable: bool = True


Executor = Callable[["TrainStep"], None]
"""Runs `TrainStep.body` once, for `TrainStep.key`; `TrainStep.body` itself is the eager executor."""


class TrainStep:
    """The training step of a pair of networks; it never waits for the device.

    An update whose loss or gradient is not finite is skipped on the device, and so are all later ones;
    `buffer.first_bad_update` reports it to the host.

    Attributes:
        step: generator steps done.
        d_updates: discriminator steps done.
        key: the host's decisions about the current iteration, set by `prepare`.
        executor: runs the body.
        buffer: losses, logits and other values of the last iterations, on the device.
    """

    COMPILABLE = ("generate", "discriminate_pair", "discriminate_fakes", "d_loss", "g_loss")
    """The functions of tensors that the body calls; an executor may replace them by compiled ones."""

    def __init__(
        self,
        networks: NetworkPair,
        objective: Objective,
        optimizers: Optimizers,
        data: DataSources,
        options: StepOptions,
    ) -> None:
        """Takes parts that are on one device."""
        self.networks = networks
        self.objective = objective
        self.optimizer_g, self.optimizer_d = optimizers.generator, optimizers.discriminator
        self.grad_clip_norm = optimizers.grad_clip_norm
        self.ema = optimizers.ema
        self.batches, self.latents, self.draws = data.batches, data.latents, data.draws
        self.device = data.latents.device
        self.d_steps = options.d_steps
        self.regularizers = options.regularizers
        self.tricks = options.tricks
        self.class_loss = options.class_loss
        self.reuse_fakes = options.reuse_fakes
        self.bf16 = options.bf16
        self.joint = options.joint
        self.processes = options.processes
        self.buffer = StepBuffer(
            options.buffer_size, data.batches.batch_size, self.d_steps.most, self.device, self.processes
        )
        self.step = self.d_updates = 0
        self.key = GraphKey((), tuple(None for _ in self.tricks))
        self.executor: Executor = TrainStep.body
        self.generate = self._generate
        self.discriminate_pair = self._discriminate_pair
        self.discriminate_fakes = self.discriminate
        self.d_loss, self.g_loss = objective.discriminator_loss, objective.generator_loss
        self._failed = torch.zeros((), device=self.device)
        for optimizer in (self.optimizer_g, self.optimizer_d):
            assert optimizer.defaults.get("fused"), "only fused optimizers read found_inf"
            optimizer.found_inf = self._failed  # type: ignore[attr-defined]

    def run(self) -> None:
        """One iteration, counted and recorded."""
        self.prepare()
        self.executor(self)
        self.finish()

    def prepare(self) -> None:
        """Makes the host's decisions about the next iteration and fills the tensors that the body reads."""
        d_steps = self.d_steps.at(self.step)
        self.batches.prepare(d_steps + self.objective.needs_real_logits)
        if self.ema is not None:
            self.ema.prepare()
        self.key = GraphKey(
            due=tuple(tuple(r.is_due(self.d_updates + i) for r in self.regularizers) for i in range(d_steps)),
            decisions=tuple(trick.prepare(self.step, self.batches.epoch) for trick in self.tricks),
            capturable=all(trick.is_capturable for trick in self.tricks),
        )

    def body(self) -> None:
        """The iteration: k discriminator updates, one generator update and the EMA: tensors in, tensors out."""
        discriminator, processes, buffer = self.networks.discriminator, self.processes, self.buffer
        k = len(self.key.due)
        buffer.open_row()
        power_iterate(discriminator)

        for i in range(k):
            # Sample z and real examples.
            with torch.set_grad_enabled(self.reuse_fakes and i == k - 1):
                generated, labels = self.sample_fakes()
            with torch.no_grad():
                real, real_labels = self.batches.batch(i)
                fake, fake_labels = self.replace_fakes(generated.detach(), labels, i)
                real, fake = self.augment_inputs(real, self.draws), self.augment_inputs(fake, self.draws)
            # Update the discriminator.
            with shared_spectral_norm(discriminator):
                real, fake, discriminate_pair = self._track_inputs(real, fake, i)
                real_logits, real_scores, fake_logits, fake_scores = discriminate_pair(
                    real, real_labels, fake, fake_labels
                )
                all_real, all_fake = processes.all_gather(real_logits, fake_logits)
                loss = processes.loss_share(self.d_loss(all_real, all_fake))
                for term in (
                    *self._penalties(real, real_labels, fake, real_logits, fake_logits, i),
                    *self._class_losses("real", real_scores, real_labels),
                    *self._class_losses("fake", fake_scores, fake_labels),
                ):
                    loss = loss + processes.mean_share(term)
            self._update(loss, self.optimizer_d, row=i)
            for regularizer in self.regularizers:
                regularizer.after_update(discriminator)
            for trick in self.tricks:
                trick.after_discriminator_update(all_real, buffer.note)
            buffer.keep_logits(real=all_real, fake=all_fake)

        # Update the generator, on fresh z unless the last fakes are reused.
        if not self.reuse_fakes:
            generated, labels = self.sample_fakes()
        with _frozen(discriminator):
            with shared_spectral_norm(discriminator):
                fresh_real = self._real_logits(k) if self.objective.needs_real_logits else None
                logits, scores = self.discriminate_fakes(self.augment_inputs(generated, self.draws), labels)
            (all_generated,) = processes.all_gather(logits)
            loss = processes.loss_share(self.g_loss(*self.select_fakes(all_generated, fresh_real)))
            for term in self._class_losses("generated", scores, labels):
                loss = loss + processes.mean_share(term)
            self._update(loss, self.optimizer_g, row=self.d_steps.most)
        buffer.keep_logits(generated=all_generated)
        buffer.keep_fakes(generated, labels)
        if self.ema is not None:
            self.ema.update()

    def finish(self) -> None:
        """Updates the host's counters after an iteration."""
        d_steps = len(self.key.due)
        for trick in self.tricks:
            trick.finish(d_steps)
        self.step += 1
        self.d_updates += d_steps
        self.buffer.close_row(d_steps)

    def sample_fakes(self) -> tuple[Tensor, Tensor | None]:
        """This process's rows of a batch of generated images, and their labels if the networks read labels."""
        count, networks = self.batches.batch_size, self.networks
        z = self.processes.local_rows(sample_latent(networks.prior, (count, networks.latent_dim), self.latents))
        labels = None
        if networks.classes:
            labels = torch.randint(networks.classes, (count,), generator=self.latents, device=self.device)
            labels = self.processes.local_rows(labels)
        return self.generate(z, labels), labels

    def replace_fakes(self, fake: Tensor, labels: Tensor | None, d_step: int) -> tuple[Tensor, Tensor | None]:
        """The fakes that discriminator step `d_step` learns from, e.g. partly from a history."""
        for trick, decision in zip(self.tricks, self.key.decisions, strict=True):
            fake, labels = trick.replace_fakes(fake, labels, self.draws, d_step, decision)
        return fake, labels

    def augment_inputs(self, images: Tensor, draws: torch.Generator) -> Tensor:
        """Transforms real or fake images before D sees them, e.g. by augmentation and noise."""
        for trick, decision in zip(self.tricks, self.key.decisions, strict=True):
            images = trick.augment_inputs(images, draws, decision)
        return images

    def select_fakes(self, fake_logits: Tensor, real_logits: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The logits that the generator's loss is computed from, e.g. the largest."""
        for trick, decision in zip(self.tricks, self.key.decisions, strict=True):
            fake_logits, real_logits = trick.select_fakes(fake_logits, real_logits, decision)
        return fake_logits, real_logits

    def generator_loss(self, fake_logits: Tensor, real_logits: Tensor | None) -> Tensor:
        """The loss of the generator at logits (N,), as in the last iteration but without a class loss."""
        return self.objective.generator_loss(*self.select_fakes(fake_logits, real_logits))

    def discriminate(self, images: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Logits (N,) in float32, and class scores (N, classes) if there are labels."""
        scores = None
        with self._autocast():
            if self.networks.classes:
                logits, scores = self.networks.discriminator(images, labels)
            else:
                logits = self.networks.discriminator(images)
        return logits.float(), scores

    def set_learning_rates(self, factor: float) -> None:
        """Sets the rates of both optimizers to `factor` times the initial ones."""
        for optimizer in (self.optimizer_g, self.optimizer_d):
            scale_learning_rate(optimizer, factor)

    def tensors(self) -> dict[str, Tensor]:
        """All tensors that the body changes, by name; they stay in place."""
        modules = {"generator": self.networks.generator, "discriminator": self.networks.discriminator}
        if self.ema is not None:
            modules["ema"] = self.ema.network
        owners: list[tuple[str, Iterable[tuple[str, Tensor]]]] = [
            *((name, (*module.named_parameters(), *module.named_buffers())) for name, module in modules.items()),
            ("optimizer_g", adam_tensors(self.optimizer_g)),
            ("optimizer_d", adam_tensors(self.optimizer_d)),
            *((trick.name, trick.tensors().items()) for trick in self.tricks),
        ]
        tensors = {f"{owner}.{name}": tensor for owner, named in owners for name, tensor in named}
        return {"failed": self._failed, "buffer": self.buffer.now} | tensors

    def generators(self) -> list[torch.Generator]:
        """The random generators that the body uses, besides the device's default one (dropout)."""
        return [self.batches.generator, self.latents, self.draws]

    def state_dict(self) -> dict[str, Any]:
        """The state outside of networks, optimizers, EMA, batches and step count."""
        state: dict[str, Any] = {"d_updates": self.d_updates}
        state |= {"latents": self.latents.get_state(), "draws": self.draws.get_state()}
        return state | {trick.name: trick.state_dict() for trick in self.tricks if trick.tensors()}

    def load_state_dict(self, state: dict[str, Any], *, step: int) -> bool:
        """Restores the state after `step` steps.

        Returns:
            Whether random numbers continue exactly; False on another kind of device.
        """
        self.step, self.d_updates = step, state["d_updates"]
        for trick in self.tricks:
            if trick.tensors():
                trick.load_state_dict(state[trick.name])
        exact = restore_generator(self.latents, state["latents"], seed=self.step)
        return restore_generator(self.draws, state["draws"], seed=self.step) and exact

    def _update(self, loss: Tensor, optimizer: Optimizer, row: int) -> None:
        """One step of Adam, and its loss and gradient norm in that row of the buffer; nothing if not finite."""
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        parameters = parameters_of(optimizer)
        gradients = [p.grad for p in parameters if p.grad is not None]
        total_loss = self.processes.all_reduce_gradients(gradients, loss.detach())
        norm = get_total_norm(gradients)
        if self.grad_clip_norm:
            clip_grads_with_norm_(parameters, self.grad_clip_norm, norm)
        values = torch.stack((total_loss, norm))
        # This tensor is the optimizers' found_inf: once it is 1, they skip every update.
        self._failed.copy_(torch.maximum(self._failed, 1 - values.isfinite().all().float()))
        optimizer.step()
        self.buffer.updates_now[row].copy_(values)

    def _due(self, i: int) -> list[Regularizer]:
        """The regularizers that add penalties in discriminator step `i` of the iteration."""
        return [r for r, due in zip(self.regularizers, self.key.due[i], strict=True) if due]

    def _track_inputs(self, real: Tensor, fake: Tensor, i: int) -> tuple[Tensor, Tensor, Callable[..., Any]]:
        """The inputs, with requires_grad if a penalty differentiates them, and the function that computes logits."""
        inputs = {name for regularizer in self._due(i) for name in regularizer.differentiated_inputs}
        if not inputs:
            return real, fake, self.discriminate_pair
        real.requires_grad_("real" in inputs)
        fake = fake.float().requires_grad_("fake" in inputs)
        return real, fake, self._discriminate_pair  # a compiled function has no second derivative

    def _penalties(
        self,
        real: Tensor,
        real_labels: Tensor | None,
        fake: Tensor,
        real_logits: Tensor,
        fake_logits: Tensor,
        i: int,
    ) -> Iterator[Tensor]:
        """The weighted penalties of the regularizers that are due."""

        def discriminate(images: Tensor) -> Tensor:
            return self.discriminate(images, real_labels)[0]

        batch = DiscriminatorBatch(real, fake, real_logits, fake_logits, discriminate, self.draws)
        for regularizer in self._due(i):
            for name, penalty in regularizer.penalties(batch).items():
                self.buffer.note(f"penalty/{name}", penalty)
                yield penalty

    def _class_losses(self, side: str, scores: Tensor | None, labels: Tensor | None) -> Iterator[Tensor]:
        """AC-GAN's weighted class loss of one side, if there is one; notes how often the label scores highest."""
        if scores is None or labels is None:
            return
        if side != "generated":
            right = (scores.argmax(dim=1) == labels).float().mean()
            # A projection's scores are not a classifier's, but their order shows whether D uses the labels.
            self.buffer.note(f"class_{'top_score' if self.class_loss is None else 'accuracy'}/{side}", right)
        if self.class_loss is not None:
            class_loss = F.cross_entropy(scores.float(), labels)
            self.buffer.note(f"class_loss/{side}", class_loss)
            yield (self.class_loss.weight_g if side == "generated" else self.class_loss.weight_d) * class_loss

    @torch.no_grad()
    def _real_logits(self, place: int) -> Tensor:
        """Logits of a fresh batch of real images, for generator losses that need them."""
        real, labels = self.batches.batch(place)
        logits, _ = self.discriminate(self.augment_inputs(real, self.draws), labels)
        return self.processes.all_gather(logits)[0]

    def _generate(self, z: Tensor, labels: Tensor | None) -> Tensor:
        with self._autocast():
            images: Tensor = self.networks.generator(z) if labels is None else self.networks.generator(z, labels)
        return images

    def _discriminate_pair(
        self, real: Tensor, real_labels: Tensor | None, fake: Tensor, fake_labels: Tensor | None
    ) -> tuple[Tensor, Tensor | None, Tensor, Tensor | None]:
        """Logits (N,) and class scores (N, classes) or None of real images, then those of fakes."""
        if not self.joint:
            return *self.discriminate(real, real_labels), *self.discriminate(fake, fake_labels)
        labels = None if real_labels is None or fake_labels is None else torch.cat((real_labels, fake_labels))
        with in_parts(self.networks.discriminator, 2):
            logits, scores = self.discriminate(torch.cat((real, fake)), labels)
        real_logits, fake_logits = logits.chunk(2)
        real_scores, fake_scores = (None, None) if scores is None else scores.chunk(2)
        return real_logits, real_scores, fake_logits, fake_scores

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.bf16)


@contextlib.contextmanager
def _frozen(network: nn.Module) -> Iterator[None]:
    """Within the context, the network's weights require no gradients."""
    network.requires_grad_(False)
    try:
        yield
    finally:
        network.requires_grad_(True)
