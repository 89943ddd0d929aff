"""What an example's logit receives from each loss, against the derivatives worked out by hand."""

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
import torch

from gantrain.objectives import make_objective
from gantrain.theory.slopes import all_pairs, discriminator_slopes, generator_losses, generator_slopes, logits_at

V = torch.linspace(-9, 9, 73, dtype=torch.float64)
v = V.numpy()
D = 1 / (1 + np.exp(-v))

GENERATORS: dict[tuple[str, str, str], Callable[[], np.ndarray]] = {
    ("gan", "minimax", "poole"): lambda: -D,
    ("gan", "alt", "poole"): lambda: -(1 - D),
    ("gan", "kl", "poole"): lambda: (v + 1) * np.exp(v),
    ("gan", "rkl", "poole"): lambda: -np.ones_like(v),
    ("gan", "hellinger", "poole"): lambda: np.exp(v) - np.exp(v / 2),
    ("gan", "neyman", "poole"): lambda: np.exp(v) - np.exp(-v),
    ("gan", "kl", "exact"): lambda: -np.exp(v),
    ("gan", "hellinger", "exact"): lambda: -np.exp(v / 2) / 2,
    ("gan", "pearson", "exact"): lambda: -2 * np.exp(2 * v),
    ("gan", "js", "exact"): lambda: -D,
    ("kl", "minimax", "poole"): lambda: -np.exp(v - 1),
    ("kl", "rkl", "poole"): lambda: -np.ones_like(v),
    ("hellinger", "rkl", "exact"): lambda: -2 * np.ones_like(v),
    ("hinge", "linear", "poole"): lambda: -np.ones_like(v),
    ("hinge", "hinge_ns", "poole"): lambda: -(v < 1).astype(float),
    ("lsgan", "lsgan", "poole"): lambda: v - 1,
    ("relativistic", "relativistic", "poole"): lambda: -(1 - D),
}

DISCRIMINATORS: dict[str, Callable[[], tuple[np.ndarray, np.ndarray]]] = {
    "gan": lambda: (D - 1, D),
    "kl": lambda: (-np.ones_like(v), np.exp(v - 1)),
    "rkl": lambda: (-np.exp(-v), np.ones_like(v)),
    "tv": lambda: (-0.5 / np.cosh(v) ** 2, 0.5 / np.cosh(v) ** 2),
    "hinge": lambda: (-(v < 1).astype(float), (v > -1).astype(float)),
    "wasserstein": lambda: (-np.ones_like(v), np.ones_like(v)),
    "lsgan": lambda: (v - 1, v),
    "relativistic": lambda: (D - 1, D),
}


@pytest.mark.parametrize("pair", GENERATORS, ids="-".join)
def test_generator_slopes(pair: tuple[str, str, str]) -> None:
    disc, gen, rule = pair
    slopes = generator_slopes(make_objective(disc, gen, rule=rule), V).numpy()
    np.testing.assert_allclose(slopes, GENERATORS[pair](), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("disc", DISCRIMINATORS)
def test_discriminator_slopes(disc: str) -> None:
    for found, expected in zip(discriminator_slopes(make_objective(disc), V), DISCRIMINATORS[disc](), strict=True):
        np.testing.assert_allclose(found.numpy(), expected, rtol=1e-9, atol=1e-12)


def test_losses_are_one_examples_each() -> None:
    found = generator_losses(make_objective("gan", "kl"), V).numpy()
    np.testing.assert_allclose(found, v * np.exp(v), rtol=1e-12)


def test_every_pair_is_there_once() -> None:
    counts = Counter(pair.disc for pair in all_pairs())
    # With a ratio: minimax and alt, nine divergences and two orders by Poole's rule, the same less tv by the exact one.
    with_ratio = ("gan", "js", "kl", "rkl", "hellinger", "pearson", "neyman", "jeffreys", "alpha=-0.5", "alpha=1.5")
    assert counts == dict.fromkeys(with_ratio, 23) | {
        "tv": 2,
        "hinge": 2,
        "wasserstein": 1,
        "lsgan": 1,
        "relativistic": 1,
    }
    assert len({str(pair.objective) for pair in all_pairs()}) == 237


def test_the_logit_of_a_ratio() -> None:
    for disc, score in (("gan", v), ("kl", v + 1), ("pearson", 2 * np.expm1(v)), ("hellinger", v / 2), ("hinge", v)):
        np.testing.assert_allclose(logits_at(make_objective(disc), V).numpy(), score, rtol=1e-12)
    np.testing.assert_allclose(logits_at(make_objective("kl", param="log_ratio"), V).numpy(), v)
