"""The peers' loops: what they compute, in what order, and how often they wait for the device."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

from gantrain.benchmark.counting import operators_of
from gantrain.benchmark.peers import PEERS, SIDES, Parts, plain_adam
from gantrain.networks import NetworkPair, make_networks
from gantrain.objectives import make_objective

BATCH, LATENT, LR, BETAS = 4, 3, 0.01, (0.5, 0.9)


def make_pair() -> NetworkPair:
    torch.manual_seed(0)
    pair = make_networks("dcgan", width=2, latent_dim=LATENT, prior="normal", d_norm="batch", image_size=32)
    for network in (pair.generator, pair.discriminator):
        network.to(torch.get_default_dtype()).train()
    return pair


def make_parts(k: int = 1) -> Parts:
    networks = make_pair()
    source = torch.Generator().manual_seed(3)
    return Parts(
        networks=networks,
        objective=make_objective(),
        optimizer_d=plain_adam(networks.discriminator, LR, BETAS),
        optimizer_g=plain_adam(networks.generator, LR, BETAS),
        real=lambda: torch.rand(BATCH, 3, 32, 32, generator=source) * 2 - 1,
        batch_size=BATCH,
        d_steps=k,
        device=torch.device("cpu"),
        scalar=lambda tag, value, step: None,
    )


class Adam:
    """Kingma & Ba 2015, Algorithm 1."""

    def __init__(self) -> None:
        self.t, self.m, self.v = 0, {}, {}

    def step(self, weights: dict[str, Tensor], gradients: dict[str, Tensor]) -> dict[str, Tensor]:
        self.t += 1
        found = {}
        for name, g in gradients.items():
            self.m[name] = BETAS[0] * self.m.get(name, 0) + (1 - BETAS[0]) * g
            self.v[name] = BETAS[1] * self.v.get(name, 0) + (1 - BETAS[1]) * g * g
            m, v = self.m[name] / (1 - BETAS[0] ** self.t), self.v[name] / (1 - BETAS[1] ** self.t)
            found[name] = (weights[name] - LR * m / (v.sqrt() + 1e-8)).detach()
        return found


def gradients_of(loss: Tensor, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    return dict(zip(weights, torch.autograd.grad(loss, list(weights.values())), strict=True))


def test_the_examples_loop_equals_the_same_written_by_hand() -> None:
    """In float64: one fake batch for both sides, D judged on each half by itself, G by the D that was just updated."""
    torch.set_default_dtype(torch.float64)
    parts = make_parts()
    networks = parts.networks
    iterated = make_parts()
    run = PEERS["examples"].loop(iterated)
    sides: dict[str, tuple[nn.Module, dict[str, Tensor], Adam]] = {
        name: (network, {key: p.detach().clone() for key, p in network.named_parameters()}, Adam())
        for name, network in (("g", networks.generator), ("d", networks.discriminator))
    }
    torch.manual_seed(11)
    latents = [torch.randn(BATCH, LATENT) for _ in range(3)]
    for z in latents:
        (g, weights_g, adam_g), (d, weights_d, adam_d) = sides["g"], sides["d"]
        leaves_g = {key: w.requires_grad_() for key, w in weights_g.items()}
        leaves_d = {key: w.requires_grad_() for key, w in weights_d.items()}
        fake = functional_call(g, leaves_g, (z,))
        on_real = functional_call(d, leaves_d, (parts.real(),))
        on_fake = functional_call(d, leaves_d, (fake.detach(),))
        loss_d = F.softplus(-on_real).mean() + F.softplus(on_fake).mean()
        weights_d = adam_d.step(leaves_d, gradients_of(loss_d, leaves_d))
        loss_g = F.softplus(-functional_call(d, weights_d, (fake,))).mean()
        weights_g = adam_g.step(leaves_g, gradients_of(loss_g, leaves_g))
        sides = {"g": (g, weights_g, adam_g), "d": (d, weights_d, adam_d)}
    torch.manual_seed(11)
    for _ in latents:
        run()
    for name, network in (("g", iterated.networks.generator), ("d", iterated.networks.discriminator)):
        for key, weight in network.named_parameters():
            torch.testing.assert_close(weight.detach(), sides[name][1][key], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("disc", SIDES)
def test_the_two_sides_of_a_loss_are_the_objectives(disc: str) -> None:
    source = torch.Generator().manual_seed(0)
    real, fake = (torch.randn(9, generator=source, dtype=torch.float64) for _ in range(2))
    on_real, on_fake = SIDES[disc]
    torch.testing.assert_close(on_real(real) + on_fake(fake), make_objective(disc).discriminator_loss(real, fake))


@pytest.mark.parametrize(
    ("name", "k", "iterations", "waits", "events"),
    [
        ("examples", 1, 1, 5, 0),
        ("fidelity", 5, 10, 2, 0),
        ("mimicry", 1, 1, 4, 0),
        ("mimicry", 5, 1, 16, 0),
        ("collections", 1, 1, 1, 1),
        ("collections", 5, 2, 10, 2),
    ],
)
def test_how_often_a_peer_waits_for_the_device(name: str, k: int, iterations: int, waits: int, events: int) -> None:
    written: list[Any] = []
    parts = make_parts(k)
    parts.scalar = lambda *event: written.append(event)
    run = PEERS[name].loop(parts)

    def all_of_them() -> None:
        for _ in range(iterations):
            run()

    assert operators_of(all_of_them).waits == waits
    assert len(written) == events


def calls_of(network: nn.Module) -> list[tuple[Tensor, bool]]:
    """What a network was given, and whether its weights were to learn from it."""
    seen: list[tuple[Tensor, bool]] = []
    network.register_forward_pre_hook(
        lambda module, inputs: seen.append((inputs[0].detach(), next(module.parameters()).requires_grad))
    )
    return seen


@pytest.mark.parametrize(
    ("name", "batches", "learns", "reals"),
    [
        # D's passes in the originals' order: their batches, whether D's weights get gradients; real batches drawn
        ("examples", [4, 4, 4], [True] * 3, 1),
        ("fidelity", [4] * 5, [False, *[True] * 4], 1),
        ("mimicry", [4] * 5, [True] * 5, 2),
        ("collections", [4, 4, 4, 4, 8], [True] * 5, 2),
    ],
)
def test_the_order_of_passes_is_the_originals(name: str, batches: list[int], learns: list[bool], reals: int) -> None:
    parts = make_parts(1 if name == "examples" else 2)
    drawn: list[Tensor] = []
    real: Callable[[], Tensor] = parts.real

    def counted() -> Tensor:
        drawn.append(real())
        return drawn[-1]

    parts.real = counted
    seen = calls_of(parts.networks.discriminator)
    PEERS[name].loop(parts)()
    assert [len(images) for images, _ in seen] == batches
    assert [trained for _, trained in seen] == learns
    assert len(drawn) == reals
    shared = torch.equal(seen[1][0], seen[2][0])  # examples: the fakes of D's step are those of G's
    assert shared == (name == "examples")
