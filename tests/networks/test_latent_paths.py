"""Truncated and interpolated latents and walks keep the prior's distribution."""

import math

import pytest
import torch
from scipy import stats

from gantrain.networks import sample_latent
from gantrain.networks.latent_paths import closed_walk, interpolate, truncate_normal

PRIORS = {"normal": stats.norm.cdf, "uniform": stats.uniform(-1, 2).cdf}


def source(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("limit", [0.3, 1.0, 2.5, 50.0])
def test_truncated_entries_have_the_truncated_normals_distribution(limit: float) -> None:
    z = torch.randn((1000, 8), generator=source())
    cut = truncate_normal(z, limit)
    assert cut.dtype == z.dtype
    assert float(cut.abs().max()) <= limit
    assert stats.kstest(cut.flatten().numpy(), stats.truncnorm(-limit, limit).cdf).pvalue > 0.01
    assert float(cut.flatten()[z.flatten().argsort()].diff().min()) >= 0  # the order is kept
    assert torch.equal(cut.sign(), z.sign())
    if limit == 50:
        torch.testing.assert_close(cut, z)


@pytest.mark.parametrize("prior", ["normal", "uniform", "sphere"])
def test_interpolation_includes_its_ends_at_even_steps(prior: str) -> None:
    a, b = (sample_latent(prior, (5, 16), source(seed)) for seed in (0, 1))
    path = interpolate(prior, a, b, 9)
    assert path.shape == (5, 9, 16)
    torch.testing.assert_close(path[:, 0], a)
    torch.testing.assert_close(path[:, -1], b)
    if prior == "uniform":
        torch.testing.assert_close(path[:, 4], (a + b) / 2)
    if prior == "sphere":
        torch.testing.assert_close(path.norm(dim=2), torch.full((5, 9), 4.0))
        steps = torch.nn.functional.cosine_similarity(path[:, 1:], path[:, :-1], dim=2)
        torch.testing.assert_close(steps, steps[:, :1].expand(-1, 8))


def test_interpolation_follows_the_arc_and_is_straight_for_parallel_latents() -> None:
    a, b = torch.tensor([[2.0, 0.0]]), torch.tensor([[0.0, 4.0]])
    middle = interpolate("normal", a, b, 3)[0, 1]
    torch.testing.assert_close(middle, torch.tensor([math.sqrt(2), 2 * math.sqrt(2)]))
    torch.testing.assert_close(interpolate("normal", a, 2 * a, 3)[0, 1], 1.5 * a[0])
    torch.testing.assert_close(interpolate("normal", a, a, 3)[0, 1], a[0])


@pytest.mark.parametrize("prior", PRIORS)
@pytest.mark.parametrize("turns", [1, 3])
def test_every_frame_of_a_walk_has_the_distribution_of_the_prior(prior: str, turns: int) -> None:
    frames = list(closed_walk(prior, (2000, 2), 10, source(), turns=turns))
    assert len(frames) == 10
    for z in frames:
        assert stats.kstest(z.flatten().numpy(), PRIORS[prior]).pvalue > 0.001


def test_walks_stay_on_the_sphere_and_within_the_truncation() -> None:
    for z in closed_walk("sphere", (20, 9), 10, source()):
        torch.testing.assert_close(z.norm(dim=1), torch.full((20,), 3.0))
    entries = torch.cat(list(closed_walk("normal", (500, 4), 10, source(), limit=0.5)))
    assert 0.49 < float(entries.abs().max()) <= 0.5


@pytest.mark.parametrize("prior", ["normal", "uniform", "sphere"])
def test_a_walk_is_smooth_and_closed(prior: str) -> None:
    z = torch.stack(list(closed_walk(prior, (50, 16), 200, source(), turns=2)))
    velocity = z.roll(-1, dims=0) - z  # the last frame is followed by the first
    size = velocity.norm(dim=2)
    assert float(size[-1].mean() / size.mean()) == pytest.approx(1, abs=0.4)
    turn = (velocity.roll(-1, dims=0) - velocity).norm(dim=2)
    assert float(turn.max()) < 0.4 * float(size.mean())  # at a corner it would be as large as a step
    assert float(z[100].sub(z[0]).norm(dim=1).mean()) > 1  # two turns are not one turn twice
