"""Two Gaussians moving apart: JS, Wasserstein and their gradients, against SciPy and by hand."""

import math

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import norm

from gantrain.objectives import make_objective
from gantrain.theory.separating_gaussians import (
    GENERATORS,
    gradient,
    jensen_shannon,
    table,
    typical_gradient,
    wasserstein,
)


def js_by_scipy(d: float) -> float:
    """½ KL(q‖m) + ½ KL(p‖m), m = (q + p)/2."""

    def integrand(x: float) -> float:
        log_q, log_p = norm.logpdf(x), norm.logpdf(x, d)
        log_m = np.logaddexp(log_q, log_p) - math.log(2)
        return float(np.exp(log_q) * (log_q - log_m) + np.exp(log_p) * (log_p - log_m)) / 2

    return float(quad(integrand, -12, d + 12, points=[0, d / 2, d], epsabs=1e-13, limit=200)[0])


@pytest.mark.parametrize("d", [0.3, 1.0, 2.5, 6.0])
def test_js_against_scipy(d: float) -> None:
    assert jensen_shannon(d) == pytest.approx(js_by_scipy(d), abs=1e-11)


def test_js_goes_from_0_to_log_2_and_its_gradient_vanishes() -> None:
    assert jensen_shannon(0) == pytest.approx(0, abs=1e-14)
    assert jensen_shannon(0.01) == pytest.approx(0.01**2 / 8, rel=1e-4)  # Fisher information 1
    assert 0.693 < jensen_shannon(8) < math.log(2)
    assert jensen_shannon(14) == pytest.approx(math.log(2), abs=1e-11)
    js = make_objective("js", "minimax")
    assert gradient(js, 0) == pytest.approx(0, abs=1e-14)
    assert 0 < gradient(js, 8) < 1e-3 * gradient(js, 1.5)


@pytest.mark.parametrize("d", [0.5, 2.0, 5.0])
def test_js_gradient_is_half_of_minimax(d: float) -> None:
    step = 1e-4
    by_difference = (js_by_scipy(d + step) - js_by_scipy(d - step)) / (2 * step)
    assert gradient(make_objective("js", "minimax"), d) / 2 == pytest.approx(by_difference, abs=1e-7)
    assert gradient(GENERATORS["minimax"], d) / 2 == pytest.approx(by_difference, abs=1e-7)


@pytest.mark.parametrize("d", [0.0, 0.7, 4.0, 8.0])
def test_wasserstein_is_the_distance(d: float) -> None:
    by_quantiles = quad(lambda u: abs(norm.ppf(u, d) - norm.ppf(u)), 0, 1)[0]
    assert wasserstein(d) == pytest.approx(by_quantiles, abs=1e-10)
    assert gradient(GENERATORS["wasserstein"], d) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("d", [0.4, 1.0, 3.0])
def test_expected_gradients_by_hand(d: float) -> None:
    assert gradient(GENERATORS["rkl"], d) == pytest.approx(d, rel=1e-10)  # of KL(p‖q) = d²/2
    assert gradient(GENERATORS["kl exact"], d) == pytest.approx(d, rel=1e-10)  # of KL(q‖p) = d²/2
    assert gradient(GENERATORS["kl poole"], d) == pytest.approx(-d * (1 + d**2 / 2), rel=1e-10)
    on_average = quad(lambda x: norm.pdf(x, d) / (1 + math.exp(d * d / 2 - d * x)), -10, d + 10)[0]  # 1 - D
    assert gradient(GENERATORS["alt"], d) == pytest.approx(d * on_average, rel=1e-8)


def test_gradient_of_the_typical_fake() -> None:
    d = 5.0
    v = -(d**2) / 2
    assert typical_gradient(GENERATORS["minimax"], d) == pytest.approx(d / (1 + math.exp(-v)), rel=1e-10)
    assert typical_gradient(GENERATORS["kl exact"], d) == pytest.approx(d * math.exp(v), rel=1e-10)
    assert typical_gradient(GENERATORS["kl poole"], d) == pytest.approx(-d * (v + 1) * math.exp(v), rel=1e-10)
    assert typical_gradient(GENERATORS["alt"], d) == pytest.approx(d, rel=1e-4)
    assert typical_gradient(GENERATORS["wasserstein"], d) == 1


def test_table_has_one_row_per_distance() -> None:
    found = table([0.0, 2.0])
    assert found["distance"].tolist() == [0, 2]
    assert found["js"][1] == pytest.approx(js_by_scipy(2.0), abs=1e-11)
    assert found["js_slope"][1] == pytest.approx(found["expected_minimax"][1] / 2, rel=1e-12)
    assert found["w1"][1] == pytest.approx(2)
