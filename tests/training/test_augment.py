"""DiffAugment and ADA: each operation against the same by hand, gradients, probabilities."""

from typing import Any

import pytest
import torch
from torch import Tensor

from gantrain.training.augment import Augment, color, cutout, translation


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(count: int = 5, size: int = 16) -> Tensor:
    return torch.rand(count, 3, size, size, generator=draws(9)) * 2 - 1


def make(*policy: str, **options: Any) -> Augment:
    return Augment(policy, **{"p": 1.0, "image_range": (-1.0, 1.0), "device": torch.device("cpu")} | options)


@pytest.mark.parametrize("span", [1.0, 2.0])
def test_color_is_brightness_then_saturation_then_contrast(span: float) -> None:
    x = images()
    b, s, c = torch.rand(3, len(x), generator=draws(4))
    found = color(x, (0.0, span), draws(4))
    for k, image in enumerate(x):
        wanted = image + (b[k] - 0.5) * span / 2
        gray = wanted.mean(dim=0, keepdim=True)
        wanted = gray + (wanted - gray) * 2 * s[k]
        wanted = wanted.mean() + (wanted - wanted.mean()) * (c[k] + 0.5)
        torch.testing.assert_close(found[k], wanted, atol=1e-5, rtol=1e-5)


def test_translation_moves_each_image_by_up_to_an_eighth_and_fills_with_the_background() -> None:
    x = images(200)
    shifts = set()
    for before, after in zip(x, translation(x, (0.0, 0.5), draws()), strict=True):
        padded = torch.nn.functional.pad(before, (2, 2, 2, 2), value=0.25)
        places = [(top, left) for top in range(5) for left in range(5)]
        (place,) = [(a, b) for a, b in places if torch.equal(padded[:, a : a + 16, b : b + 16], after)]
        shifts.add(place)
    assert len(shifts) == 25


def test_cutout_hides_a_square_of_half_the_size_that_may_reach_over_the_edge() -> None:
    x = images(400) + 5  # nowhere the background
    hidden = cutout(x, (-1.0, 1.0), draws()) == 0
    assert torch.equal(hidden[:, 0], hidden[:, 2])
    rows, columns = hidden[:, 0].any(dim=2).sum(dim=1), hidden[:, 0].any(dim=1).sum(dim=1)
    assert torch.equal(hidden[:, 0].sum(dim=(1, 2)), rows * columns)  # a rectangle
    assert int(rows.max()) == int(columns.max()) == 8
    assert int(rows.min()) == int(columns.min()) == 4  # a center on the edge
    assert torch.equal(cutout(x, (-1.0, 1.0), draws())[~hidden], x[~hidden])


@pytest.mark.parametrize("policy", [("color",), ("translation",), ("cutout",), ("color", "translation", "cutout")])
def test_gradients_flow_to_the_images(policy: tuple[str, ...]) -> None:
    x = images().double().requires_grad_()
    total = make(*policy).augment_inputs(x, draws()).double().sum()
    (gradient,) = torch.autograd.grad(total, x)
    direction = torch.randn(x.shape, generator=draws(2), dtype=torch.float64)
    moved = make(*policy).augment_inputs((x + direction).detach(), draws()).double().sum()
    expected = float(moved - total.detach())
    assert float((gradient * direction).sum()) == pytest.approx(expected, rel=1e-3, abs=1e-2)  # all are affine
    assert float(gradient.abs().sum()) > 0


@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("kind", ["color", "cutout"])
def test_each_image_is_changed_with_probability_p(kind: str, p: float) -> None:
    x = images(2000, 4)
    changed = (make(kind, p=p).augment_inputs(x, draws()) != x).flatten(1).any(dim=1).float().mean()
    assert float(changed) == pytest.approx(p, abs=0.03)


def test_the_adaptive_probability_follows_the_sign_of_d() -> None:
    augment = make("color", p=0.5, target=0.6, speed_images=1000)
    confident, unsure = torch.full((10,), 3.0), torch.tensor([1.0, -1.0] * 5)  # of mean sign 0, below 0.6
    step = 4 * 10 / 1000
    for logits, steps, expected in (
        (confident, 3, 0.5),  # three steps are no window yet
        (confident, 1, 0.5 + step),
        (unsure, 8, 0.5 - step),
        (unsure, 4 * 100, 0.0),
        (confident, 4 * 100, 1.0),
    ):
        for _ in range(steps):
            augment.adapt(logits)
        assert float(augment.p) == pytest.approx(expected)
    lsgan = make("color", p=0.5, target=0.0, speed_images=1000, boundary=0.5)
    for _ in range(4):
        lsgan.adapt(torch.full((10,), 0.4))  # below the boundary of ½ is "fake"
    assert float(lsgan.p) < 0.5


@pytest.mark.parametrize("target", [None, 0.6])
def test_only_an_adaptive_probability_changes_and_is_logged(target: float | None) -> None:
    augment, notes = make("color", p=0.5, target=target), {}
    for _ in range(40):
        augment.after_discriminator_update(torch.full((10,), 3.0), notes.__setitem__)
    assert (float(augment.p) > 0.5) == (target is not None) == ("augment/p" in notes)
    restored = make("color", p=0.1, target=target)
    restored.load_state_dict(augment.state_dict())
    assert float(restored.p) == float(augment.p)
