"""One iteration: k discriminator steps and one generator step (Goodfellow et al. 2014, Algorithm 1)."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import clip_grads_with_norm_, get_total_norm
from torch.optim import Optimizer

from gantrain.data import BatchSampler, restore_generator
from gantrain.networks import NetworkPair, sample_latent
from gantrain.objectives import Objective
from gantrain.training.augment import Augment
from gantrain.training.ema import Ema
from gantrain.training.practice import ClassLoss, DiscriminatorSteps, History, InstanceNoise, TopK
from gantrain.training.regularizers import Regularizer, clip_weights


class Records:
    """What the iterations since the last look have seen, kept on the device.

    Attributes:
        logits: (3, capacity, batch): v on real and on fake images in the last discriminator step, and on
            the generator step's fakes.
        updates: (k + 1, capacity, 2): loss and gradient norm of each update of an iteration, the
            generator's last; those that an iteration did not make are 0.
        made: how many discriminator updates each iteration made.
        notes: (capacity,) of whatever else was noted, by name; NaN where an iteration noted nothing.
        last_fakes: the last generator step's images and labels.
        count: iterations recorded.
    """

    def __init__(self, capacity: int, batch_size: int, d_steps: int, device: torch.device) -> None:
        """Allocates for that many iterations of at most `d_steps` discriminator steps."""
        self.logits = torch.zeros(3, capacity, batch_size, device=device)
        self.updates = torch.zeros(d_steps + 1, capacity, 2, device=device)
        self.notes: dict[str, Tensor] = {}
        self.made: list[int] = []
        self.last_fakes: tuple[Tensor, Tensor | None] | None = None
        self.capacity = capacity
        self.count = 0

    @property
    def row(self) -> int:
        """Where the present iteration is written."""
        assert self.count < self.capacity, "cleared at every row of scalars"
        return self.count

    def note(self, name: str, value: Tensor) -> None:
        """Keeps a scalar of the present iteration."""
        if name not in self.notes:
            self.notes[name] = torch.full((self.capacity,), torch.nan, device=self.logits.device)
        self.notes[name][self.row] = value.detach()

    def close_row(self, d_steps: int) -> None:
        """The iteration is over, after that many discriminator updates."""
        self.updates[d_steps:-1, self.row] = 0
        self.made.append(d_steps)
        self.count += 1

    def clear(self) -> None:
        """Starts a new interval."""
        self.count = 0
        self.made.clear()
        for values in self.notes.values():
            values.fill_(torch.nan)

    def first_bad_update(self) -> tuple[int, int, bool] | None:
        """The first update that was not finite, as (iteration in the interval, update, loss was finite).

        Reads from the device, so it waits for it.
        """
        finite = self.updates[:, : self.count].isfinite()
        if bool(finite.all()):
            return None
        bad = (~finite.all(dim=2)).t().flatten().nonzero()[0].item()
        row, update = divmod(int(bad), len(self.updates))
        return row, update, bool(finite[update, row, 0])


class Iteration:
    """The training step over a pair of networks; it never waits for the device.

    Each discriminator step draws fresh real images and fresh z, with the fakes detached; the generator
    step draws fresh z. An update whose loss or gradient is not finite is skipped on the device, together
    with all that follow; `records.first_bad_update` tells the host.

    Attributes:
        step: generator steps done.
        d_updates: discriminator steps done.
    """

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
        records: Records,
        draws: torch.Generator,
        regularizer: Regularizer | None = None,
        augment: Augment | None = None,
        noise: InstanceNoise | None = None,
        top_k: TopK | None = None,
        history: History | None = None,
        class_loss: ClassLoss | None = None,
        clip_gradient: float = 0.0,
    ) -> None:
        """Takes parts that live on one device; the optimizers are fused, so that they can skip an update.

        Args:
            networks: the pair.
            objective: its losses.
            optimizer_g: the generator's.
            optimizer_d: the discriminator's.
            batches: real images, with labels where the networks read them.
            latents: the source of z and of the labels of fakes.
            ema: the generator's running average.
            d_steps: how many discriminator steps a generator step.
            bf16: whether the networks run under bfloat16 autocast.
            records: where it writes what it sees.
            draws: the source of all other randomness: augmentation, noise, penalties, history.
            regularizer: constraints on the discriminator.
            augment: augmentation of what the discriminator sees.
            noise: noise on what the discriminator sees.
            top_k: which fakes the generator learns from.
            history: earlier fakes for the discriminator.
            class_loss: of AC-GAN.
            clip_gradient: largest norm of either network's gradient; 0 is off.
        """
        self.networks = networks
        self.objective = objective
        self.optimizer_g = optimizer_g
        self.optimizer_d = optimizer_d
        self.batches = batches
        self.latents = latents
        self.ema = ema
        self.d_steps = d_steps
        self.bf16 = bf16
        self.records = records
        self.draws = draws
        self.regularizer = regularizer
        self.augment = augment
        self.noise = noise
        self.top_k = top_k
        self.history = history
        self.class_loss = class_loss
        self.clip_gradient = clip_gradient
        self.device = latents.device
        self.step = self.d_updates = 0
        self._parameters_g = list(networks.generator.parameters())
        self._parameters_d = list(networks.discriminator.parameters())
        self._failed = torch.zeros((), device=self.device)
        for optimizer in (optimizer_g, optimizer_d):
            assert optimizer.defaults.get("fused"), "only fused optimizers read found_inf"
            optimizer.found_inf = self._failed  # type: ignore[attr-defined]

    def run(self) -> None:
        """K discriminator steps, one generator step, the EMA."""
        d_steps = self.d_steps.at(self.step)
        for k in range(d_steps):
            self._discriminator_step(k)
        self._generator_step()
        if self.ema is not None:
            self.ema.update()
        self.step += 1
        self.records.close_row(d_steps)

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
        self.step, self.d_updates = step, int(state["d_updates"])
        for name, part in (("augment", self.augment), ("history", self.history)):
            if part is not None:
                part.load_state_dict(state[name])
        exact = restore_generator(self.latents, state["latents"], seed=self.step)
        return restore_generator(self.draws, state["draws"], seed=self.step) and exact

    def generator_loss(self, fake_logits: Tensor, real_logits: Tensor | None) -> Tensor:
        """The objective's loss over those of the fakes (N,) that the generator learns from."""
        if self.top_k is not None:
            fake_logits = self.top_k(fake_logits, self.batches.epoch)
            real_logits = None if real_logits is None else real_logits[: len(fake_logits)]
        return self.objective.generator_loss(fake_logits, real_logits=real_logits)

    def _discriminator_step(self, k: int) -> None:
        real, real_labels = self.batches.next()
        with torch.no_grad():
            fake, fake_labels = self._fakes()
            if self.history is not None:
                fake, fake_labels = self.history.mix(fake, fake_labels, self.draws)
            real, fake = self.seen(real, self.draws), self.seen(fake, self.draws)
        due = self.regularizer is not None and self.regularizer.is_due(self.d_updates)
        if due:
            assert self.regularizer is not None
            real.requires_grad_(self.regularizer.r1 > 0)
            fake = fake.float().requires_grad_(self.regularizer.r2 > 0)
        real_logits, real_scores = self.judge(real, real_labels)
        fake_logits, fake_scores = self.judge(fake, fake_labels)
        loss = self.objective.discriminator_loss(real_logits, fake_logits)
        if self.regularizer is not None:
            for name, penalty in self.regularizer.penalties(
                lambda images: self.judge(images, real_labels)[0],
                real,
                fake,
                real_logits,
                fake_logits,
                self.draws,
                self.d_updates,
            ).items():
                loss = loss + penalty
                self.records.note(f"penalty/{name}", penalty)
        for side, scores, labels in (("real", real_scores, real_labels), ("fake", fake_scores, fake_labels)):
            if scores is not None and labels is not None:
                right = (scores.argmax(dim=1) == labels).float().mean()
                # A projection's scores are no classifier's, but their order tells whether D heeds the labels.
                self.records.note(f"class_{'top_score' if self.class_loss is None else 'accuracy'}/{side}", right)
                if self.class_loss is not None:
                    class_loss = F.cross_entropy(scores.float(), labels)
                    loss = loss + self.class_loss.weight_d * class_loss
                    self.records.note(f"class_loss/{side}", class_loss)
        self._update(loss, self.optimizer_d, self._parameters_d, k)
        if self.regularizer is not None and self.regularizer.clip:
            clip_weights(self.networks.discriminator, self.regularizer.clip)
        if self.augment is not None and self.augment.target is not None:
            self.augment.adapt(real_logits)
            self.records.note("augment/p", self.augment.p)
        self.d_updates += 1
        row = self.records.row
        self.records.logits[0, row] = real_logits.detach()
        self.records.logits[1, row] = fake_logits.detach()

    def _generator_step(self) -> None:
        self._set_trainable(self.networks.discriminator, False)  # saves its weights' gradients
        fake, labels = self._fakes()
        real_logits = None
        if self.objective.needs_real_logits:
            with torch.no_grad():
                real, real_labels = self.batches.next()
                real_logits, _ = self.judge(self.seen(real, self.draws), real_labels)
        fake_logits, scores = self.judge(self.seen(fake, self.draws), labels)
        loss = self.generator_loss(fake_logits, real_logits)
        if self.class_loss is not None and scores is not None and labels is not None:
            class_loss = F.cross_entropy(scores.float(), labels)
            loss = loss + self.class_loss.weight_g * class_loss
            self.records.note("class_loss/generated", class_loss)
        last = len(self.records.updates) - 1
        self._update(loss, self.optimizer_g, self._parameters_g, last)
        self._set_trainable(self.networks.discriminator, True)
        self.records.logits[2, self.records.row] = fake_logits.detach()
        self.records.last_fakes = fake.detach(), labels

    def _fakes(self) -> tuple[Tensor, Tensor | None]:
        """Images of fresh z, and of fresh labels where the networks read them."""
        count, networks = self.batches.batch_size, self.networks
        z = sample_latent(networks.prior, (count, networks.latent_dim), self.latents)
        if not networks.classes:
            with self._autocast():
                return networks.generator(z), None
        labels = torch.randint(networks.classes, (count,), generator=self.latents, device=self.device)
        with self._autocast():
            return networks.generator(z, labels), labels

    def seen(self, images: Tensor, draws: torch.Generator) -> Tensor:
        """What the discriminator sees of images, augmented and noised as `draws` has it."""
        if self.augment is not None:
            images = self.augment(images, draws)
        if self.noise is not None:
            images = self.noise(images, self.step, draws)
        return images

    def judge(self, images: Tensor, labels: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """Logits (N,) in float32, and class scores (N, classes) where there are labels."""
        scores = None
        with self._autocast():
            if self.networks.classes:
                logits, scores = self.networks.discriminator(images, labels)
            else:
                logits = self.networks.discriminator(images)
        return logits.float(), scores

    def _update(self, loss: Tensor, optimizer: Optimizer, parameters: list[nn.Parameter], update: int) -> None:
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = get_total_norm([p.grad for p in parameters if p.grad is not None])
        if self.clip_gradient:
            clip_grads_with_norm_(parameters, self.clip_gradient, norm)
        seen = torch.stack((loss.detach(), norm))
        # The optimizers hold this very tensor: once it is 1 they change nothing any more.
        self._failed.copy_(torch.maximum(self._failed, 1 - seen.isfinite().all().float()))
        optimizer.step()
        self.records.updates[update, self.records.row] = seen

    def _autocast(self) -> torch.autocast:
        return torch.autocast(self.device.type, dtype=torch.bfloat16, enabled=self.bf16)

    @staticmethod
    def _set_trainable(network: nn.Module, trainable: bool) -> None:
        for parameter in network.parameters():
            parameter.requires_grad_(trainable)
