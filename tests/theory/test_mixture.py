"""The mixture: its text form, its rules, density, moments and samples."""

import math

import numpy as np
import pytest
import torch
from scipy.stats import norm

from gantrain.theory.mixture import DEFAULT_MIXTURE, Mixture, MixtureError, parse_mixture

THREE = Mixture((0.2, 0.5, 0.3), (-3.0, 0.5, 4.0), (0.5, 1.2, 0.8))


def test_text_form_round_trips() -> None:
    assert parse_mixture("0.3:-2:0.6,0.7:2:0.9") == Mixture((0.3, 0.7), (-2.0, 2.0), (0.6, 0.9)) == DEFAULT_MIXTURE
    assert parse_mixture(str(THREE)) == THREE
    assert DEFAULT_MIXTURE.formula == "0.3·N(−2, 0.6²) + 0.7·N(2, 0.9²)"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0.3:-2", "'0.3:-2' is not weight:mean:std"),
        ("", "'' is not weight:mean:std"),
        ("0.3:-2:0.6,0.7:two:1", "'0.7:two:1' is not weight:mean:std"),
        ("0.3:-2:0.6,0.6:2:0.9", "sum to 1"),
        ("-0.5:-2:0.6,1.5:2:0.9", "must be positive"),
        ("1:0:0", "must be above 0"),
        ("1:nan:1", "not finite"),
        ("0.5:0:1e-9,0.5:0:1", "1000 times"),
        ("0.5:-1e6:1,0.5:1e6:1", "1000 times"),
    ],
)
def test_invalid_mixtures_are_refused(text: str, message: str) -> None:
    with pytest.raises(MixtureError, match="mixture") as raised:
        parse_mixture(text)
    assert message in str(raised.value)


def test_density_and_moments() -> None:
    at = np.linspace(-9, 9, 4001)
    density = sum(w * norm.pdf(at, m, s) for w, m, s in zip(THREE.weights, THREE.means, THREE.stds, strict=True))
    np.testing.assert_allclose(THREE.log_density(torch.tensor(at)).exp().numpy(), density, rtol=1e-12)
    step = at[1] - at[0]
    mean = float((at * density).sum() * step)
    assert THREE.mean == pytest.approx(mean, abs=1e-6)
    assert THREE.std == pytest.approx(math.sqrt(float(((at - mean) ** 2 * density).sum() * step)), abs=1e-4)


def test_samples_follow_the_density() -> None:
    drawn = THREE.sample((4, 50_000), torch.Generator().manual_seed(0))
    assert drawn.shape == (4, 50_000)
    for low in (-4.0, -2.0, 0.0, 2.0, 4.0):
        parts = zip(THREE.weights, THREE.means, THREE.stds, strict=True)
        expected = sum(w * norm.cdf(low, m, s) for w, m, s in parts)
        assert float((drawn < low).float().mean()) == pytest.approx(expected, abs=0.005)  # 4.5 standard errors
