"""Penalties against mathematics: closed forms on linear networks, finite differences on a curved one."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from gantrain.training.regularizers import (
    Regularizer,
    clip_weights,
    distance_from_one,
    dragan_penalty,
    gradient_penalty,
    input_gradient,
    zero_centered_penalty,
)

SHAPE = (6, 3, 4, 4)


def images(seed: int) -> Tensor:
    return torch.randn(SHAPE, generator=torch.Generator().manual_seed(seed))


def draws() -> torch.Generator:
    return torch.Generator().manual_seed(7)


class Linear(nn.Module):
    """v = w·x + b, whose gradient by the image is w everywhere."""

    def __init__(self, norm: float) -> None:
        super().__init__()
        w = torch.randn(48, generator=torch.Generator().manual_seed(1))
        self.w = nn.Parameter(w * norm / w.norm())
        self.b = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1) @ self.w + self.b


@pytest.mark.parametrize(("norm", "two", "one"), [(3.0, 4.0, 4.0), (0.25, 0.5625, 0.0), (1.0, 0.0, 0.0)])
def test_gradient_penalties_of_a_linear_discriminator(norm: float, two: float, one: float) -> None:
    discriminate = Linear(norm)
    for one_sided, wanted in ((False, two), (True, one)):
        around = dragan_penalty(discriminate, images(2), draws(), one_sided=one_sided)
        between = gradient_penalty(discriminate, images(2), images(3), draws(), one_sided=one_sided)
        assert between.item() == pytest.approx(wanted, abs=1e-5)
        assert around.item() == pytest.approx(wanted, abs=1e-5)


@pytest.mark.parametrize("norm", [0.5, 3.0])
def test_the_penalty_pulls_the_weights_as_its_derivative_says(norm: float) -> None:
    """d/dw (‖w‖ - 1)² = 2(‖w‖ - 1) w/‖w‖, and ½‖w‖² has w itself."""
    discriminate = Linear(norm)
    (slope,) = torch.autograd.grad(gradient_penalty(discriminate, images(2), images(3), draws()), discriminate.w)
    torch.testing.assert_close(slope, 2 * (norm - 1) * discriminate.w.detach() / norm, atol=1e-5, rtol=1e-5)
    x = images(2).requires_grad_()
    (slope,) = torch.autograd.grad(zero_centered_penalty(discriminate(x), x), discriminate.w)
    torch.testing.assert_close(slope, discriminate.w.detach(), atol=1e-5, rtol=1e-5)


def test_the_points_of_the_penalties() -> None:
    """GP looks between pairs of a real and a fake, DRAGAN around real images with half the batch's deviation."""
    seen: list[Tensor] = []

    def discriminate(x: Tensor) -> Tensor:
        seen.append(x.detach())
        return x.flatten(1).square().sum(dim=1)

    real, fake = images(2), images(3)
    gradient_penalty(discriminate, real, fake, draws())
    dragan_penalty(discriminate, 3 * images(2).repeat(50, 1, 1, 1), draws())
    share = (seen[0] - real) / (fake - real)
    for row in share.flatten(1):
        torch.testing.assert_close(row, row[:1].expand_as(row), atol=1e-3, rtol=1e-3)
    spread = share.flatten(1)[:, 0]
    assert float(spread.min()) >= 0
    assert float(spread.max()) <= 1
    assert float(spread.std()) > 0.1
    noise = seen[1] - 3 * real.repeat(50, 1, 1, 1)
    assert float(noise.std()) == pytest.approx(0.5 * float((3 * real).std()), rel=0.02)
    assert abs(float(noise.mean())) < 0.05


def curved() -> nn.Sequential:
    torch.manual_seed(0)
    layers = (nn.Conv2d(3, 4, 3), nn.Softplus(), nn.Flatten(), nn.Linear(16, 1), nn.Flatten(0))
    return nn.Sequential(*layers).double()


def r1(network: nn.Module) -> Tensor:
    x = images(2).double().requires_grad_()
    (gradient,) = torch.autograd.grad(network(x).sum(), x, create_graph=True)
    return gradient.square().flatten(1).sum(dim=1).mean() / 2


PENALTIES: dict[str, Callable[[nn.Module], Tensor]] = {
    "gp": lambda net: gradient_penalty(lambda x: net(x.double()), images(2), images(3), draws()),
    "one-sided gp": lambda net: gradient_penalty(
        lambda x: 9 * net(x.double()), images(2), images(3), draws(), one_sided=True
    ),
    "dragan": lambda net: dragan_penalty(lambda x: net(x.double()), images(2), draws()),
    "r1": lambda net: zero_centered_penalty(net((x := images(2).requires_grad_()).double()), x),
}


