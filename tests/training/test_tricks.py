"""Small practices, each against its definition, and each with an effect on the step."""

import pytest
import torch
from torch import Tensor

from gantrain.objectives import make_objective
from gantrain.training.augment import Augment
from gantrain.training.regularizers import Regularizer
from gantrain.training.tricks import DiscriminatorSteps, History, InstanceNoise, TopK
from tests.training.test_train_step import BATCH, Discriminator, make_train_step, weights


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_instance_noise_fades_linearly() -> None:
    noise = InstanceNoise(0.5, 100, torch.device("cpu"), scale=0.5)
    x = torch.zeros(50, 3, 16, 16)
    for step, sigma in ((0, 0.25), (50, 0.125), (90, 0.025)):
        assert noise.at(step) == pytest.approx(sigma)
        assert noise.prepare(step)
        assert float(noise(x, draws()).std()) == pytest.approx(sigma, rel=0.02)
    assert not noise.prepare(100)
    assert not noise.prepare(1000)


def test_top_k_keeps_the_largest_and_fewer_by_epoch() -> None:
    top = TopK(least=0.5, decay=0.8)
    assert [top.count(10, epoch) for epoch in range(6)] == [10, 8, 6, 5, 5, 5]
    logits = torch.tensor([0.3, -2.0, 5.0, 1.0, -7.0]).requires_grad_()
    kept = TopK.best(logits, TopK(0.6, 0.1).count(5, epoch=1))
    assert sorted(kept.tolist()) == pytest.approx([0.3, 1.0, 5.0])
    kept.sum().backward()
    assert logits.grad is not None
    assert logits.grad.tolist() == [1.0, 0.0, 1.0, 1.0, 0.0]


def test_history_gives_half_a_batch_of_earlier_fakes_and_keeps_half_of_the_new_ones() -> None:
    history = History(torch.zeros(10, 1, 1, 1), torch.zeros(10, dtype=torch.long))

    def batch(first: int) -> tuple[Tensor, Tensor]:
        numbers = torch.arange(first, first + 4)
        return numbers.view(4, 1, 1, 1).float(), numbers

    for train_step, batches in enumerate(((0, 4), (8, 12))):  # it fills first, and passes fakes through
        assert history.is_filling
        assert history.filled == 8 * train_step
        for k, first in enumerate(batches):
            fake, labels = batch(first)
            mixed, mixed_labels = history.mix(fake, labels, draws(), filling=k)
            assert torch.equal(mixed, fake)
            assert mixed_labels is labels
        history.grow(8)
    assert not history.is_filling
    assert history.images.flatten().tolist() == list(range(10))
    fake, labels = batch(100)
    mixed, mixed_labels = history.mix(fake, labels, draws(), filling=None)
    assert mixed_labels is not None
    old, new = mixed.flatten()[:2].tolist(), mixed.flatten()[2:].tolist()
    assert set(old) < set(range(10))
    assert len(set(old)) == 2
    assert new == [102.0, 103.0]
    assert mixed_labels.tolist() == mixed.flatten().long().tolist()  # labels stay with their images
    kept = set(history.images.flatten().tolist())
    assert kept == set(range(10)) - set(old) | {100.0, 101.0}
    assert history.labels is not None
    assert history.labels.tolist() == history.images.flatten().long().tolist()


@pytest.mark.parametrize(("early", "until", "every"), [(0, 25, 0), (7, 5, 0), (7, 5, 4), (7, 0, 3), (7, 6, 3)])
def test_discriminator_steps_early_and_again(early: int, until: int, every: int) -> None:
    steps = DiscriminatorSteps(2, early, until, every)
    wanted = [7 if early and (s < until or (every and s % every == 0)) else 2 for s in range(40)]
    assert [steps.at(s) for s in range(40)] == wanted
    assert [steps.total(s) for s in range(41)] == [sum(wanted[:s]) for s in range(41)]
    assert steps.most == max([*wanted, early or 2])


def test_early_steps_are_taken_and_recorded() -> None:
    train_step = make_train_step(make_objective(), d_steps=3)
    train_step.d_steps = DiscriminatorSteps(1, early=3, until=1)
    train_step.run()
    train_step.run()
    discriminator = train_step.networks.discriminator
    assert isinstance(discriminator, Discriminator)
    assert len(discriminator.calls) == (2 * 3 + 1) + (2 * 1 + 1)
    assert train_step.buffer.made == [3, 1]
    assert bool((train_step.buffer.updates[1:3, 1] == 0).all())
    assert bool((train_step.buffer.updates[:3, 0] != 0).all())
    assert train_step.d_updates == 4


