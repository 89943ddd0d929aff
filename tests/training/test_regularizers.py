"""Penalties against mathematics: closed forms on linear networks, finite differences on a curved one."""

from collections.abc import Callable
from dataclasses import dataclass

import pytest
import torch
from torch import Tensor, nn

from gantrain.config import regularizer as section
from gantrain.options import ConfigError, merge_options
from gantrain.training.regularizers import (
    DiscriminatorBatch,
    GradientNormPenalty,
    Regularizer,
    WeightClipping,
    ZeroCenteredPenalty,
    clip_weights,
    distance_from_one,
    dragan_penalty,
    gradient_penalty,
    input_gradient,
    interpolate,
    zero_centered_penalty,
)
from tests.training.test_train_step import make_train_step

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


@pytest.mark.parametrize("norm", [0.25, 1.0, 3.0])
def test_penalties_of_a_linear_discriminator_and_their_gradients(norm: float) -> None:
    """(‖w‖ - 1)² and ½‖w‖², whose gradients by w are 2(‖w‖ - 1) w/‖w‖ and w."""
    discriminate = Linear(norm)
    w = discriminate.w.detach()
    for one_sided in (False, True):
        expected = 0 if one_sided and norm < 1 else (norm - 1) ** 2
        around = dragan_penalty(discriminate, images(2), draws(), one_sided=one_sided)
        between = gradient_penalty(discriminate, images(2), images(3), draws(), one_sided=one_sided)
        assert [between.item(), around.item()] == pytest.approx([expected] * 2, abs=1e-5)
    (slope,) = torch.autograd.grad(gradient_penalty(discriminate, images(2), images(3), draws()), discriminate.w)
    torch.testing.assert_close(slope, 2 * (norm - 1) * w / norm, atol=1e-5, rtol=1e-5)
    x = images(2).requires_grad_()
    (slope,) = torch.autograd.grad(zero_centered_penalty(discriminate(x), x), discriminate.w)
    torch.testing.assert_close(slope, w, atol=1e-5, rtol=1e-5)


def test_gp_is_taken_between_real_and_fake_and_dragan_around_real_images() -> None:
    seen: list[Tensor] = []

    def discriminate(x: Tensor) -> Tensor:
        seen.append(x.detach())
        return x.flatten(1).square().sum(dim=1)

    real, fake, many = images(2), images(3), 3 * images(2).repeat(50, 1, 1, 1)
    gradient_penalty(discriminate, real, fake, draws())
    dragan_penalty(discriminate, many, draws())
    share = ((seen[0] - real) / (fake - real)).flatten(1)
    torch.testing.assert_close(share, share[:, :1].expand_as(share), atol=1e-3, rtol=1e-3)  # one for each pair
    assert -1e-3 <= float(share.min()) <= float(share.max()) <= 1 + 1e-3
    assert float(share[:, 0].std()) > 0.1
    noise = seen[1] - many
    assert float(noise.std()) == pytest.approx(0.5 * float((3 * real).std()), rel=0.02)
    assert abs(float(noise.mean())) < 0.05


def curved() -> nn.Sequential:
    torch.manual_seed(0)
    layers = (nn.Conv2d(3, 4, 3), nn.Softplus(), nn.Flatten(), nn.Linear(16, 1), nn.Flatten(0))
    return nn.Sequential(*layers).double()


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
    slopes = torch.autograd.grad(penalty(network), parameters, allow_unused=True)
    generator = torch.Generator().manual_seed(3)
    direction = [torch.randn(p.shape, generator=generator, dtype=p.dtype) for p in parameters]
    expected = sum(float((s * d).sum()) for s, d in zip(slopes, direction, strict=True) if s is not None)
    step, ends = 1e-3, []
    for move in (step, -2 * step):
        with torch.no_grad():
            torch._foreach_add_(parameters, direction, alpha=move)
        ends.append(penalty(network).item())
    assert (ends[0] - ends[1]) / (2 * step) == pytest.approx(expected, rel=2e-3)
    assert abs(expected) > 1e-3


def test_input_gradients_and_their_distance_from_one() -> None:
    """Each example has its own gradient; distances by hand."""
    network = curved()
    x = images(2).requires_grad_()
    together = input_gradient(network(x.double()), x)
    for k in range(len(x)):
        single = x[k : k + 1].detach().requires_grad_()
        torch.testing.assert_close(input_gradient(network(single.double()), single)[0], together[k])
    half_square = together.square().sum(dim=1).mean().item() / 2
    assert zero_centered_penalty(network(x.double()), x).item() == pytest.approx(half_square)
    gradients = torch.tensor([[3.0, 4.0], [0.0, 0.5]])  # norms 5 and ½
    assert float(distance_from_one(gradients, one_sided=False)) == pytest.approx((16 + 0.25) / 2)
    assert float(distance_from_one(gradients, one_sided=True)) == pytest.approx(16 / 2)


def penalties(regularizer: Regularizer, d_update: int) -> dict[str, float]:
    if not regularizer.is_due(d_update):
        return {}
    discriminate, real, fake = Linear(2.0), images(2).requires_grad_(), images(3).requires_grad_()
    batch = DiscriminatorBatch(real, fake, discriminate(real), discriminate(fake), discriminate, draws())
    return {name: value.item() for name, value in regularizer.penalties(batch).items()}


