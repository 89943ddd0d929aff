"""The training step: Algorithm 1, its randomness, its refusal of what is not finite, its host-freedom."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from gantrain.data import BatchSampler
from gantrain.networks import NetworkPair, make_networks
from gantrain.objectives import Objective, make_objective
from gantrain.training.augment import Augment
from gantrain.training.ema import Ema
from gantrain.training.optimizers import make_adam
from gantrain.training.regularizers import Regularizer
from gantrain.training.schedules import cosine_decay, linear_decay, no_decay
from gantrain.training.step_buffer import StepBuffer
from gantrain.training.train_step import TrainStep
from gantrain.training.tricks import ClassLoss, DiscriminatorSteps, History, InstanceNoise, TopK

BATCH, LATENT = 4, 3


class Generator(nn.Module):
    """One linear layer; remembers what it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(LATENT, 3 * 4)
        self.calls: list[tuple[Tensor, bool]] = []

    def forward(self, z: Tensor) -> Tensor:
        self.calls.append((z.clone(), torch.is_grad_enabled()))
        return self.linear(z).view(-1, 3, 2, 2)


class Discriminator(nn.Module):
    """One linear layer; remembers what it saw."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3 * 4, 1)
        self.calls: list[tuple[Tensor, bool, list[bool]]] = []

    def forward(self, x: Tensor) -> Tensor:
        trainable = [p.requires_grad for p in self.parameters()]
        self.calls.append((x.detach().clone(), x.requires_grad, trainable))
        return self.linear(x.flatten(1))[:, 0]


def make_train_step(
    objective: Objective, *, d_steps: int = 1, capacity: int = 10, lr: float = 0.01, **options: Any
) -> TrainStep:
    torch.manual_seed(0)
    networks = NetworkPair(Generator(), Discriminator(), (-1.0, 1.0), LATENT, "normal")
    generator = torch.Generator().manual_seed(5)
    images = torch.randint(0, 256, (23, 3, 2, 2), dtype=torch.uint8, generator=generator)
    return TrainStep(
        networks,
        objective,
        optimizer_g=make_adam(networks.generator.parameters(), lr, (0.5, 0.9)),
        optimizer_d=make_adam(networks.discriminator.parameters(), 2 * lr, (0.4, 0.8)),
        batches=BatchSampler(images, batch_size=BATCH, image_range=(-1.0, 1.0), flip=True, seed=1, at_once=d_steps + 1),
        latents=torch.Generator().manual_seed(2),
        ema=Ema(networks.generator, 0.9),
        d_steps=DiscriminatorSteps(d_steps),
        bf16=False,
        buffer=StepBuffer(capacity, BATCH, d_steps, torch.device("cpu")),
        draws=torch.Generator().manual_seed(3),
        **options,
    )


def weights(network: nn.Module) -> list[Tensor]:
    return [p.detach().clone() for p in network.parameters()]


def test_k_discriminator_steps_then_one_generator_step_each_with_fresh_draws() -> None:
    train_step = make_train_step(make_objective(), d_steps=3)
    train_step.run()
    generator, discriminator = train_step.networks.generator, train_step.networks.discriminator
    assert isinstance(generator, Generator)
    assert isinstance(discriminator, Discriminator)
    latents = [z for z, _ in generator.calls]
    assert len(latents) == 4
    assert len({z.numpy().tobytes() for z in latents}) == 4
    assert [graph for _, graph in generator.calls] == [False, False, False, True]
    reals = [x for x, _, _ in discriminator.calls[:6:2]]
    assert len({x.numpy().tobytes() for x in reals}) == 3
    # real, fake three times with detached fakes and D learning, then the generator's fakes with D frozen
    assert [graph for _, graph, _ in discriminator.calls] == [False] * 6 + [True]
    assert [all(t) for *_, t in discriminator.calls] == [True] * 6 + [False]
    assert all(p.requires_grad for p in discriminator.parameters())


@pytest.mark.parametrize(
    "objective",
    [
        make_objective(),
        make_objective("kl", "rkl", rule="exact", normalize_ratio=True),
        make_objective("hinge"),
        make_objective("relativistic"),
    ],
    ids=str,
)
@pytest.mark.parametrize("reuse", [False, True])
def test_one_iteration_equals_the_same_written_by_hand(objective: Objective, reuse: bool) -> None:
    """Against a loop that uses plain Adam, written from the algorithm; reusing fakes, from pytorch/examples."""
    train_step = make_train_step(objective, d_steps=2, reuse_fakes=reuse)
    reference = make_train_step(objective, d_steps=2)
    generator, discriminator = reference.networks.generator, reference.networks.discriminator
    adam_g = torch.optim.Adam(generator.parameters(), 0.01, (0.5, 0.9), foreach=False)
    adam_d = torch.optim.Adam(discriminator.parameters(), 0.02, (0.4, 0.8), foreach=False)
    average = weights(generator)

    def z() -> Tensor:
        return torch.randn(BATCH, LATENT, generator=reference.latents)

    for step in range(3):
        train_step.run()
        reference.batches.prepare(3 if objective.needs_real_logits else 2)
        for k in range(2):
            real, _ = reference.batches.batch(k)
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
    for mine, wanted in (
        (weights(train_step.networks.generator), weights(generator)),
        (weights(train_step.networks.discriminator), weights(discriminator)),
        (weights(train_step.ema.network if train_step.ema else nn.Identity()), average),
    ):
        for a, b in zip(mine, wanted, strict=True):
            torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_reused_fakes_are_drawn_once_and_keep_their_graph() -> None:
    train_step = make_train_step(make_objective(), d_steps=3, reuse_fakes=True)
    train_step.run()
    generator, discriminator = train_step.networks.generator, train_step.networks.discriminator
    assert isinstance(generator, Generator)
    assert isinstance(discriminator, Discriminator)
    assert [graph for _, graph in generator.calls] == [False, False, True]
    assert torch.equal(discriminator.calls[5][0], discriminator.calls[6][0])
    assert [graph for _, graph, _ in discriminator.calls] == [False] * 6 + [True]


def test_records_hold_losses_norms_and_logits() -> None:
    train_step = make_train_step(make_objective(), d_steps=2, lr=1e-9)  # so small that the networks stay as they are
    train_step.run()
    buffer = train_step.buffer
    discriminator, generator = train_step.networks.discriminator, train_step.networks.generator
    assert isinstance(discriminator, Discriminator)
    (r1, *_), (f1, *_), (r2, *_), (f2, *_), (g, *_) = discriminator.calls
    with torch.no_grad():
        logits = [discriminator(x) for x in (r1, f1, r2, f2, g)]
    for recorded, wanted in zip(buffer.logits[:, 0], (logits[2], logits[3], logits[4]), strict=True):
        torch.testing.assert_close(recorded, wanted, rtol=1e-5, atol=1e-6)
    objective = train_step.objective
    for k, (real, fake) in enumerate(((logits[0], logits[1]), (logits[2], logits[3]))):
        loss = float(objective.discriminator_loss(real, fake))
        assert float(buffer.updates[k, 0, 0]) == pytest.approx(loss, rel=1e-5)
    assert float(buffer.updates[2, 0, 0]) == pytest.approx(float(objective.generator_loss(logits[4])), rel=1e-5)
    norm = torch.cat([p.grad.flatten() for p in generator.parameters() if p.grad is not None]).norm()
    assert float(buffer.updates[2, 0, 1]) == pytest.approx(float(norm), rel=1e-6)
    assert buffer.count == 1


@pytest.mark.parametrize("side", ["discriminator", "generator"])
def test_an_update_that_is_not_finite_changes_nothing_and_is_found(side: str) -> None:
    train_step = make_train_step(make_objective(), d_steps=2)
    train_step.run()
    before: list[Tensor] = []

    def poison(loss: Tensor) -> Tensor:
        before[:] = weights(train_step.networks.generator) + weights(train_step.networks.discriminator)
        return loss * float("nan")

    objective = train_step.objective

    class Poisoned:
        needs_real_logits = False

        def discriminator_loss(self, real: Tensor, fake: Tensor) -> Tensor:
            loss = objective.discriminator_loss(real, fake)
            return poison(loss) if side == "discriminator" else loss

        def generator_loss(self, fake: Tensor, real_logits: Tensor | None = None) -> Tensor:
            loss = objective.generator_loss(fake)
            return poison(loss) if side == "generator" else loss

    healthy, train_step.objective = train_step.objective, Poisoned()  # type: ignore[assignment]
    train_step.run()
    train_step.objective = healthy
    train_step.run()  # a later healthy update must not slip through either
    after = weights(train_step.networks.generator) + weights(train_step.networks.discriminator)
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    assert train_step.buffer.first_bad_update() == (1, 2 if side == "generator" else 0, False)


def test_an_infinite_gradient_of_a_finite_loss_is_told_apart() -> None:
    train_step = make_train_step(make_objective())
    objective = train_step.objective

    class Steep:
        needs_real_logits = False

        def discriminator_loss(self, real: Tensor, fake: Tensor) -> Tensor:
            return objective.discriminator_loss(real, fake) + (real * 0).abs().sqrt().sum()  # slope of √ at 0

        def generator_loss(self, fake: Tensor, real_logits: Tensor | None = None) -> Tensor:
            return objective.generator_loss(fake)

    train_step.objective = Steep()  # type: ignore[assignment]
    train_step.run()
    assert train_step.buffer.first_bad_update() == (0, 0, True)


def test_the_step_never_waits_for_the_device() -> None:
    """No operation that reads a tensor on the host, in a real network of either kind."""
    waits = ("_local_scalar_dense", "nonzero", "is_nonzero", "equal.default", "item")
    seen: list[str] = []

    class Watch(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            seen.append(str(func))
            return func(*args, **(kwargs or {}))

    device = torch.device("cpu")
    for name, norm, labels in (
        ("dcgan", "spectral", "acgan"),
        ("dcgan", "batch", "none"),
        ("sngan", "virtual", "projection"),
        ("resnet", "none", "projection"),
        ("poole", "none", "none"),
    ):
        train_step = make_train_step(make_objective("gan", "kl", normalize_ratio=True, max_log_ratio=9.0))
        networks = make_networks(
            name,
            width=2,
            latent_dim=LATENT,
            prior="sphere",
            d_norm=norm,
            image_size=32,
            labels=labels,
            classes=4,
            virtual_reference=2,
        )
        images = torch.randint(0, 256, (40, 3, 32, 32), dtype=torch.uint8)
        train_step = TrainStep(
            networks,
            train_step.objective,
            optimizer_g=make_adam(networks.generator.parameters(), 1e-3, (0.9, 0.999)),
            optimizer_d=make_adam(networks.discriminator.parameters(), 1e-3, (0.9, 0.999)),
            batches=BatchSampler(
                images,
                labels=torch.arange(40) % 4 if networks.classes else None,
                batch_size=BATCH,
                image_range=(-1.0, 1.0),
                flip=True,
                dequantize=True,
                seed=1,
                at_once=2,
            ),
            latents=torch.Generator().manual_seed(2),
            ema=Ema(networks.generator, 0.9),
            d_steps=DiscriminatorSteps(2),
            bf16=True,
            buffer=StepBuffer(5, BATCH, 2, device),
            draws=torch.Generator().manual_seed(3),
            regularizer=Regularizer(r1=1.0, r2=1.0, interval=2) if name == "resnet" else Regularizer(gp=1.0, clip=0.1),
            augment=Augment(
                ("color", "translation", "cutout"), p=0.5, image_range=(-1.0, 1.0), device=device, target=0.6
            ),
            noise=InstanceNoise(0.1, 100, device),
            top_k=TopK(0.5, 0.9),
            history=History(torch.zeros(8, 3, 32, 32), torch.zeros(8, dtype=torch.long) if networks.classes else None),
            class_loss=ClassLoss(1.0, 1.0) if labels == "acgan" else None,
            grad_clip_norm=1.0,
        )
        with Watch():
            for _ in range(3):
                train_step.run()
    assert len(seen) > 500
    assert not [name for name in seen if any(wait in name for wait in waits)]


def test_bf16_autocast_computes_in_bf16_and_the_losses_in_float32() -> None:
    train_step = make_train_step(make_objective())
    train_step.bf16 = True
    dtypes: list[torch.dtype] = []
    objective = train_step.objective

    class Watched:
        needs_real_logits = False

        def discriminator_loss(self, real: Tensor, fake: Tensor) -> Tensor:
            dtypes.append(real.dtype)
            return objective.discriminator_loss(real, fake)

        def generator_loss(self, fake: Tensor, real_logits: Tensor | None = None) -> Tensor:
            dtypes.append(fake.dtype)
            return objective.generator_loss(fake)

    train_step.objective = Watched()  # type: ignore[assignment]
    train_step.run()
    assert dtypes == [torch.float32, torch.float32]
    assert all(p.dtype == torch.float32 for p in train_step.networks.generator.parameters())
    rounded = train_step.buffer.logits[0, 0]
    assert torch.equal(rounded, rounded.bfloat16().float())  # they came out of a bf16 layer


def test_ema_follows_the_formula_and_takes_batch_norm_along() -> None:
    network = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    ema = Ema(network, 0.95)
    average = network[0].weight.detach().clone()
    mean = torch.zeros(2)
    for t in range(40):
        with torch.no_grad():
            network[0].weight.add_(1.0)
        network(torch.randn(8, 2))
        ema.prepare()
        ema.update()
        decay = min(0.95, (1 + t) / (10 + t))
        average = decay * average + (1 - decay) * network[0].weight.detach()
        mean = decay * mean + (1 - decay) * network[1].running_mean
    torch.testing.assert_close(ema.network[0].weight, average)
    torch.testing.assert_close(ema.network[1].running_mean, mean)
    assert not ema.network.training


def test_learning_rate_schedules() -> None:
    assert [no_decay(step) for step in (0, 5, 99)] == [1.0, 1.0, 1.0]
    whole, late = linear_decay(100, 0.0), linear_decay(100, 0.5)
    assert [whole(0), whole(50), whole(99)] == pytest.approx([1.0, 0.5, 0.01])
    cosine = cosine_decay(100, 0.5)
    assert [cosine(0), cosine(50), cosine(75), cosine(100)] == pytest.approx([1.0, 1.0, 0.5, 0.0])
    assert cosine(90) == pytest.approx((1 + math.cos(math.pi * 0.8)) / 2)
    assert [late(0), late(49), late(50), late(75), late(99)] == pytest.approx([1.0, 1.0, 1.0, 0.5, 0.02])