@pytest.mark.parametrize("name", PENALTIES)
def test_second_derivatives_against_finite_differences(name: str) -> None:
    """The slope of each penalty along a random direction of the weights."""
    network, penalty = curved(), PENALTIES[name]
    parameters = list(network.parameters())
    value = penalty(network)
    assert value.item() > 1e-3
    slopes = torch.autograd.grad(value, parameters, allow_unused=True)
    generator = torch.Generator().manual_seed(3)
    direction = [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in parameters]
    wanted = sum(float((s * d).sum()) for s, d in zip(slopes, direction, strict=True) if s is not None)
    step = 1e-3
    ends = []
    for sign in (1, -1):
        with torch.no_grad():
            for p, d in zip(parameters, direction, strict=True):
                p.add_(d, alpha=sign * step)
        ends.append(penalty(network).item())
        with torch.no_grad():
            for p, d in zip(parameters, direction, strict=True):
                p.sub_(d, alpha=sign * step)
    assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(wanted, rel=2e-3)
    assert abs(wanted) > 1e-3


def test_r1_of_a_curved_network_is_its_definition() -> None:
    network = curved()
    x = images(2).requires_grad_()
    assert zero_centered_penalty(network(x.double()), x).item() == pytest.approx(r1(network).item(), rel=1e-5)


def test_input_gradient_is_each_examples_own() -> None:
    network = curved()
    x = images(2).requires_grad_()
    together = input_gradient(network(x.double()), x)
    for k in range(len(x)):
        alone = x[k : k + 1].detach().requires_grad_()
        torch.testing.assert_close(input_gradient(network(alone.double()), alone)[0], together[k])


def test_distance_from_one_by_hand() -> None:
    gradients = torch.tensor([[3.0, 4.0], [0.0, 0.5]])  # norms 5 and ½
    assert float(distance_from_one(gradients, one_sided=False)) == pytest.approx((16 + 0.25) / 2)
    assert float(distance_from_one(gradients, one_sided=True)) == pytest.approx(16 / 2)


def penalties(regularizer: Regularizer, turn: int) -> dict[str, float]:
    discriminate = Linear(2.0)
    real, fake = images(2), images(3)
    if regularizer.is_due(turn):
        real.requires_grad_(), fake.requires_grad_()
    found = regularizer.penalties(
        discriminate, real, fake, discriminate(real), discriminate(fake), draws(), due=regularizer.is_due(turn)
    )
    return {name: value.item() for name, value in found.items()}


def test_strengths_and_lazy_intervals() -> None:
    """At every 4th step four times as much: the same on average."""
    lazy = Regularizer(r1=0.3, r2=0.5, interval=4)
    over_time = [penalties(lazy, turn) for turn in range(8)]
    assert [sorted(found) for found in over_time] == [["r1", "r2"], [], [], [], ["r1", "r2"], [], [], []]
    always = penalties(Regularizer(r1=0.3, r2=0.5), 3)
    assert always == {"r1": pytest.approx(0.3 * 2), "r2": pytest.approx(0.5 * 2)}  # γ·½‖w‖², ‖w‖ = 2
    assert sum(found.get("r1", 0.0) for found in over_time) / 8 == pytest.approx(always["r1"])
    assert penalties(Regularizer(gp=10.0), 0) == {"gp": pytest.approx(10.0)}
    assert penalties(Regularizer(dragan=10.0, one_sided=True), 1) == {"dragan": pytest.approx(10.0)}
    assert penalties(Regularizer(clip=0.01), 0) == {}


def test_clipped_weights_lie_in_the_box_and_small_ones_stay() -> None:
    network = nn.Linear(3, 2)
    with torch.no_grad():
        network.weight.copy_(torch.tensor([[0.5, -0.5, 0.004], [0.01, -0.003, 2.0]]))
        network.bias.copy_(torch.tensor([-7.0, 0.0]))
    clip_weights(network, 0.01)
    assert network.weight.tolist() == [pytest.approx([0.01, -0.01, 0.004]), pytest.approx([0.01, -0.003, 0.01])]
    assert network.bias.tolist() == pytest.approx([-0.01, 0.0])


def test_the_penalised_loss_is_lipschitz_sooner() -> None:
    """A critic trained on two points a distance 1 apart: with the penalty its slope goes to 1, without it grows."""

    def slope(strength: float) -> float:
        torch.manual_seed(0)
        discriminate = Linear(0.1)
        adam = torch.optim.Adam(discriminate.parameters(), 0.05)
        real = torch.zeros(SHAPE)
        fake = torch.zeros(SHAPE)
        fake[:, 0, 0, 0] = 1
        for _ in range(200):
            loss = discriminate(fake).mean() - discriminate(real).mean()
            loss = loss + strength * gradient_penalty(discriminate, real, fake, draws())
            adam.zero_grad()
            loss.backward()
            adam.step()
        return float(discriminate.w.detach().norm())

    assert slope(10.0) == pytest.approx(1.05, abs=0.02)  # 2λ(‖w‖ - 1) balances the loss's slope of 1
    assert slope(0.0) > 5
    assert math.isfinite(slope(0.0))
