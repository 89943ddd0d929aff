"""DiffAugment and ADA: each operation against the same by hand, gradients, probabilities."""

import pytest
import torch
from torch import Tensor

from gantrain.training.augment import Augment, color, cutout, translation

CPU = torch.device("cpu")


def draws(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def images(count: int = 5, size: int = 16) -> Tensor:
    return torch.rand(count, 3, size, size, generator=draws(9)) * 2 - 1


def make(policy: tuple[str, ...], p: float = 1.0, target: float | None = None, **options: float) -> Augment:
    return Augment(policy, p=p, image_range=(-1.0, 1.0), device=CPU, target=target, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("span", [1.0, 2.0])
def test_color_is_brightness_then_saturation_then_contrast(span: float) -> None:
    x = images()
    b, s, c = torch.rand(3, len(x), generator=draws(4))
    found = color(x, (0.0, span), draws(4))
    for k, image in enumerate(x):
        wanted = image + (b[k] - 0.5) * span / 2
        grey = wanted.mean(dim=0, keepdim=True)
        wanted = grey + (wanted - grey) * 2 * s[k]
        wanted = wanted.mean() + (wanted - wanted.mean()) * (c[k] + 0.5)
        torch.testing.assert_close(found[k], wanted, atol=1e-5, rtol=1e-5)


def test_translation_moves_each_image_and_fills_with_the_background() -> None:
    x = images(200)
    found = translation(x, (0.0, 0.5), draws())
    shifts = set()
    for before, after in zip(x, found, strict=True):
        matches = []
        for dy in range(-2, 3):  # an eighth of 16
            for dx in range(-2, 3):
                moved = torch.full((3, 20, 20), 0.25)
                moved[:, 2 - dy : 18 - dy, 2 - dx : 18 - dx] = before
                if torch.equal(moved[:, 2:18, 2:18], after):
                    matches.append((dy, dx))
        assert len(matches) == 1
        shifts.add(matches[0])
    assert len(shifts) == 25


def test_cutout_hides_a_square_of_half_the_size_that_may_reach_over_the_edge() -> None:
    x = images(400) + 5  # nowhere the background
    hidden = cutout(x, (-1.0, 1.0), draws()) == 0
    assert torch.equal(hidden[:, 0], hidden[:, 2])
    rows, columns = hidden[:, 0].any(dim=2).sum(dim=1), hidden[:, 0].any(dim=1).sum(dim=1)
    assert torch.equal(hidden[:, 0].sum(dim=(1, 2)), rows * columns)  # a rectangle
    assert int(rows.max()) == int(columns.max()) == 8
    assert int(rows.min()) == int(columns.min()) == 4  # a centre on the edge
    assert torch.equal(cutout(x, (-1.0, 1.0), draws())[~hidden], x[~hidden])


@pytest.mark.parametrize("policy", [("color",), ("translation",), ("cutout",), ("color", "translation", "cutout")])
def test_gradients_flow_to_the_images(policy: tuple[str, ...]) -> None:
    x = images().double().requires_grad_()
    total = make(policy).augment_inputs(x, draws()).double().sum()
    (gradient,) = torch.autograd.grad(total, x)
    direction = torch.randn(x.shape, generator=draws(2), dtype=torch.float64)
    moved = make(policy).augment_inputs((x + direction).detach(), draws()).double().sum()
    expected = float(moved - total.detach())
    assert float((gradient * direction).sum()) == pytest.approx(expected, rel=1e-3, abs=1e-2)  # all are affine
    assert float(gradient.abs().sum()) > 0


@pytest.mark.parametrize("p", [0.0, 0.3, 1.0])
def test_each_image_is_changed_with_probability_p(p: float) -> None:
    x = images(2000, 4)
    for kind in ("color", "cutout"):
        changed = (make((kind,), p).augment_inputs(x, draws()) != x).flatten(1).any(dim=1).float().mean()
        assert float(changed) == pytest.approx(p, abs=0.03)


def test_the_adaptive_probability_follows_the_sign_of_d() -> None:
    augment = make(("color",), p=0.5, target=0.6, speed_images=1000)
    confident, unsure = torch.full((10,), 3.0), torch.tensor([1.0, -1.0] * 5)
    for _ in range(3):
        augment.adapt(confident)
    assert float(augment.p) == 0.5  # three steps are no window yet
    augment.adapt(confident)
    assert float(augment.p) == pytest.approx(0.5 + 4 * 10 / 1000)
    for _ in range(8):
        augment.adapt(unsure)  # a mean sign of 0 lies below 0.6
    assert float(augment.p) == pytest.approx(0.5 - 4 * 10 / 1000)
    for _ in range(4 * 100):
        augment.adapt(unsure)
    assert float(augment.p) == 0.0
    for _ in range(4 * 100):
        augment.adapt(confident)
    assert float(augment.p) == 1.0


def test_the_sign_is_relative_to_the_boundary_of_the_objective() -> None:
    augment = make(("color",), p=0.5, target=0.0, speed_images=1000, boundary=0.5)
    for _ in range(4):
        augment.adapt(torch.full((10,), 0.4))  # lsgan: below ½ is "fake"
    assert float(augment.p) < 0.5


@pytest.mark.parametrize("target", [None, 0.6])
def test_only_an_adaptive_probability_changes_and_is_logged(target: float | None) -> None:
    augment, notes = make(("color",), p=0.5, target=target), {}
    for _ in range(40):
        augment.after_discriminator_update(torch.full((10,), 3.0), notes.__setitem__)
    assert (float(augment.p) > 0.5) == (target is not None) == ("augment/p" in notes)
    restored = make(("color",), p=0.1, target=target)
    restored.load_state_dict(augment.state_dict())
    assert float(restored.p) == float(augment.p)
