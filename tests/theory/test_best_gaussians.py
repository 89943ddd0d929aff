"""Quadrature and minima, against closed forms, SciPy's integrals and the values of objectives.md."""

import csv
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.integrate import quad
from scipy.stats import norm

from gantrain.objectives import alpha_divergence, make_objective
from gantrain.theory import best_gaussians as figure_module
from gantrain.theory.best_fit import best_gaussians
from gantrain.theory.best_gaussians import figure
from gantrain.theory.mixture import DEFAULT_MIXTURE, Mixture
from gantrain.theory.names import ALT, divergence_named, names
from gantrain.theory.quadrature import divergence, rule_gradient
from gantrain.theory.training_paths import names_with_paths
from tests.objectives.reference import REFERENCES

THREE = Mixture((0.2, 0.5, 0.3), (-3.0, 0.5, 4.0), (0.5, 1.2, 0.8))

# objectives.md, Section 4 item 5
TABLE = {
    "kl": (0.8000, 2.0087),
    "js": (0.9274, 1.9262),
    "hellinger": (0.9258, 1.8913),
    "jeffreys": (0.9353, 1.8072),
    "rkl": (1.9604, 0.9543),
    "alt": (1.9792, 0.9271),
}


def density(mixture: Mixture, at: float) -> float:
    parts = zip(mixture.weights, mixture.means, mixture.stds, strict=True)
    return float(sum(w * norm.pdf(at, m, s) for w, m, s in parts))


@pytest.mark.parametrize("name", names())
def test_quadrature_is_the_integral(name: str) -> None:
    mean, std = 0.7, 1.1
    f = (lambda u: np.log(1 + 1 / u)) if name == "alt" else REFERENCES[name].f

    def integrand(at: float) -> float:
        p = float(norm.pdf(at, mean, std))
        return p * float(f(np.array(density(DEFAULT_MIXTURE, at) / p)))

    expected, _ = quad(integrand, -14, 16, limit=400, epsabs=1e-9)
    assert divergence(divergence_named(name), DEFAULT_MIXTURE, mean, std) == pytest.approx(expected, abs=2e-5)


@pytest.mark.parametrize("distance", [0.999, 1.0, 1.5, 2.0, 2.001])
def test_total_variation_where_its_kink_falls_on_a_node(distance: float) -> None:
    """TV(N(0, 1), N(d, 1)) = 2Φ(d/2) − 1, also where q = p exactly on one of the quadrature's nodes."""
    one = Mixture((1.0,), (0.0,), (1.0,))
    expected = 2 * float(norm.cdf(distance / 2)) - 1
    assert divergence(divergence_named("tv"), one, distance, 1.0) == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.5), (5.0, 0.3), (2.0, 0.05)])
def test_kl_and_reverse_kl_where_the_ratio_overflows(mean: float, std: float) -> None:
    one = Mixture((1.0,), (-2.0,), (0.6,))
    there = math.log(std / 0.6) + (0.36 + (mean + 2) ** 2) / (2 * std**2) - 0.5
    back = math.log(0.6 / std) + (std**2 + (mean + 2) ** 2) / 0.72 - 0.5
    assert divergence(divergence_named("kl"), one, mean, std) == pytest.approx(there, rel=1e-9)
    assert divergence(divergence_named("rkl"), one, mean, std) == pytest.approx(back, rel=1e-9)


@pytest.mark.parametrize(
    ("name", "std", "finite"),
    [("pearson", 0.61, False), ("pearson", 0.8, True), ("neyman", 1.3, False), ("neyman", 1.15, True)],
)
def test_infinite_if_the_tails_are_too_light_or_too_heavy(name: str, std: float, finite: bool) -> None:
    """∫q²/p needs σ > s/√2 = 0.636 of the widest component, ∫p²/q needs σ < s√2 = 1.273."""
    assert math.isfinite(divergence(divergence_named(name), DEFAULT_MIXTURE, 1.0, std)) == finite


@pytest.mark.parametrize("name", [*TABLE, "alpha:0.5"])
def test_minima_of_the_specification(name: str) -> None:
    """In the order of mode seeking; the power divergence of order ½ is twice hellinger."""
    best = best_gaussians(divergence_named(name), DEFAULT_MIXTURE)[0]
    name = name.replace("alpha:0.5", "hellinger")
    assert (best.mean, best.std) == pytest.approx(TABLE[name], abs=1e-3)


@pytest.mark.parametrize(("order", "covers"), [(0.55, False), (0.8, True), (0.95, True)])
def test_orders_below_one_over_a_mixture_far_apart(order: float, covers: bool) -> None:
    """Where q/p falls to e^{-18000}, f is f(0) = 1/a: a wide Gaussian's value is finite, the least for large orders."""
    mixture = Mixture((0.5, 0.5), (-3.0, 3.0), (0.3, 0.3))
    record = alpha_divergence(order)
    for std in (9.09**0.5, 4.0):
        found = divergence(record, mixture, 0.0, std)

        def integrand(x: float, std: float = std) -> float:
            p, q = norm.pdf(x, 0, std), 0.5 * norm.pdf(x, -3, 0.3) + 0.5 * norm.pdf(x, 3, 0.3)
            return float(p * ((q / p) ** order - 1 - order * (q / p - 1)) / (order * (order - 1)))

        expected = 2 * (quad(integrand, 0, 3, limit=200)[0] + quad(integrand, 3, 12 * std, limit=200)[0])
        assert found == pytest.approx(expected, rel=1e-6)
    assert (best_gaussians(record, mixture)[0].std > 2.5) == covers