def test_strengths_and_lazy_intervals() -> None:
    """With interval 4, every 4th step has four times as much: the same on average."""
    lazy = ZeroCenteredPenalty(r1=0.3, r2=0.5, interval=4)
    over_time = [penalties(lazy, d_update) for d_update in range(8)]
    assert [sorted(found) for found in over_time] == [["r1", "r2"], [], [], [], ["r1", "r2"], [], [], []]
    always = penalties(ZeroCenteredPenalty(r1=0.3, r2=0.5), 3)
    assert always == {"r1": pytest.approx(0.3 * 2), "r2": pytest.approx(0.5 * 2)}  # γ·½‖w‖², ‖w‖ = 2
    assert sum(found.get("r1", 0.0) for found in over_time) / 8 == pytest.approx(always["r1"])
    assert penalties(GradientNormPenalty(gp=10.0), 0) == {"gp": pytest.approx(10.0)}
    assert penalties(GradientNormPenalty(dragan=10.0, one_sided=True), 1) == {"dragan": pytest.approx(10.0)}
    assert penalties(WeightClipping(clip=0.01), 0) == {}


def test_clipping_puts_weights_in_the_box_after_each_update() -> None:
    network = nn.Linear(3, 1)
    with torch.no_grad():
        network.weight.copy_(torch.tensor([[0.5, -0.5, 0.004]]))
        network.bias.fill_(-7.0)
    clip_weights(network, 0.01)
    assert [*network.weight[0].tolist(), *network.bias.tolist()] == pytest.approx([0.01, -0.01, 0.004, -0.01])
    train_step, _, discriminator = make_train_step(regularizers=[WeightClipping(clip=0.01)])
    train_step.run()
    assert max(float(p.detach().abs().max()) for p in discriminator.parameters()) == pytest.approx(0.01)


def test_the_penalty_bounds_the_slope_of_a_critic() -> None:
    """A critic of two points at distance 1: with the penalty its slope goes to 1, without it grows."""

    def slope(strength: float) -> float:
        discriminate = Linear(0.1)
        adam = torch.optim.Adam(discriminate.parameters(), 0.05)
        real, fake = torch.zeros(SHAPE), torch.zeros(SHAPE)
        fake[:, 0, 0, 0] = 1
        for _ in range(200):
            loss = discriminate(fake).mean() - discriminate(real).mean()
            loss = loss + strength * gradient_penalty(discriminate, real, fake, draws())
            adam.zero_grad()
            loss.backward()
            adam.step()
        return float(discriminate.w.detach().norm())

    assert slope(10.0) == pytest.approx(1.05, abs=0.02)  # 2λ(‖w‖ - 1) balances the loss's slope of 1
    assert 5 < slope(0.0) < 1e6


@dataclass(slots=True, kw_only=True)
class ZeroCenteredInterpolates(Regularizer):
    """λ E‖∇v‖² between real and fake images."""

    gp0: float = 0.0

    def active(self) -> tuple[str, ...]:
        return ("gp0",) if self.gp0 else ()

    def penalties(self, batch: DiscriminatorBatch) -> dict[str, Tensor]:
        x = interpolate(batch.real, batch.fake, batch.draws).requires_grad_()
        gradient = input_gradient(batch.discriminate(x), x)
        return {"gp0": self.gp0 * gradient.square().sum(dim=1).mean()}


def test_the_step_adds_penalties_to_the_discriminators_loss_and_notes_them() -> None:
    """Those of the package, and a custom one."""
    regularizers = [ZeroCenteredPenalty(r1=2.0, r2=3.0), ZeroCenteredInterpolates(gp0=4.0)]
    train_step, _, discriminator = make_train_step(lr=1e-9, regularizers=regularizers)
    train_step.run()
    half_square = float(discriminator.linear.weight.detach().square().sum()) / 2
    buffer = train_step.buffer
    for name, strength in (("r1", 2), ("r2", 3), ("gp0", 2 * 4)):
        assert float(buffer.notes[f"penalty/{name}"][0]) == pytest.approx(strength * half_square, rel=1e-5)
    loss = float(train_step.objective.discriminator_loss(*buffer.logits[:2, 0]))
    assert float(buffer.updates[0, 0, 0]) == pytest.approx(loss + 13 * half_square, rel=1e-5)


def test_lazy_penalties_are_due_over_all_discriminator_steps_of_a_run() -> None:
    train_step, *_ = make_train_step(d_steps=2, regularizers=[ZeroCenteredPenalty(r1=1.0, interval=3)])
    due = []
    for _ in range(3):
        train_step.run()
        due += [bool(flags[0]) for flags in train_step.key.due]
    assert due == [True, False, False, True, False, False]


def test_a_key_belongs_to_one_regularizer_and_each_active_one_is_a_choice(monkeypatch: pytest.MonkeyPatch) -> None:
    class Other(ZeroCenteredInterpolates):
        pass

    with pytest.raises(ConfigError, match="gp0 is a key of both ZeroCenteredInterpolates and Other"):
        merge_options("Section", [ZeroCenteredInterpolates, Other], base=object, doc="", distinct=True)
    kinds = (GradientNormPenalty, ZeroCenteredInterpolates)
    monkeypatch.setattr(section, "REGULARIZERS", kinds)
    config = merge_options("Section", kinds, base=section._RegularizerSection, doc="")
    with pytest.raises(ConfigError, match="gp and gp0 constrain the same gradient; choose one of gp, dragan, gp0 "):
        config(gp=10.0, gp0=1.0)
