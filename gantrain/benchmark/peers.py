"""Other projects' training loops, written anew over our networks, objective, k and batch size.

Each keeps what decides its original's speed: the order of passes, what is recomputed, where the host waits for the
device. Left out is what is no part of an iteration (learning-rate schedules, sample grids, checkpoints). Every function
takes `Parts` and gives the iteration: a callable without arguments. z comes from the global RNG, as in the originals.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TextIO

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from gantrain.networks import NetworkPair
from gantrain.objectives import Objective


@dataclass(slots=True, kw_only=True)
class Parts:
    """What a loop is run with.

    Attributes:
        networks: the pair, in training mode on the device; z must be normal.
        objective: its losses.
        optimizer_d: the discriminator's, as the original makes it.
        optimizer_g: the generator's.
        real: the next real images (B, 3, H, W) in the pair's range, on the device.
        batch_size: B.
        d_steps: discriminator steps a generator step, k.
        device: of all of it.
        scalar: writes an event: tag, value, step.
        out: where a loop prints that prints every iteration; None for silence.
    """

    networks: NetworkPair
    objective: Objective
    optimizer_d: Optimizer
    optimizer_g: Optimizer
    real: Callable[[], Tensor]
    batch_size: int
    d_steps: int
    device: torch.device
    scalar: Callable[[str, Tensor, int], None]
    out: TextIO | None = None

    def z(self, count: int) -> Tensor:
        """Latents (count, latent_dim), drawn on the device."""
        return torch.randn(count, self.networks.latent_dim, device=self.device)


Loop = Callable[[Parts], Callable[[], None]]
Side = Callable[[Tensor], Tensor]

SIDES: dict[str, tuple[Side, Side]] = {
    "gan": (
        lambda v: F.binary_cross_entropy_with_logits(v, torch.full_like(v, 1.0)),
        lambda v: F.binary_cross_entropy_with_logits(v, torch.full_like(v, 0.0)),
    ),
    "hinge": (lambda v: F.relu(1 - v).mean(), lambda v: F.relu(1 + v).mean()),
    "wasserstein": (lambda v: -v.mean(), lambda v: v.mean()),
}
"""The discriminator's loss on logits (N,) of real and of fake images, for what is a sum of the two."""


def pytorch_examples(parts: Parts) -> Callable[[], None]:
    """pytorch/examples dcgan/main.py (77f55b9), lines 230 to 263; k is 1.

    D passes over real and over fake images one after the other, each with its own backward into the same gradients. The
    same fakes serve D and G: they keep their graph, and G's step spares a forward pass of its own. D is not frozen in
    G's step, so that the gradients of its weights are computed and thrown away. Five scalars are read an iteration.
    """
    networks, generator, discriminator = parts.networks, parts.networks.generator, parts.networks.discriminator
    on_real, on_fake = SIDES[parts.objective.disc]
    assert parts.d_steps == 1, "the loop has no inner one"
    assert networks.prior == "normal"
    step = 0

    def iteration() -> None:
        nonlocal step
        discriminator.zero_grad()
        score = discriminator(parts.real())
        loss_real = on_real(score)
        loss_real.backward()
        mean_real = score.mean().item()
        fake = generator(parts.z(parts.batch_size))
        score = discriminator(fake.detach())
        loss_fake = on_fake(score)
        loss_fake.backward()
        mean_fake = score.mean().item()
        loss_d = loss_real + loss_fake
        parts.optimizer_d.step()
        generator.zero_grad()
        score = discriminator(fake)
        loss_g = parts.objective.generator_loss(score)
        loss_g.backward()
        mean_generated = score.mean().item()
        parts.optimizer_g.step()
        read = (loss_d.item(), loss_g.item(), mean_real, mean_fake, mean_generated)
        if parts.out is not None:
            print(f"[{step}]", *(f"{value:.4f}" for value in read), file=parts.out)
        step += 1

    return iteration


