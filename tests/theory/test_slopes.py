"""The gradient of each loss in an example's logit, against derivatives by hand."""

from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
import torch

from gantrain.objectives import DIVERGENCES, discriminator_names, divergence_names, generators_for, make_objective
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


def test_losses_are_those_of_single_examples() -> None:
    found = generator_losses(make_objective("gan", "kl"), V).numpy()
    np.testing.assert_allclose(found, v * np.exp(v), rtol=1e-12)


def test_every_possible_pair_appears_once() -> None:
    found = Counter((pair.disc, pair.gen, pair.rule) for pair in all_pairs())
    assert set(found.values()) == {1}
    orders = ("alpha=-0.5", "alpha=1.5")
    divergences = {*DIVERGENCES, *orders}
    exact = {name for name in divergences if name in orders or DIVERGENCES[name].log_ratio is not None}
    wanted = {(disc, gen, "") for disc in divergences for gen in ("minimax", "alt")}
    wanted |= {(disc, gen, "poole") for disc in exact for gen in divergences}
    wanted |= {(disc, gen, "exact") for disc in exact for gen in exact}
    others = discriminator_names()[len(divergence_names()) :]
    assert set(found) == wanted | {(disc, gen, "") for disc in others for gen in generators_for(disc)}


def test_logit_at_a_ratio() -> None:
    for disc, logit in (("gan", v), ("kl", v + 1), ("pearson", 2 * np.expm1(v)), ("hellinger", v / 2), ("hinge", v)):
        np.testing.assert_allclose(logits_at(make_objective(disc), V).numpy(), logit, rtol=1e-12)
    np.testing.assert_allclose(logits_at(make_objective("kl", param="log_ratio"), V).numpy(), v)
