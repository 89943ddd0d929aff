"""Other projects' training loops, rewritten over our networks and objectives.

Each keeps what decides the speed of its original: the order of passes, what is computed twice, where the host waits for
the device. Learning-rate schedules, sample grids and checkpoints are left out. Every loop takes `Parts` and returns one
iteration as a callable without arguments. z comes from the global random generator, as in the originals.
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
    """What a loop trains with.

    Attributes:
        networks: the pair, in training mode on the device; its prior must be normal.
        objective: the losses.
        optimizer_d: the discriminator's optimizer.
        optimizer_g: the generator's optimizer.
        real: returns the next real images (B, 3, H, W) in the pair's range, on the device.
        batch_size: B.
        d_steps: discriminator steps per generator step, k.
        device: where everything is.
        scalar: writes a TensorBoard scalar: tag, value, step.
        out: where loops print that print every iteration; None to print nothing.
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
"""Discriminator losses on logits (N,) of real and of fake images."""


def pytorch_examples(parts: Parts) -> Callable[[], None]:
    """pytorch/examples dcgan/main.py (77f55b9), lines 230 to 263; k is 1.

    D sees real and fake images in two passes, each followed by its own backward pass. D and G learn from the same fake
    images, so that G's step needs no second forward pass of G. D is not frozen in G's step: gradients of its weights
    are computed and discarded. Five scalars are read per iteration.
    """
    networks, generator, discriminator = parts.networks, parts.networks.generator, parts.networks.discriminator
    on_real, on_fake = SIDES[parts.objective.disc]
    assert parts.d_steps == 1, "this loop takes one discriminator step"
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

    G steps first with D frozen; then D takes k steps with G frozen, all on one real batch. Both optimizers clear their
    gradients before every step. Every tenth iteration reads two losses.
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

    Each of D's k steps draws its own real batch, generates fake images with a graph and detaches them, and reads three
    scalars. G's step reads one. D is not frozen in G's step.
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

    z is drawn on the CPU and copied. D's loss is read for the progress bar after each of its k steps and written to
    TensorBoard once per iteration. G learns from 2B fake images. D is not frozen in G's step.
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
    """Adam with PyTorch's defaults, as in every original."""
    return torch.optim.Adam(network.parameters(), lr=lr, betas=betas)


PEERS: dict[str, tuple[Loop, str]] = {
    "pytorch/examples": (pytorch_examples, "D and G share the fake images"),
    "torch-fidelity": (torch_fidelity_sngan, "one real batch for all k steps of D"),
    "mimicry": (mimicry, ""),
    "pytorch-gan-collections": (pytorch_gan_collections, "G's batch is 2B"),
}
"""Loops by project, and how their computation differs from ours."""
