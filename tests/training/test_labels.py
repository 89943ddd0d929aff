"""Training with labels: every objective, and what is added to it."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from gantrain import builders
from gantrain.config import ConfigError
from gantrain.data import ImageSet
from gantrain.objectives import discriminator_names, generators_for, make_objective
from gantrain.training.trainer import Trainer
from tests.conftest import TINY, compose

CLASSES = 4


def images(count: int = 60) -> ImageSet:
    """Each class has its own brightness, so that a discriminator can tell them apart."""
    labels = torch.arange(count) % CLASSES
    pixels = (labels * 60).view(-1, 1, 1, 1).expand(-1, 3, 32, 32)
    return ImageSet("shades", pixels.to(torch.uint8).contiguous(), labels, tuple("abcd"))


def trainer(*overrides: str) -> Trainer:
    words = [w for w in TINY if not w.startswith("metrics")]
    config = compose(*words, "metrics=none", "log.every_steps=1000", *overrides)
    return builders.build_trainer(config, images(), [], torch.device("cpu"))


PAIRS = [(disc, gen) for disc in discriminator_names() for gen in generators_for(disc)]


@pytest.mark.parametrize("kind", ["acgan", "projection"])
def test_labels_work_with_every_objective(kind: str) -> None:
    """One training step is given the losses of each objective in turn."""
    train_step = trainer(f"cond={kind}", "model.width=2", "loss=relativistic", "schedule.steps=1000").train_step
    for disc, gen in PAIRS:
        orders = {f"alpha_{side}": 0.5 for side, name in (("disc", disc), ("gen", gen)) if name == "alpha"}
        objective = train_step.objective = make_objective(disc, gen, **orders)
        train_step.d_loss, train_step.g_loss = objective.discriminator_loss, objective.generator_loss
        train_step.run()
        assert train_step.buffer.first_bad_update() is None, (disc, gen)
    notes = train_step.buffer.notes
    assert ("class_loss/real" in notes) == (kind == "acgan")
    assert ("class_accuracy/real" if kind == "acgan" else "class_top_score/real") in notes


def test_the_class_loss_of_acgan_is_added_to_both_objectives() -> None:
    train_step = trainer(
        "cond=acgan", "cond.weight_d=0.5", "cond.weight_g=2", "loss.disc=hinge", "optimizer.lr_g=1e-9"
    ).train_step
    seen: list[tuple[Tensor, Tensor, Tensor]] = []
    train_step.networks.discriminator.register_forward_hook(
        lambda _, inputs, out: seen.append((inputs[1], out[0].detach(), out[1].detach()))
    )
    train_step.run()
    (real_y, real_v, real_s), (fake_y, fake_v, fake_s), (made_y, made_v, made_s) = seen
    objective, updates = train_step.objective, train_step.buffer.updates[:, 0, 0]
    class_d = F.cross_entropy(real_s, real_y) + F.cross_entropy(fake_s, fake_y)
    wanted_d = objective.discriminator_loss(real_v, fake_v) + 0.5 * class_d
    wanted_g = objective.generator_loss(made_v) + 2 * F.cross_entropy(made_s, made_y)
    torch.testing.assert_close(updates, torch.stack((wanted_d, wanted_g)))
    accuracy = (real_s.argmax(dim=1) == real_y).float().mean()
    assert float(train_step.buffer.notes["class_accuracy/real"][0]) == float(accuracy)


def test_real_labels_match_their_images_and_fakes_have_all_classes() -> None:
    train_step = trainer("cond=projection").train_step
    seen: list[tuple[Tensor, Tensor]] = []
    train_step.networks.discriminator.register_forward_pre_hook(lambda _, inputs: seen.append(inputs))
    for _ in range(6):
        train_step.run()
    for x, y in seen[::3]:
        torch.testing.assert_close(x[:, 0, 0, 0], y * 60 * (2 / 255) - 1)
    fakes = torch.cat([y for k, (_, y) in enumerate(seen) if k % 3])
    assert set(fakes.tolist()) == set(range(CLASSES))


@pytest.mark.parametrize("kind", ["acgan", "projection"])
def test_samples_follow_their_class_after_training(kind: str) -> None:
    """After 300 steps on four shades of gray the brightness of samples follows their class."""
    words = ("model.width=8", "schedule.steps=300", "schedule.batch_size=16", "optimizer.lr_g=2e-3")
    train_step = trainer(f"cond={kind}", *words, "optimizer.lr_d=2e-3").train_step
    for _ in range(300):
        train_step.run()
    assert train_step.buffer.first_bad_update() is None
    labels = torch.arange(CLASSES).repeat_interleave(20)
    with torch.no_grad():
        generator = train_step.networks.generator.eval()
        drawn = generator(torch.randn(80, 8, generator=torch.Generator().manual_seed(0)), labels)
    brightness = drawn.mean(dim=(1, 2, 3)).view(CLASSES, 20).mean(dim=1).tolist()
    assert brightness == sorted(brightness)
    assert brightness[-1] - brightness[0] > 0.5


def test_grids_show_one_class_per_row_over_the_same_z() -> None:
    grid = trainer("cond=acgan", "log.grid_images=9").grid
    assert grid.labels is not None
    assert grid.labels.tolist() == [0] * 3 + [1] * 3 + [2] * 3 + [3] * 3
    assert torch.equal(grid.z[:3], grid.z[9:12])
    assert not torch.equal(grid.z[0], grid.z[1])
    assert grid.real[:, 0, 0, 0].tolist() == [0] * 3 + [60] * 3 + [120] * 3 + [180] * 3


def test_one_class_is_refused() -> None:
    with pytest.raises(ConfigError, match="at least two classes"):
        builders.check_classes("cond=acgan", images(), torch.zeros(60, dtype=torch.long))