def seen_by_d(**options: object) -> list[Tensor]:
    train_step = make_train_step(make_objective(), lr=1e-9, **options)
    train_step.run()
    discriminator = train_step.networks.discriminator
    assert isinstance(discriminator, Discriminator)
    return [x for x, *_ in discriminator.calls]


def test_noise_reaches_real_and_fake_in_both_steps() -> None:
    plain, noisy = seen_by_d(), seen_by_d(noise=InstanceNoise(0.5, 100, torch.device("cpu")))
    assert len(plain) == len(noisy) == 3
    for before, after in zip(plain, noisy, strict=True):
        assert float((after - before).std()) == pytest.approx(0.5, rel=0.35)


def test_gradient_clipping_bounds_the_update_and_reports_the_norm_before() -> None:
    plain, clipped = make_train_step(make_objective()), make_train_step(make_objective(), grad_clip_norm=1e-3)
    for train_step in (plain, clipped):
        train_step.optimizer_d = torch.optim.SGD(train_step.networks.discriminator.parameters(), 1.0)
        before = weights(train_step.networks.discriminator)
        train_step.run()
        after = weights(train_step.networks.discriminator)
        moved = torch.cat([(a - b).flatten() for a, b in zip(after, before, strict=True)]).norm()
        norm = float(train_step.buffer.updates[0, 0, 1])
        assert norm > 1e-2
        assert float(moved) == pytest.approx(1e-3 if train_step is clipped else norm, rel=1e-3)


def test_a_generous_bound_leaves_the_gradient_alone() -> None:
    plain, clipped = make_train_step(make_objective()), make_train_step(make_objective(), grad_clip_norm=1e3)
    for train_step in (plain, clipped):
        train_step.run()
    for a, b in zip(weights(plain.networks.generator), weights(clipped.networks.generator), strict=True):
        torch.testing.assert_close(a, b)


def test_top_k_changes_what_the_generator_learns_from() -> None:
    train_step = make_train_step(make_objective(), lr=1e-9, top_k=TopK(0.5, 0.1))
    train_step.batches.epoch = 1
    train_step.run()
    logits = train_step.buffer.logits[2, 0]
    wanted = train_step.objective.generator_loss(logits.topk(BATCH // 2).values)
    assert float(train_step.buffer.updates[-1, 0, 0]) == pytest.approx(float(wanted), rel=1e-5)
    assert float(wanted) != pytest.approx(float(train_step.objective.generator_loss(logits)), rel=1e-3)


def test_penalties_are_added_to_the_discriminators_loss_and_noted() -> None:
    train_step = make_train_step(make_objective(), lr=1e-9, regularizer=Regularizer(r1=2.0, r2=3.0))
    train_step.run()
    discriminator = train_step.networks.discriminator
    assert isinstance(discriminator, Discriminator)
    half_square = float(discriminator.linear.weight.detach().square().sum()) / 2
    assert float(train_step.buffer.notes["penalty/r1"][0]) == pytest.approx(2 * half_square, rel=1e-5)
    assert float(train_step.buffer.notes["penalty/r2"][0]) == pytest.approx(3 * half_square, rel=1e-5)
    real, fake = train_step.buffer.logits[0, 0], train_step.buffer.logits[1, 0]
    wanted = float(train_step.objective.discriminator_loss(real, fake)) + 5 * half_square
    assert float(train_step.buffer.updates[0, 0, 0]) == pytest.approx(wanted, rel=1e-5)


def test_weights_are_clipped_after_each_discriminator_step() -> None:
    train_step = make_train_step(make_objective(), regularizer=Regularizer(clip=0.01))
    train_step.run()
    assert max(float(p.abs().max()) for p in weights(train_step.networks.discriminator)) == pytest.approx(0.01)


def test_augmentation_reaches_real_and_fake_in_both_steps() -> None:
    augment = Augment(("cutout",), p=1.0, image_range=(9.0, 9.0), device=torch.device("cpu"))
    seen = seen_by_d(augment=augment)
    assert len(seen) == 3
    for x in seen:
        assert bool((x == 9.0).flatten(1).any(dim=1).all())  # a background that no image has


def test_history_reaches_the_discriminator_and_not_the_generator() -> None:
    history = History(torch.full((8, 3, 2, 2), 7.0), None)
    history.filled = 8
    real, fake, generated = seen_by_d(history=history)
    old = (fake == 7.0).flatten(1).all(dim=1)
    assert int(old.sum()) == BATCH // 2
    assert not bool((real == 7.0).any() | (generated == 7.0).any())
    assert int((history.images == 7.0).flatten(1).all(dim=1).sum()) == 8 - BATCH // 2