def test_equal_minima_are_ordered_by_distance_to_the_previous_one() -> None:
    mixture = Mixture((0.5, 0.5), (-3.0, 3.0), (0.3, 0.3))
    left, right = (next(f for f in best_gaussians(divergence_named("rkl"), mixture) if f.mean * s > 1) for s in (-1, 1))
    assert left.value == pytest.approx(right.value, rel=1e-9)
    for near in (left, right):
        assert best_gaussians(alpha_divergence(0.05), mixture, (near,))[0].mean == pytest.approx(near.mean, abs=0.01)


def test_kl_matches_moments() -> None:
    (best,) = best_gaussians(divergence_named("kl"), THREE)
    assert (best.mean, best.std) == pytest.approx((THREE.mean, THREE.std), abs=1e-5)


@pytest.mark.parametrize("name", [*names(), "alpha:-1.5", "alpha:0.3", "alpha:1.7"])
def test_one_component_is_its_own_best_gaussian(name: str) -> None:
    fits = best_gaussians(divergence_named(name), Mixture((1.0,), (1.3,), (0.4,)))
    assert len(fits) == 1
    assert (fits[0].mean, fits[0].std) == pytest.approx((1.3, 0.4), abs=1e-4)


def test_mode_seeking_divergences_have_a_minimum_per_component() -> None:
    best, other = best_gaussians(divergence_named("rkl"), DEFAULT_MIXTURE)
    assert best.value < other.value
    assert other.mean == pytest.approx(-2, abs=0.1)
    apart = Mixture((0.4, 0.6), (-40.0, 40.0), (0.5, 0.5))
    best, other = best_gaussians(divergence_named("rkl"), apart)
    assert (best.mean, best.std, best.value) == pytest.approx((40, 0.5, -math.log(0.6)), abs=1e-4)
    assert (other.mean, other.std, other.value) == pytest.approx((-40, 0.5, -math.log(0.4)), abs=1e-4)
    # Jensen–Shannon too: on the heavier component, twice JS of disjoint parts, q = 0.6 p + 0.4 elsewhere.
    best = best_gaussians(divergence_named("js"), apart)[0]
    assert (best.mean, best.std) == pytest.approx((40, 0.5), abs=1e-3)
    value = 0.6 * math.log(2 * 0.6 / 1.6) + 0.4 * math.log(2) + math.log(2 / 1.6)
    assert best.value == pytest.approx(value, abs=1e-6)


@pytest.mark.parametrize("name", names_with_paths())
@pytest.mark.parametrize(("mean", "std"), [(1.5, 1.0), (-0.5, 0.85)])
def test_exact_rule_is_the_gradient(name: str, mean: float, std: float) -> None:
    record = divergence_named(name)
    assert record.exact_integrand is not None
    step = 1e-4

    def difference(by_mean: float, by_log_std: float) -> float:
        up, down = (
            divergence(record, DEFAULT_MIXTURE, mean + sign * by_mean, std * math.exp(sign * by_log_std))
            for sign in (1, -1)
        )
        return (up - down) / (2 * step)

    gradient = rule_gradient(record.exact_integrand, DEFAULT_MIXTURE, mean, std)
    assert gradient == pytest.approx((difference(step, 0), difference(0, step)), rel=1e-4, abs=1e-7)


def test_alt_is_a_divergence() -> None:
    x = torch.linspace(-8, 8, 81, dtype=torch.float64, requires_grad=True)
    u = x.detach().exp()
    f = ALT.f(x)
    torch.testing.assert_close(f.detach(), torch.log(1 + 1 / u))
    (by_x,) = torch.autograd.grad(f.sum(), x)
    assert ALT.f_prime is not None
    assert ALT.exact_integrand is not None
    assert ALT.log_ratio is not None
    torch.testing.assert_close(ALT.f_prime(x.detach()), by_x / u)
    torch.testing.assert_close(ALT.exact_integrand(x.detach()), f.detach() - by_x)
    v = x.detach()
    torch.testing.assert_close(ALT.conjugate(v), v.exp() * ALT.activation(v) - ALT.f(ALT.log_ratio(v)))
    logits = torch.linspace(-5, 5, 11)
    torch.testing.assert_close(ALT.f(logits).mean(), make_objective("gan", "alt").generator_loss(logits))


def test_figure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figure_module, "ORDERS", np.linspace(-1, 2, 7))
    names = ("kl", "rkl", "tv", "alpha:0.5")
    drawn = figure(DEFAULT_MIXTURE, names)
    drawn.save(tmp_path)
    assert "jumps from 1.02 to 1.7" in drawn.caption
    assert (tmp_path / "2-best-gaussians.png").stat().st_size > 10_000
    rows = list(csv.DictReader((tmp_path / "2-best-gaussians.csv").read_text().splitlines()))
    best = {row["divergence"]: (float(row["mu"]), float(row["sigma"])) for row in rows if row["rank"] == "1"}
    assert set(best) == set(names)
    assert best["kl"] == pytest.approx(TABLE["kl"], abs=1e-3)
    orders = list(csv.DictReader((tmp_path / "2-best-gaussians-orders.csv").read_text().splitlines()))
    sigma = {float(row["alpha"]): float(row["sigma"]) for row in orders if row["rank"] == "1"}
    assert sigma[1.0] == pytest.approx(TABLE["kl"][1], abs=1e-3)
    assert sigma[0.0] == pytest.approx(TABLE["rkl"][1], abs=1e-3)