def torch_fidelity_sngan(parts: Parts) -> Callable[[], None]:
    """torch-fidelity examples/sngan_cifar10.py (5e211a9), lines 120 to 160.

    G first, D frozen; then k updates of D, G frozen, all on one real batch. Both optimizers clear their gradients
    before every update. Every tenth iteration two losses are read and written.
    """
    generator, discriminator = parts.networks.generator, parts.networks.discriminator
    step = 0

    def clear() -> None:
        parts.optimizer_d.zero_grad()
        parts.optimizer_g.zero_grad()

    def iteration() -> None:
        nonlocal step
        real = parts.real()
        generator.requires_grad_(True)
        discriminator.requires_grad_(False)
        clear()
        loss_g = parts.objective.generator_loss(discriminator(generator(parts.z(parts.batch_size))))
        loss_g.backward()
        parts.optimizer_g.step()
        generator.requires_grad_(False)
        discriminator.requires_grad_(True)
        for _ in range(parts.d_steps):
            z = parts.z(parts.batch_size)
            clear()
            fake_score = discriminator(generator(z))
            loss_d = parts.objective.discriminator_loss(discriminator(real), fake_score)
            loss_d.backward()
            parts.optimizer_d.step()
        step += 1
        if step % 10 == 0:
            loss_g.cpu().item(), loss_d.cpu().item()

    return iteration


def mimicry(parts: Parts) -> Callable[[], None]:
    """kwotsin/mimicry torch_mimicry/nets/gan/gan.py (a7fda06): train_step of D and of G.

    Each of the k updates of D has a real batch of its own; its fakes are drawn with their graph and detached, and three
    scalars are read after it. G reads one. D is not frozen in G's step.
    """
    generator, discriminator = parts.networks.generator, parts.networks.discriminator

    def iteration() -> None:
        for _ in range(parts.d_steps):
            discriminator.zero_grad()
            real_score = discriminator(parts.real())
            fake = generator(parts.z(parts.batch_size)).detach()
            fake_score = discriminator(fake)
            loss_d = parts.objective.discriminator_loss(real_score, fake_score)
            loss_d.backward()
            parts.optimizer_d.step()
            torch.sigmoid(real_score).mean().item()
            torch.sigmoid(fake_score).mean().item()
            loss_d.item()
        generator.zero_grad()
        loss_g = parts.objective.generator_loss(discriminator(generator(parts.z(parts.batch_size))))
        loss_g.backward()
        parts.optimizer_g.step()
        loss_g.item()

    return iteration


def pytorch_gan_collections(parts: Parts) -> Callable[[], None]:
    """w86763777/pytorch-gan-collections dcgan.py (860e90b), lines 130 to 160.

    z is drawn on the CPU and copied. D's loss is formatted, and so read, after each of its k updates and written as an
    event once an iteration. G learns from 2B fakes, and D is not frozen meanwhile.
    """
    networks, generator, discriminator = parts.networks, parts.networks.generator, parts.networks.discriminator
    step = 0

    def z(count: int) -> Tensor:
        return torch.randn(count, networks.latent_dim).to(parts.device)

    def iteration() -> None:
        nonlocal step
        for _ in range(parts.d_steps):
            with torch.no_grad():
                fake = generator(z(parts.batch_size))
            real_score, fake_score = discriminator(parts.real()), discriminator(fake)
            loss_d = parts.objective.discriminator_loss(real_score, fake_score)
            parts.optimizer_d.zero_grad()
            loss_d.backward()
            parts.optimizer_d.step()
            f"{loss_d.item():.4f}"
        parts.scalar("loss", loss_d, step)
        loss_g = parts.objective.generator_loss(discriminator(generator(z(2 * parts.batch_size))))
        parts.optimizer_g.zero_grad()
        loss_g.backward()
        parts.optimizer_g.step()
        step += 1

    return iteration


def plain_adam(network: nn.Module, lr: float, betas: tuple[float, float]) -> torch.optim.Adam:
    """Adam as every original makes it: by PyTorch's own choice a foreach one on CUDA, a loop on a CPU."""
    return torch.optim.Adam(network.parameters(), lr=lr, betas=betas)


@dataclass(frozen=True, slots=True)
class Peer:
    """A loop by another project.

    Attributes:
        loop: makes the iteration.
        deviation: where its mathematics is not ours, in words for the table; empty where it is.
    """

    loop: Loop
    deviation: str = ""


PEERS: dict[str, Peer] = {
    "examples": Peer(pytorch_examples, "D and G share the fakes"),
    "fidelity": Peer(torch_fidelity_sngan, "one real batch for all k updates of D"),
    "mimicry": Peer(mimicry),
    "collections": Peer(pytorch_gan_collections, "G's batch is 2B"),
}
