"""Discriminator rejection sampling against densities that are known."""

import itertools
import math

import numpy as np
import pytest
import torch
from scipy import integrate, stats
from torch import Tensor

from gantrain.metrics.rejection import (
    Accepted,
    RejectionError,
    acceptance_logit,
    rejection_sample,
)

P, Q = stats.norm(0, 1), stats.norm(1, 0.5)
PEAK = 4 / 3  # of r = q/p, where d/dx (log q - log p) = -4(x - 1) + x = 0
LOG_M = float(Q.logpdf(PEAK) - P.logpdf(PEAK))


def accept(count: int, seed: int = 0, **arguments: float | None) -> Accepted:
    """Draws from p, with the exact log q/p."""
    source = torch.Generator().manual_seed(seed)

    def draw() -> tuple[tuple[Tensor, ...], Tensor]:
        x = torch.randn(500, generator=source, dtype=torch.float64)
        return (x, 2 * x), torch.from_numpy(Q.logpdf(x.numpy()) - P.logpdf(x.numpy()))

    return rejection_sample(draw, count, source, **arguments)  # type: ignore[arg-type]


def test_exact_rejection_gives_the_target_density() -> None:
    count = 8_000
    found = accept(count, percentile=None)
    x, doubled = (part.numpy() for part in found.samples)
    assert len(x) == len(found.log_ratio) == count
    assert np.array_equal(doubled, 2 * x)
    assert abs(x.mean() - 1) < 4 * 0.5 / math.sqrt(count)
    assert abs(x.var() - 0.25) < 4 * 0.25 * math.sqrt(2 / count)
    assert stats.kstest(x, Q.cdf).pvalue > 0.01
    assert stats.kstest(x, P.cdf).pvalue < 1e-6
    np.testing.assert_allclose(found.log_ratio, Q.logpdf(x) - P.logpdf(x))
    chance = math.exp(-LOG_M)
    assert found.rate == pytest.approx(chance, abs=4 * math.sqrt(chance * (1 - chance) / found.drawn))


@pytest.mark.parametrize("percentile", [50.0, 80.0, 95.0])
def test_the_shift_by_a_percentile_accepts_as_its_formula_says(percentile: float) -> None:
    """The chance 1/(1 + e^γ (M - r)/r), with γ so that it is ½ at that percentile of r under p."""
    ratio = np.exp(Q.logpdf(x := P.rvs(200_000, random_state=0)) - P.logpdf(x) - LOG_M)
    edge = np.percentile(ratio, percentile)
    shift = edge / (1 - edge)

    def density(x: float) -> float:
        r = math.exp(Q.logpdf(x) - P.logpdf(x) - LOG_M)
        return float(P.pdf(x) / (1 + shift * (1 - r) / r)) if r > 1e-300 else 0.0

    rate = integrate.quad(density, -6, 6, limit=200)[0]
    mean = integrate.quad(lambda x: x * density(x), -6, 6, limit=200)[0] / rate
    found = accept(8_000, percentile=percentile, burn_in=20_000)
    assert found.rate == pytest.approx(rate, rel=0.06)  # γ itself is an estimate
    assert float(found.samples[0].mean()) == pytest.approx(mean, abs=0.03)


def test_the_logit_of_acceptance_is_that_of_r_over_m() -> None:
    log_ratio = torch.tensor([-torch.inf, -3.0, 0.5, 1.999, 2.0], dtype=torch.float64)
    chance = torch.sigmoid(acceptance_logit(log_ratio, 2.0))
    torch.testing.assert_close(chance, (log_ratio - 2).exp(), rtol=0, atol=2e-8)
    assert float(acceptance_logit(log_ratio, 2.0)[-1]) == pytest.approx(-math.log(1e-8))


def batches(*log_ratios: list[float]) -> Accepted:
    """The first batch for the burn-in, then the others in turn; the samples are their numbers."""
    given = itertools.chain(log_ratios[:1], itertools.cycle(log_ratios[1:]))

    def draw() -> tuple[tuple[Tensor, ...], Tensor]:
        values = torch.tensor(next(given))
        return (torch.arange(len(values)),), values

    source = torch.Generator().manual_seed(0)
    return rejection_sample(draw, 2_000, source, percentile=None, burn_in=1, max_draws=10_000)


def test_m_follows_larger_ratios_and_a_ratio_of_0_is_never_accepted() -> None:
    found = batches([0.0], [math.log(4.0), 0.0, -math.inf])
    often, seldom, never = (float((found.samples[0] == k).sum()) for k in range(3))
    assert seldom / often == pytest.approx(0.25, abs=0.05)
    assert never == 0
    assert batches([0.0], [0.0, -1e-3]).rate > 0.99


def test_refusals() -> None:
    for burn_in in ([-math.inf, -math.inf], [0.0, math.inf]):
        with pytest.raises(RejectionError, match="rejection=false"):
            batches(burn_in, [0.0])
    with pytest.raises(RejectionError, match=r"only \d+ of 10000 draws were accepted, but 2000"):
        batches([0.0], [-9.0] * 100)
    with pytest.raises(RejectionError, match="lower percentile=99"):
        accept(1_000, percentile=99.0, max_draws=2_000)
