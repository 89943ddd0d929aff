"""One iteration: k discriminator steps and one generator step (Goodfellow et al. 2014, Algorithm 1).

What the host decides (which examples, learning rates, whether a lazy penalty is due) is settled before an iteration;
what follows reads and writes tensors that stay where they are, so that it can be captured once as a CUDA graph and
replayed. `gantrain.training.executors` has the ways to run it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from torch.optim import Optimizer

from gantrain.data import BatchSampler, restore_generator
from gantrain.distributed import SINGLE_PROCESS, Processes
from gantrain.networks import NetworkPair, in_parts, power_iterate, sample_latent, shared_spectral_norm
from gantrain.objectives import Objective
from gantrain.training.augment import Augment
from gantrain.training.ema import Ema
from gantrain.training.optimizers import adam_tensors, load_adam, scale_learning_rate
from gantrain.training.regularizers import Regularizer, clip_weights
from gantrain.training.step_buffer import StepBuffer
from gantrain.training.tricks import ClassLoss, DiscriminatorSteps, History, InstanceNoise, TopK


@dataclass(frozen=True, slots=True)
class GraphKey:
    """What the host has decided of an iteration; iterations of one variant run the same operations.

    Attributes:
        due: of each discriminator step, whether lazy penalties are.
        noisy: whether D's input has noise.
        kept: how many fakes the generator learns from.
        filling: whether the history is still being filled, at a place that moves from iteration to iteration.
    """

    due: tuple[bool, ...]
    noisy: bool
    kept: int
    filling: bool


class Executor(Protocol):
    """A way to run `TrainStep.body`."""

    def __call__(self, train_step: "TrainStep", key: GraphKey) -> None:
        """Runs it once."""


def run_eager(train_step: "TrainStep", key: GraphKey) -> None:
    """Operation by operation: the executor of CPUs and for debugging."""
    train_step.body(key)


class TrainStep:
    """The training step over a pair of networks; it never waits for the device.

    Each discriminator step draws fresh real images and fresh z, with the fakes detached; the generator
    step draws fresh z, or learns from the last discriminator step's fakes where they are reused. An update
    whose loss or gradient is not finite is skipped on the device, together with all that follow;
    `buffer.first_bad_update` tells the host.

    Attributes:
        step: generator steps done.
        d_updates: discriminator steps done.
        executor: how the body is run.
        generate: (z, labels) -> images, the generator as the step calls it; like the others of `COMPILABLE`, it may be
            replaced by a compiled one.
        discriminate_pair: (real, labels, fake, labels) -> logits and class scores of either, see `_discriminate_pair`.
        discriminate_fakes: `discriminate`, as the generator step calls it.
        loss_of_d: the objective's loss of the discriminator.
        loss_of_g: `generator_loss`.
    """

    COMPILABLE = ("generate", "discriminate_pair", "discriminate_fakes", "loss_of_d", "loss_of_g")

    def __init__(
        self,
        networks: NetworkPair,
        objective: Objective,
        *,
        optimizer_g: Optimizer,
        optimizer_d: Optimizer,
        batches: BatchSampler,
        latents: torch.Generator,
        ema: Ema | None,
        d_steps: DiscriminatorSteps,
        bf16: bool,
        buffer: StepBuffer,
        draws: torch.Generator,
        regularizer: Regularizer | None = None,
        augment: Augment | None = None,
        noise: InstanceNoise | None = None,
        top_k: TopK | None = None,
        history: History | None = None,
        class_loss: ClassLoss | None = None,
        grad_clip_norm: float = 0.0,
        joint: bool = False,
        processes: Processes = SINGLE_PROCESS,
        reuse_fakes: bool = False,
    ) -> None:
        """Takes parts that live on one device.

        Args:
            networks: the pair.
            objective: its losses.
            optimizer_g: the generator's, of `make_adam`.
            optimizer_d: the discriminator's.
            batches: real images, with labels where the networks read them.
            latents: the source of z and of the labels of fakes.
            ema: the generator's running average.
            d_steps: how many discriminator steps a generator step.
            bf16: whether the networks run under bfloat16 autocast.
            buffer: where it writes what it sees.
            draws: the source of all other randomness: augmentation, noise, penalties, history.
            regularizer: constraints on the discriminator.
            augment: augmentation of what the discriminator sees.
            noise: noise on what the discriminator sees.
            top_k: which fakes the generator learns from.
            history: earlier fakes for the discriminator.
            class_loss: of AC-GAN.
            grad_clip_norm: largest norm of either network's gradient; 0 is off.
            joint: whether D judges real and fake images in one batch, with batch norm's statistics of either half.
            processes: those that train together, each with its rows of every batch.
            reuse_fakes: whether the generator step learns from the fakes drawn for the last discriminator step, before
                a history's took the place of some; what D sees of them is augmented and noised anew.
        """
        self.processes = processes
        self.joint = joint
        self.reuse_fakes = reuse_fakes
        self.networks = networks
        self.objective = objective
        self.optimizer_g = optimizer_g
        self.optimizer_d = optimizer_d
        self.batches = batches
        self.latents = latents
        self.ema = ema
        self.d_steps = d_steps
        self.bf16 = bf16
        self.buffer = buffer
        self.draws = draws
        self.regularizer = regularizer
        self.augment = augment
        self.noise = noise
        self.top_k = top_k
        self.history = history
        self.class_loss = class_loss
        self.grad_clip_norm = grad_clip_norm
        self.device = latents.device
        self.step = self.d_updates = 0
        self.executor: Executor = run_eager
        self.generate: Callable[[Tensor, Tensor | None], Tensor] = self._generate
        self.discriminate_pair = self._discriminate_pair
        self.discriminate_fakes = self.discriminate
        self.loss_of_d = self._discriminator_loss
        self.loss_of_g = self.generator_loss
        self._parameters_g = list(networks.generator.parameters())
        self._parameters_d = list(networks.discriminator.parameters())
        self._failed = torch.zeros((), device=self.device)
        for optimizer in (optimizer_g, optimizer_d):
            assert optimizer.defaults.get("fused"), "only fused optimizers read found_inf"
            optimizer.found_inf = self._failed  # type: ignore[attr-defined]

    def run(self) -> None:
        """K discriminator steps, one generator step, the EMA."""
        key = self.prepare()
        self.executor(self, key)
        self.close(key)

    def prepare(self) -> GraphKey:
        """Settles on the host what the next iteration does, and puts it where the body reads it."""
        d_steps = self.d_steps.at(self.step)
        self.batches.prepare(d_steps + self.objective.needs_real_logits)
        if self.ema is not None:
            self.ema.prepare()
        due = tuple(
            self.regularizer is not None and self.regularizer.is_due(self.d_updates + k) for k in range(d_steps)
        )
        size = self.batches.batch_size
        return GraphKey(
            due=due,
            noisy=self.noise is not None and self.noise.prepare(self.step),
            kept=size if self.top_k is None else self.top_k.count(size, self.batches.epoch),
            filling=self.history is not None and self.history.is_filling,
        )

    def body(self, key: GraphKey) -> None:
        """The iteration itself: tensors in, tensors out, nothing that the host would have to wait or decide for."""
        self.buffer.open_row()
        power_iterate(self.networks.discriminator)
        for k in range(len(key.due)):
            with torch.set_grad_enabled(self.reuse_fakes and k == len(key.due) - 1):
                fakes = self._fakes()
            with shared_spectral_norm(self.networks.discriminator):
                self._discriminator_step(k, key, *fakes)
        self._generator_step(key, *(fakes if self.reuse_fakes else self._fakes()))
        if self.ema is not None:
            self.ema.update()

    def close(self, key: GraphKey) -> None:
        """Counts on the host what the iteration has done."""
        if key.filling:
            assert self.history is not None
            self.history.grow(len(key.due) * self.batches.batch_size)
        self.step += 1
        self.d_updates += len(key.due)
        self.buffer.close_row(len(key.due))

    def set_learning_rates(self, factor: float) -> None:
        """Of both optimizers, to `factor` times their first."""
        for optimizer in (self.optimizer_g, self.optimizer_d):
            scale_learning_rate(optimizer, factor)

    def tensors(self) -> dict[str, Tensor]:
        """Everything that the body changes, by name: the very tensors, which stay where they are."""
        named: list[tuple[str, Tensor]] = [("failed", self._failed), *self.buffer.tensors().items()]
        modules = {"generator": self.networks.generator, "discriminator": self.networks.discriminator}
        if self.ema is not None:
            modules["ema"] = self.ema.network
        for name, module in modules.items():
            named += [(f"{name}.{key}", value) for key, value in _tensors_of(module)]
        for name, optimizer in (("optimizer_g", self.optimizer_g), ("optimizer_d", self.optimizer_d)):
            named += [(f"{name}.{key}", value) for key, value in adam_tensors(optimizer)]
        for part in (self.augment, self.history):
            named += [] if part is None else part.tensors().items()
        return dict(named)

    def generators(self) -> list[torch.Generator]:
        """The sources of randomness that the body draws from, beside the device's default one (dropout)."""
        return [self.batches.generator, self.latents, self.draws]

    def state_dict(self) -> dict[str, Any]:
        """What decides the steps to come, beside networks, optimizers, EMA, batches and the number of steps done."""
        state: dict[str, Any] = {"d_updates": self.d_updates}
        state |= {"latents": self.latents.get_state(), "draws": self.draws.get_state()}
        for name, part in (("augment", self.augment), ("history", self.history)):
            if part is not None:
                state[name] = part.state_dict()
        return state

    def load_state_dict(self, state: dict[str, Any], *, step: int) -> bool:
        """Goes on where `state_dict` was taken, after `step` steps; whether the random draws do so exactly."""
        self.step, self.d_updates = step, state["d_updates"]
        for name, part in (("augment", self.augment), ("history", self.history)):
            if part is not None:
                part.load_state_dict(state[name])
        exact = restore_generator(self.latents, state["latents"], seed=self.step)
        return restore_generator(self.draws, state["draws"], seed=self.step) and exact

    def load_optimizers(self, of_generator: dict[str, Any], of_discriminator: dict[str, Any]) -> None:
        """Their moments and step counts, in place; learning rates and betas are the configuration's."""
        load_adam(self.optimizer_g, of_generator)
        load_adam(self.optimizer_d, of_discriminator)

    def generator_loss(self, fake_logits: Tensor, real_logits: Tensor | None, kept: int | None = None) -> Tensor:
        """The objective's loss over those of the fakes (N,) that the generator learns from, `kept` of them."""
        if self.top_k is not None:
            count = self.top_k.count(len(fake_logits), self.batches.epoch) if kept is None else kept
            fake_logits = self.top_k.best(fake_logits, count)
            real_logits = None if real_logits is None else real_logits[:count]
        return self.objective.generator_loss(fake_logits, real_logits=real_logits)

    def _discriminator_loss(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        return self.objective.discriminator_loss(real_logits, fake_logits)

    def _discriminator_step(self, k: int, key: GraphKey, fake: Tensor, fake_labels: Tensor | None) -> None:
        real, real_labels = self.batches.batch(k)
        fake = fake.detach()
        with torch.no_grad():
            if self.history is not None:
                fake, fake_labels = self._mixed(fake, fake_labels, k if key.filling else None)
            real, fake = (self.augment_inputs(images, self.draws, noisy=key.noisy) for images in (real, fake))
        discriminate_pair = self.discriminate_pair
        if self.regularizer is not None and key.due[k]:
            real.requires_grad_(self.regularizer.r1 > 0)
            fake = fake.float().requires_grad_(self.regularizer.r2 > 0)
            discriminate_pair = self._discriminate_pair  # a compiled one has no second derivative
        real_logits, real_scores, fake_logits, fake_scores = discriminate_pair(real, real_labels, fake, fake_labels)
        whole_real, whole_fake = self.processes.all_gather(real_logits, fake_logits)
        loss = self.processes.loss_share(self.loss_of_d(whole_real, whole_fake))
        if self.regularizer is not None:
            for name, penalty in self.regularizer.penalties(
                lambda images: self.discriminate(images, real_labels)[0],
                real,
                fake,
                real_logits,
                fake_logits,
                self.draws,
                due=key.due[k],
            ).items():
                loss = loss + self.processes.mean_share(penalty)
                self.buffer.note(f"penalty/{name}", penalty)
        for side, scores, labels in (("real", real_scores, real_labels), ("fake", fake_scores, fake_labels)):
            if scores is not None and labels is not None:
                right = (scores.argmax(dim=1) == labels).float().mean()
                # A projection's scores are no classifier's, but their order tells whether D heeds the labels.
                self.buffer.note(f"class_{'top_score' if self.class_loss is None else 'accuracy'}/{side}", right)
                if self.class_loss is not None:
                    class_loss = F.cross_entropy(scores.float(), labels)
                    loss = loss + self.processes.mean_share(self.class_loss.weight_d * class_loss)
                    self.buffer.note(f"class_loss/{side}", class_loss)
        self._update(loss, self.optimizer_d, self._parameters_d, k)
        if self.regularizer is not None and self.regularizer.clip:
            clip_weights(self.networks.discriminator, self.regularizer.clip)
        if self.augment is not None and self.augment.target is not None:
            self.augment.adapt(whole_real)
            self.buffer.note("augment/p", self.augment.p)
        self.buffer.logits_now[0].copy_(whole_real.detach())
        self.buffer.logits_now[1].copy_(whole_fake.detach())

    def _generator_step(self, key: GraphKey, fake: Tensor, labels: Tensor | None) -> None:
        self._set_trainable(self.networks.discriminator, False)  # saves its weights' gradients
        real_logits = None
        with shared_spectral_norm(self.networks.discriminator):
            if self.objective.needs_real_logits:
                with torch.no_grad():
                    real, real_labels = self.batches.batch(len(key.due))
                    real_logits, _ = self.discriminate(
                        self.augment_inputs(real, self.draws, noisy=key.noisy), real_labels
                    )
            fake_logits, scores = self.discriminate_fakes(
                self.augment_inputs(fake, self.draws, noisy=key.noisy), labels
            )
        (whole_fake,) = self.processes.all_gather(fake_logits)
        whole_real = None if real_logits is None else self.processes.all_gather(real_logits)[0]
        loss = self.processes.loss_share(self.loss_of_g(whole_fake, whole_real, key.kept))
        if self.class_loss is not None and scores is not None and labels is not None:
            class_loss = F.cross_entropy(scores.float(), labels)
            loss = loss + self.processes.mean_share(self.class_loss.weight_g * class_loss)
            self.buffer.note("class_loss/generated", class_loss)
        last = len(self.buffer.updates_now) - 1
        self._update(loss, self.optimizer_g, self._parameters_g, last)
        self._set_trainable(self.networks.discriminator, True)
        self.buffer.logits_now[2].copy_(whole_fake.detach())
        self.buffer.keep_fakes(fake, labels)

    def _fakes(self) -> tuple[Tensor, Tensor | None]:
        """This process's rows of a batch of images of fresh z, and of fresh labels where the networks read them."""
        count, networks = self.batches.batch_size, self.networks
        z = self.processes.local_rows(sample_latent(networks.prior, (count, networks.latent_dim), self.latents))
        labels = None
        if networks.classes:
            labels = torch.randint(networks.classes, (count,), generator=self.latents, device=self.device)
            labels = self.processes.local_rows(labels)
        return self.generate(z, labels), labels

    def _mixed(self, fake: Tensor, labels: Tensor | None, filling: int | None) -> tuple[Tensor, Tensor | None]:
        """Fakes as the history has them; every process keeps the same one, of the fakes of all."""
        assert self.history is not None
        processes = self.processes
        (whole,) = processes.all_gather(fake)
        whole_labels = None if labels is None else processes.all_gather(labels)[0]
        mixed, mixed_labels = self.history.mix(whole, whole_labels, self.draws, filling)
        return processes.local_rows(mixed), None if mixed_labels is None else processes.local_rows(mixed_labels)

    def _generate(self, z: Tensor, labels: Tensor | None) -> Tensor:
        with self._autocast():
            images: Tensor = self.networks.generator(z) if labels is None else self.networks.generator(z, labels)
        return images

    def augment_inputs(self, images: Tensor, draws: torch.Generator, *, noisy: bool = True) -> Tensor:
        """What the discriminator sees of images, augmented and (unless it has faded) noised as `draws` has it."""
        if self.augment is not None:
            images = self.augment(images, draws)
        if self.noise is not None and noisy:
            images = self.noise(images, draws)
        return images

    def discriminate(self, images: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Logits (N,) in float32, and class scores (N, classes) where there are labels."""
        scores = None
        with self._autocast():
            if self.networks.classes:
                logits, scores = self.networks.discriminator(images, labels)
            else:
                logits = self.networks.discriminator(images)
        return logits.float(), scores

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

    def _update(self, loss: Tensor, optimizer: Optimizer, parameters: list[nn.Parameter], update: int) -> None:
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        gradients = [p.grad for p in parameters if p.grad is not None]
        whole_loss = self.processes.all_reduce_gradients(gradients, loss.detach())
        norm = get_total_norm(gradients)
        if self.grad_clip_norm:
            clip_grads_with_norm_(parameters, self.grad_clip_norm, norm)
        seen = torch.stack((whole_loss, norm))
        # The optimizers hold this very tensor: once it is 1 they change nothing any more.
        self._failed.copy_(torch.maximum(self._failed, 1 - seen.isfinite().all().float()))
        optimizer.step()
        self.buffer.updates_now[update].copy_(seen)

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.bf16)

    @staticmethod
    def _set_trainable(network: nn.Module, trainable: bool) -> None:
        for parameter in network.parameters():
            parameter.requires_grad_(trainable)


def _tensors_of(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    yield from module.named_parameters()
    yield from module.named_buffers()
