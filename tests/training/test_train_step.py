"""The training step: Algorithm 1, its random numbers, its NaN guard, and that it never waits for the device."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gantrain.data import BatchSampler
from gantrain.networks import NetworkPair
from gantrain.objectives import Objective, make_objective
from gantrain.training.ema import Ema
from gantrain.training.nan_guard import NotFiniteError, check_finite
from gantrain.training.optimizers import make_adam
from gantrain.training.schedules import DiscriminatorSteps, cosine_decay, linear_decay, no_decay
from gantrain.training.step_options import DataSources, Optimizers, StepOptions
from gantrain.training.train_step import TrainStep
from tests.training.helpers import Operations, make_trainer

BATCH, LATENT = 4, 3


class Generator(nn.Module):
    """One linear layer; records its inputs and whether a graph is kept."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(LATENT, 3 * 4)
        self.calls: list[tuple[Tensor, bool]] = []

    def forward(self, z: Tensor) -> Tensor:
        self.calls.append((z.clone(), torch.is_grad_enabled()))
        return self.linear(z).view(-1, 3, 2, 2)


class Discriminator(nn.Module):
    """One linear layer; records its inputs, whether these require gradients, and whether its weights do."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3 * 4, 1)
        self.calls: list[tuple[Tensor, bool, bool]] = []

    def forward(self, x: Tensor) -> Tensor:
        trainable = {p.requires_grad for p in self.parameters()}
        self.calls.append((x.detach().clone(), x.requires_grad, trainable.pop()))
        return self.linear(x.flatten(1))[:, 0]


def make_train_step(
    objective: Objective | None = None,
    *,
    d_steps: DiscriminatorSteps | int = 1,
    lr: float = 0.01,
    grad_clip_norm: float = 0.0,
    **options: Any,
) -> tuple[TrainStep, Generator, Discriminator]:
    """A step of tiny networks on 23 random images; a rate of 1e-9 leaves the networks as they are."""
    steps = DiscriminatorSteps(d_steps) if isinstance(d_steps, int) else d_steps
    torch.manual_seed(0)
    generator, discriminator = Generator(), Discriminator()
    source = torch.Generator().manual_seed(5)
    images = torch.randint(0, 256, (23, 3, 2, 2), dtype=torch.uint8, generator=source)
    step = TrainStep(
        NetworkPair(generator, discriminator, (-1.0, 1.0), LATENT, "normal"),
        objective or make_objective(),
        Optimizers(
            make_adam(generator.parameters(), lr, (0.5, 0.9)),
            make_adam(discriminator.parameters(), 2 * lr, (0.4, 0.8)),
            grad_clip_norm,
            Ema(generator, 0.9),
        ),
        DataSources(
            BatchSampler(images, batch_size=BATCH, image_range=(-1.0, 1.0), flip=True, seed=1, at_once=steps.most + 1),
            latents=torch.Generator().manual_seed(2),
            draws=torch.Generator().manual_seed(3),
        ),
        StepOptions(d_steps=steps, buffer_size=10, **options),
    )
    return step, generator, discriminator


def weights(*networks: nn.Module) -> list[Tensor]:
    return [p.detach().clone() for network in networks for p in network.parameters()]


@pytest.mark.parametrize("reuse", [False, True])
def test_k_discriminator_steps_then_one_generator_step(reuse: bool) -> None:
    """Each on fresh samples, unless the last fakes are reused, which are then generated once with their graph."""
    train_step, generator, discriminator = make_train_step(d_steps=3, reuse_fakes=reuse)
    train_step.run()
    assert len({z.numpy().tobytes() for z, _ in generator.calls}) == 4 - reuse
    assert [graph for _, graph in generator.calls] == [False, False, *([] if reuse else [False]), True]
    assert len({x.numpy().tobytes() for x, _, _ in discriminator.calls[:6:2]}) == 3  # real images
    assert torch.equal(discriminator.calls[5][0], discriminator.calls[6][0]) == reuse
    # Real and fake three times with detached fakes while D learns, then the generator's fakes with D frozen.
    assert [graph for _, graph, _ in discriminator.calls] == [False] * 6 + [True]
    assert [trainable for *_, trainable in discriminator.calls] == [True] * 6 + [False]
    assert all(p.requires_grad for p in discriminator.parameters())


OBJECTIVES = [
    make_objective(),
    make_objective("kl", "rkl", rule="exact", normalize_ratio=True),
    make_objective("hinge"),
    make_objective("relativistic"),
]


@pytest.mark.parametrize("objective", OBJECTIVES, ids=str)
@pytest.mark.parametrize("reuse", [False, True])
def test_one_iteration_equals_a_plain_loop(objective: Objective, reuse: bool) -> None:
    """Against a loop with plain Adam, written from the algorithm; with reused fakes, from pytorch/examples."""
    train_step, *trained = make_train_step(objective, d_steps=2, reuse_fakes=reuse)
    reference, generator, discriminator = make_train_step(objective, d_steps=2)
    adam_g = torch.optim.Adam(generator.parameters(), 0.01, (0.5, 0.9), foreach=False)
    adam_d = torch.optim.Adam(discriminator.parameters(), 0.02, (0.4, 0.8), foreach=False)
    average = weights(generator)

    def z() -> Tensor:
        return torch.randn(BATCH, LATENT, generator=reference.latents)

    for step in range(3):
        train_step.run()
        reference.batches.prepare(3 if objective.needs_real_logits else 2)
        for i in range(2):
            real, _ = reference.batches.batch(i)
            fake = generator(z())
            adam_d.zero_grad()
            objective.discriminator_loss(discriminator(real), discriminator(fake.detach())).backward()
            adam_d.step()
        if not reuse:
            fake = generator(z())
        real_logits = discriminator(reference.batches.batch(2)[0]).detach() if objective.needs_real_logits else None
        adam_g.zero_grad()
        objective.generator_loss(discriminator(fake), real_logits=real_logits).backward()
        adam_g.step()
        decay = min(0.9, (1 + step) / (10 + step))
        average = [decay * a + (1 - decay) * p.detach() for a, p in zip(average, generator.parameters(), strict=True)]
    assert train_step.ema is not None
    expected = [*weights(generator, discriminator), *average]
    torch.testing.assert_close(weights(*trained, train_step.ema.network), expected, rtol=1e-5, atol=1e-6)


def test_the_buffer_holds_losses_norms_and_logits() -> None:
    train_step, generator, discriminator = make_train_step(d_steps=2, lr=1e-9)
    train_step.run()
    buffer, objective = train_step.buffer, train_step.objective
    with torch.no_grad():
        real1, fake1, real2, fake2, generated = [discriminator(x) for x, *_ in discriminator.calls[:5]]
    torch.testing.assert_close(buffer.logits[:, 0], torch.stack((real2, fake2, generated)), rtol=1e-5, atol=1e-6)
    losses = [objective.discriminator_loss(real1, fake1), objective.discriminator_loss(real2, fake2)]
    losses.append(objective.generator_loss(generated))
    torch.testing.assert_close(buffer.updates[:, 0, 0], torch.stack(losses))
    norm = torch.cat([p.grad.flatten() for p in generator.parameters() if p.grad is not None]).norm()
    torch.testing.assert_close(buffer.updates[2, 0, 1], norm)


def test_early_discriminator_steps_are_made_and_recorded() -> None:
    train_step, _, discriminator = make_train_step(d_steps=DiscriminatorSteps(1, early=3, until=1))
    train_step.run()
    train_step.run()
    assert len(discriminator.calls) == (2 * 3 + 1) + (2 * 1 + 1)
    assert train_step.buffer.made == [3, 1]
    assert (train_step.buffer.updates[:, :, 0] != 0).T.tolist() == [[True] * 4, [True, False, False, True]]
    assert train_step.d_updates == 4


@pytest.mark.parametrize(("early", "until", "every"), [(0, 25, 0), (7, 5, 0), (7, 5, 4), (7, 0, 3), (7, 6, 3)])
def test_schedule_of_discriminator_steps(early: int, until: int, every: int) -> None:
    steps = DiscriminatorSteps(2, early, until, every)
    expected = [7 if early and (s < until or (every and s % every == 0)) else 2 for s in range(40)]
    assert [steps.at(s) for s in range(40)] == expected
    assert [steps.total(s) for s in range(41)] == [sum(expected[:s]) for s in range(41)]
    assert steps.most == max([*expected, early or 2])


@pytest.mark.parametrize("side", ["discriminator", "generator"])
def test_an_update_that_is_not_finite_changes_nothing_and_ends_the_run(side: str) -> None:
    train_step, *networks = make_train_step(make_objective(gen="kl"), d_steps=2)
    train_step.run()
    check_finite(train_step, saved_step=0)
    before: list[Tensor] = []
    name = "d_loss" if side == "discriminator" else "g_loss"
    healthy = getattr(train_step, name)

    def broken(*logits: Any) -> Tensor:
        before[:] = weights(*networks)
        return healthy(*logits) * math.nan

    setattr(train_step, name, broken)
    train_step.run()
    setattr(train_step, name, healthy)
    train_step.run()  # later healthy updates are skipped too
    assert all(torch.equal(a, b) for a, b in zip(before, weights(*networks), strict=True))
    assert train_step.buffer.first_bad_update() == (1, 2 if side == "generator" else 0, False)
    number = r" \(its update 1 of 2\)" if side == "discriminator" else ""
    message = (
        rf"step 2: the {side}'s loss{number} is not finite with .*gen=kl.*last.pt contains step 1.*max_log_ratio=10"
    )
    with pytest.raises(NotFiniteError, match=message):
        check_finite(train_step, saved_step=1)


def test_an_infinite_gradient_of_a_finite_loss_is_distinguished() -> None:
    train_step, *_ = make_train_step()
    healthy = train_step.d_loss
    train_step.d_loss = lambda real, fake: healthy(real, fake) + (real * 0).abs().sqrt().sum()
    train_step.run()
    with pytest.raises(NotFiniteError, match="discriminator's gradient is not finite"):
        check_finite(train_step, saved_step=0)


@pytest.mark.parametrize("bound", [1e-3, 1e3])
def test_gradient_clipping_bounds_the_update_and_the_norm_is_the_one_before(bound: float) -> None:
    train_step, _, discriminator = make_train_step(grad_clip_norm=bound)
    train_step.optimizer_d = torch.optim.SGD(discriminator.parameters(), 1.0)
    before = weights(discriminator)
    train_step.run()
    moved = torch.cat([(a - b).flatten() for a, b in zip(weights(discriminator), before, strict=True)]).norm()
    norm = float(train_step.buffer.updates[0, 0, 1])
    assert norm > 1e-2
    assert float(moved) == pytest.approx(min(bound, norm), rel=1e-3)


EVERYTHING = (
    *("augment=ada", "tricks.instance_noise=0.1", "tricks.history=8", "optimizer.grad_clip_norm=1", "loss=exact"),
    *("precision=bf16", "schedule.d_steps=2", "model.width=2", "data.dequantize=true", "model.prior=sphere"),
    *("tricks.top_k=0.5", "schedule.batch_size=4"),
)


@pytest.mark.parametrize(
    "words",
    [
        ("model=dcgan", "cond=acgan", "regularizer=gp"),
        ("model=dcgan", "model.d_norm=batch"),
        ("model=sngan", "cond=projection", "cond.generator=embedding", "model.g_norm=virtual", "model.d_norm=virtual"),
        ("model=resnet", "model.d_norm=none", "cond=projection", "regularizer=r1r2", "regularizer.interval=2"),
        ("model=poole", "regularizer=clip", "model.d_norm=none"),
    ],
    ids=str,
)
def test_the_step_never_waits_for_the_device(words: tuple[str, ...]) -> None:
    """No operation reads a tensor on the host, whatever is switched on."""
    train_step = make_trainer(*words, *EVERYTHING).train_step
    with Operations() as operations:
        for _ in range(3):
            train_step.run()
    assert len(operations.names) > 500
    assert not operations.that_wait


def test_bf16_autocast_computes_in_bf16_and_the_losses_in_float32() -> None:
    train_step, generator, _ = make_train_step(bf16=True)
    dtypes: list[torch.dtype] = []
    for name in ("d_loss", "g_loss"):
        loss = getattr(train_step, name)
        setattr(train_step, name, lambda *v, f=loss: (dtypes.extend(x.dtype for x in v if x is not None), f(*v))[1])
    train_step.run()
    assert dtypes == [torch.float32] * 3
    assert {p.dtype for p in generator.parameters()} == {torch.float32}
    logits = train_step.buffer.logits[0, 0]
    assert torch.equal(logits, logits.bfloat16().float())  # the output of a bf16 layer


def test_ema_follows_the_formula_and_includes_batch_norm() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    ema = Ema(network, 0.95)
    average, mean = network[0].weight.detach().clone(), torch.zeros(2)
    for t in range(250):
        with torch.no_grad():
            network[0].weight.add_(1.0)
        network(torch.randn(8, 2))
        if t == 200:
            ema.updates = t  # as a resumed run does
        ema.prepare()
        ema.update()
        decay = min(0.95, (1 + t) / (10 + t))
        average = decay * average + (1 - decay) * network[0].weight.detach()
        mean = decay * mean + (1 - decay) * network[1].running_mean
    torch.testing.assert_close(ema.network[0].weight, average)
    torch.testing.assert_close(ema.network[1].running_mean, mean)
    assert not ema.network.training


def test_learning_rate_schedules() -> None:
    complete, late, cosine = linear_decay(100, 0.0), linear_decay(100, 0.5), cosine_decay(100, 0.5)
    assert [no_decay(step) for step in (0, 5, 99)] == [1.0, 1.0, 1.0]
    assert [complete(0), complete(50), complete(99)] == pytest.approx([1.0, 0.5, 0.01])
    assert [late(0), late(49), late(50), late(75), late(99)] == pytest.approx([1.0, 1.0, 1.0, 0.5, 0.02])
    assert [cosine(0), cosine(50), cosine(75), cosine(100)] == pytest.approx([1.0, 1.0, 0.5, 0.0])
    assert cosine(90) == pytest.approx((1 + math.cos(math.pi * 0.8)) / 2)
