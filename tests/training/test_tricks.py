"""Each training trick against its definition, and its effect on the step."""

from typing import Any

import pytest
import torch
from torch import Tensor

from gantrain.training.augment import Augment
from gantrain.training.tricks import TRICKS, History, InstanceNoise, TopK, Trick, TrickSetup
from tests.training.test_train_step import BATCH, make_train_step

CPU = torch.device("cpu")


def draws() -> torch.Generator:
    return torch.Generator().manual_seed(0)


def inputs_of_d(*tricks: Trick) -> tuple[Tensor, Tensor, Tensor]:
    """Real images, fakes, and the generator step's fakes as the discriminator sees them in one iteration."""
    train_step, _, discriminator = make_train_step(lr=1e-9, tricks=tricks)
    train_step.run()
    real, fake, generated = (x for x, *_ in discriminator.calls)
    return real, fake, generated


def test_instance_noise_fades_linearly() -> None:
    noise = InstanceNoise(0.25, 100, CPU)
    x = torch.zeros(50, 3, 16, 16)
    for step, sigma in ((0, 0.25), (50, 0.125), (90, 0.025)):
        assert noise.prepare(step, epoch=0) is True
        assert float(noise.augment_inputs(x, draws(), True).std()) == pytest.approx(sigma, rel=0.02)
    assert noise.prepare(100, epoch=0) is noise.prepare(1000, epoch=0) is False
    assert torch.equal(noise.augment_inputs(x, draws(), False), x)


def test_noise_and_augmentation_reach_real_and_fake_in_both_steps() -> None:
    plain, noisy = inputs_of_d(), inputs_of_d(InstanceNoise(0.5, 100, CPU))
    for before, after in zip(plain, noisy, strict=True):
        assert float((after - before).std()) == pytest.approx(0.5, rel=0.35)
    for x in inputs_of_d(Augment(("cutout",), p=1.0, image_range=(9.0, 9.0), device=CPU)):
        assert bool((x == 9.0).flatten(1).any(dim=1).all())  # a background that no image has


def test_top_k_keeps_the_largest_and_fewer_by_epoch() -> None:
    top = TopK(least=0.5, decay=0.8, batch_size=10)
    assert [top.prepare(0, epoch) for epoch in range(6)] == [10, 8, 6, 5, 5, 5]
    logits = torch.tensor([0.3, -2.0, 5.0, 1.0, -7.0]).requires_grad_()
    kept, real = top.select_fakes(logits, torch.arange(5.0), 3)
    assert sorted(kept.tolist()) == pytest.approx([0.3, 1.0, 5.0])
    assert real is not None
    assert real.tolist() == [0, 1, 2]
    (gradient,) = torch.autograd.grad(kept.sum(), logits)
    assert gradient.tolist() == [1.0, 0.0, 1.0, 1.0, 0.0]


def test_top_k_changes_what_the_generator_learns_from() -> None:
    train_step, *_ = make_train_step(lr=1e-9, tricks=[TopK(0.5, 0.1, BATCH)])
    train_step.batches.epoch = 1
    train_step.run()
    logits = train_step.buffer.logits[2, 0]
    expected = train_step.objective.generator_loss(logits.topk(BATCH // 2).values)
    torch.testing.assert_close(train_step.buffer.updates[-1, 0, 0], expected)
    torch.testing.assert_close(train_step.generator_loss(logits, None), expected)
    assert float(expected) != pytest.approx(float(train_step.objective.generator_loss(logits)), rel=1e-3)


def test_history_gives_half_a_batch_of_earlier_fakes_and_keeps_half_of_the_new_ones() -> None:
    history = History(torch.zeros(10, 1, 1, 1), torch.zeros(10, dtype=torch.long), batch_size=4)

    def batch(first: int) -> tuple[Tensor, Tensor]:
        numbers = torch.arange(first, first + 4)
        return numbers.view(4, 1, 1, 1).float(), numbers

    for iteration, firsts in enumerate(((0, 4), (8, 12))):  # it is filled first, and passes fakes through
        assert history.filled == 8 * iteration
        assert not history.is_capturable
        filling = history.prepare(iteration, epoch=0)
        for d_step, first in enumerate(firsts):
            fake, labels = batch(first)
            mixed, mixed_labels = history.replace_fakes(fake, labels, draws(), d_step, filling)
            assert torch.equal(mixed, fake)
            assert mixed_labels is labels
        history.finish(2)
    assert history.is_capturable
    assert history.images.flatten().tolist() == list(range(10))
    mixed, mixed_labels = history.replace_fakes(*batch(100), draws(), 0, history.prepare(2, epoch=0))
    old, new = mixed.flatten()[:2].tolist(), mixed.flatten()[2:].tolist()
    assert len(set(old) & set(range(10))) == 2
    assert new == [102.0, 103.0]
    assert set(history.images.flatten().tolist()) == set(range(10)) - set(old) | {100.0, 101.0}
    for images, labels in ((mixed, mixed_labels), (history.images, history.labels)):
        assert labels is not None
        assert labels.tolist() == images.flatten().long().tolist()  # labels stay with their images


def test_history_reaches_the_discriminator_and_not_the_generator() -> None:
    history = History(torch.full((8, 3, 2, 2), 7.0), None, BATCH)
    history.filled = 8
    real, fake, generated = inputs_of_d(history)
    assert int((fake == 7.0).flatten(1).all(dim=1).sum()) == BATCH // 2
    assert not bool((real == 7.0).any() | (generated == 7.0).any())
    assert int((history.images == 7.0).flatten(1).all(dim=1).sum()) == 8 - BATCH // 2


@pytest.mark.parametrize("image_range", [(-1.0, 1.0), None])
def test_options_build_their_tricks(image_range: tuple[float, float] | None) -> None:
    setup = TrickSetup(CPU, 200, 8, (3, 2, 2), image_range, labeled=True)
    assert [kind().build(setup) for kind in TRICKS] == [None] * len(TRICKS)
    words: dict[str, Any] = {"instance_noise": 0.5, "instance_noise_until": 0.25, "top_k": 0.5, "history": 6}
    fields: list[Any] = [kind.__dataclass_fields__ for kind in TRICKS]  # type: ignore[attr-defined]
    options = [kind(**{k: words[k] for k in words if k in of}) for kind, of in zip(TRICKS, fields, strict=True)]
    noise, top_k, history = (option.build(setup) for option in options)
    assert isinstance(noise, InstanceNoise)
    assert (noise.sigma, noise.until) == (0.5, 50)  # half the range is 1, and so is the unit of points
    assert isinstance(top_k, TopK)
    assert (top_k.least, top_k.decay, top_k.batch_size) == (0.5, 0.99, 8)
    assert isinstance(history, History)
    assert history.labels is not None
    assert history.images.shape == (6, 3, 2, 2)
