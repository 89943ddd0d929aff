"""One iteration: k discriminator steps and one generator step (Goodfellow et al. 2014, Algorithm 1)."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

from gantrain.data import BatchSampler
from gantrain.networks import NetworkPair, sample_latent
from gantrain.objectives import Objective
from gantrain.training.ema import Ema


class Records:
    """What the iterations since the last look have seen, kept on the device.

    Attributes:
        logits: (3, capacity, batch): v on real and on fake images in the last discriminator step, and on
            the generator step's fakes.
        updates: (k + 1, capacity, 2): loss and gradient norm of each update of an iteration, the
            generator's last.
        count: iterations recorded.
    """

    def __init__(self, capacity: int, batch_size: int, d_steps: int, device: torch.device) -> None:
        """Allocates for that many iterations."""
        self.logits = torch.zeros(3, capacity, batch_size, device=device)
        self.updates = torch.zeros(d_steps + 1, capacity, 2, device=device)
        self.capacity = capacity
        self.count = 0

    @property
    def row(self) -> int:
        """Where the present iteration is written."""
        assert self.count < self.capacity, "cleared at every row of scalars"
        return self.count

    def clear(self) -> None:
        """Starts a new interval."""
        self.count = 0

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
        d_steps: int,
        bf16: bool,
        records: Records,
    ) -> None:
        """Takes parts that live on one device; the optimizers are fused, so that they can skip an update."""
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
        self.device = latents.device
        self._parameters_g = list(networks.generator.parameters())
        self._parameters_d = list(networks.discriminator.parameters())
        self._failed = torch.zeros((), device=self.device)
        for optimizer in (optimizer_g, optimizer_d):
            assert optimizer.defaults.get("fused"), "only fused optimizers read found_inf"
            optimizer.found_inf = self._failed  # type: ignore[attr-defined]

    def run(self) -> None:
        """K discriminator steps, one generator step, the EMA."""
        for k in range(self.d_steps):
            self._discriminator_step(k)
        self._generator_step()
        if self.ema is not None:
            self.ema.update()
        self.records.count += 1

    def _discriminator_step(self, k: int) -> None:
        real = self.batches.next()
        with torch.no_grad():
            fake = self._fakes()
        with self._autocast():
            real_logits = self.networks.discriminator(real)
            fake_logits = self.networks.discriminator(fake)
        loss = self.objective.discriminator_loss(real_logits.float(), fake_logits.float())
        self._update(loss, self.optimizer_d, self._parameters_d, k)
        row = self.records.row
        self.records.logits[0, row] = real_logits.detach()
        self.records.logits[1, row] = fake_logits.detach()

    def _generator_step(self) -> None:
        self._set_trainable(self.networks.discriminator, False)  # saves its weights' gradients
        fake = self._fakes()
        real_logits = None
        if self.objective.needs_real_logits:
            with torch.no_grad(), self._autocast():
                real_logits = self.networks.discriminator(self.batches.next()).float()
        with self._autocast():
            fake_logits = self.networks.discriminator(fake)
        loss = self.objective.generator_loss(fake_logits.float(), real_logits=real_logits)
        self._update(loss, self.optimizer_g, self._parameters_g, self.d_steps)
        self._set_trainable(self.networks.discriminator, True)
        self.records.logits[2, self.records.row] = fake_logits.detach()

    def _fakes(self) -> Tensor:
        shape = (self.batches.batch_size, self.networks.latent_dim)
        z = sample_latent(self.networks.prior, shape, self.latents)
        with self._autocast():
            fake: Tensor = self.networks.generator(z)
        return fake

    def _update(self, loss: Tensor, optimizer: Optimizer, parameters: list[nn.Parameter], update: int) -> None:
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = get_total_norm([p.grad for p in parameters if p.grad is not None])
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


def linear_decay(steps: int, start: float) -> Callable[[int], float]:
    """Factor of the learning rate at each step: 1 until `start`·steps, then linearly to 0 at `steps`."""
    first = start * steps
    return lambda step: 1.0 if step < first else (steps - step) / (steps - first)


def no_decay(step: int) -> float:
    """The constant schedule."""
    return 1.0
