"""The numbers of figures 1, 5 and 6, against closed forms."""

import numpy as np
import pytest
import torch

from gantrain.objectives import DIVERGENCES
from gantrain.theory import divergence_curves, gradient_map, gradient_weights
from gantrain.theory.figure import Table
from gantrain.theory.slopes import all_pairs
from tests.objectives.reference import REFERENCES, power

X = torch.linspace(-5, 5, 41, dtype=torch.float64)
r = np.exp(X.numpy())
CURVES = {name: REFERENCES[name] for name in DIVERGENCES} | {"alpha=3": power(3), "alpha=-0.5": power(-0.5)}


def chosen(table: Table, column: str, **values: str) -> np.ndarray:
    """A column in the rows that have these values."""
    rows = np.all([table[key] == value for key, value in values.items()], axis=0)
    assert rows.any(), values
    return table[column][rows].astype(table[column].dtype)


@pytest.mark.parametrize("name", CURVES)
def test_curves_of_a_divergence(name: str) -> None:
    """f and f' over r; over v = log r, Poole's objective is f(r), the exact one f(r) - r f'(r)."""
    reference = CURVES[name]
    smooth = np.abs(X.numpy()) > 1e-9 if reference.curvature is None else slice(None)  # tv has a kink at r = 1
    f, f_prime = reference.f(r), reference.f_prime(r)
    table = divergence_curves.f_table(X)
    np.testing.assert_allclose(chosen(table, "r", name=name), r, rtol=1e-12)
    np.testing.assert_allclose(chosen(table, "f", name=name), f, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(chosen(table, "slope", name=name)[smooth], f_prime[smooth], rtol=1e-9, atol=1e-12)
    table = divergence_curves.generator_table(X)
    poole, exact = ({"gen": name, "rule": rule} for rule in ("poole", "exact"))
    np.testing.assert_allclose(chosen(table, "loss", **poole), f, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(chosen(table, "slope", **poole)[smooth], (r * f_prime)[smooth], rtol=1e-9, atol=1e-12)
    if reference.curvature is None:
        assert not ((table["gen"] == name) & (table["rule"] == "exact")).any()
        return
    np.testing.assert_allclose(chosen(table, "loss", **exact), f - r * f_prime, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(chosen(table, "slope", **exact), -reference.curvature(r), rtol=1e-9)


def test_verdicts_where_the_discriminator_is_sure() -> None:
    ends = divergence_curves.ends_table()
    fakes = {
        rule: dict(zip(chosen(ends, "gen", rule=rule), chosen(ends, "verdict_fake", rule=rule), strict=True))
        for rule in ("", "poole", "exact")
    }
    assert fakes[""] == {"minimax": "vanishes", "alt": "stays"}
    expected = {
        "vanishes": ("gan", "js", "kl", "hellinger", "pearson", "alpha=0.5", "alpha=3"),
        "stays": ("rkl", "jeffreys", "alpha=0"),
        "explodes": ("neyman", "alpha=-0.5", "alpha=-1"),
    }
    for rule in ("poole", "exact"):
        for verdict, gens in expected.items():
            assert {gen: fakes[rule][gen] for gen in gens} == dict.fromkeys(gens, verdict)
    assert chosen(ends, "slope_fake", gen="kl", rule="poole")[0] == pytest.approx(-11 * np.exp(-12), rel=1e-10)
    assert chosen(ends, "slope_real", gen="kl", rule="poole")[0] == pytest.approx(13 * np.exp(12), rel=1e-10)
    assert chosen(ends, "verdict_real", gen="alt", rule="").tolist() == ["vanishes"]
    caption = divergence_curves.figure().caption
    assert "vanishes for minimax; by Poole's rule for gan, js, kl, hellinger, pearson, tv;" in caption
    assert "explodes by either rule for neyman." in caption


D = torch.tensor([0.05, 0.2, 0.5, 0.7, 0.9], dtype=torch.float64)
d = D.numpy()
RATIO = d / (1 - d)


@pytest.fixture(scope="module")
def table() -> Table:
    return gradient_weights.weights(D)


WEIGHTS = [
    ({"example": "real", "disc": "gan"}, 1 - d),
    ({"example": "fake", "disc": "gan"}, d),
    ({"example": "fake", "disc": "kl"}, RATIO),
    ({"example": "real", "disc": "hellinger"}, RATIO**-0.5),
    ({"example": "fake", "disc": "alpha=1.5"}, RATIO**1.5),
    ({"example": "real", "disc": "hinge"}, np.array([1, 1, 1, 1, 0.0])),  # v = 1 is D = 0.731
    ({"example": "fake", "disc": "hinge"}, np.array([0, 0, 1, 1, 1.0])),  # v = -1 is D = 0.269
    ({"example": "fake", "disc": "lsgan"}, d),
    ({"example": "fake", "disc": "relativistic"}, d),
    ({"example": "generated", "disc": "gan", "gen": "minimax"}, d),
    ({"example": "generated", "disc": "gan", "gen": "alt"}, 1 - d),
    ({"example": "generated", "disc": "hinge", "gen": "hinge_ns"}, np.array([1, 1, 1, 1, 0.0])),
    ({"example": "generated", "disc": "lsgan", "gen": "lsgan"}, 1 - d),
    ({"example": "generated", "gen": "kl", "rule": "poole"}, -(np.log(RATIO) + 1) * RATIO),
    ({"example": "generated", "gen": "jeffreys", "rule": "exact"}, RATIO + 1),
]


@pytest.mark.parametrize(("of", "weight"), WEIGHTS, ids=["-".join(of.values()) for of, _ in WEIGHTS])
def test_weights_of_examples(table: Table, of: dict[str, str], weight: np.ndarray) -> None:
    np.testing.assert_allclose(chosen(table, "weight", **of), weight, rtol=1e-9, atol=1e-12)


def test_exact_rule_never_pushes_a_fake_down(table: Table) -> None:
    assert (chosen(table, "weight", example="generated", rule="exact") > 0).all()
    by_poole = chosen(table, "weight", example="generated", gen="kl", rule="poole")
    assert (by_poole < 0).tolist() == [False, False, True, True, True]  # from D = σ(-1) = 0.269 on


def test_map_of_every_pair() -> None:
    table = gradient_map.table()
    assert len(table["slope"]) == len(list(all_pairs())) * gradient_map.POINTS
    assert np.isfinite(table["slope"]).all()
    x = np.linspace(-12, 12, gradient_map.POINTS)
    # dL_G/dv = dL_G/dx / (dv/dx) with x = log r: v = 2(e^x - 1) for pearson, x + 1 - e^-x for jeffreys.
    for disc, stretch in (
        ("gan", 1),
        ("kl", 1),
        ("hellinger", 0.5),
        ("neyman", 2),
        ("pearson", 2 * np.exp(x)),
        ("jeffreys", 1 + np.exp(-x)),
    ):
        of = {"disc": disc, "gen": "rkl", "rule": "poole"}
        np.testing.assert_allclose(chosen(table, "log_ratio", **of), x, atol=1e-12)
        np.testing.assert_allclose(chosen(table, "slope", **of), -1 / (stretch * np.ones_like(x)), rtol=1e-6)
        of = {"disc": disc, "gen": "kl", "rule": "exact"}
        np.testing.assert_allclose(chosen(table, "slope", **of), -np.exp(x) / stretch, rtol=1e-6)
    np.testing.assert_allclose(chosen(table, "slope", disc="gan", gen="alt"), -1 / (1 + np.exp(x)), rtol=1e-9)
    np.testing.assert_allclose(chosen(table, "slope", disc="neyman", gen="alt"), -np.exp(-2 * x), rtol=1e-9, atol=1e-15)
    assert np.isnan(chosen(table, "log_ratio", disc="hinge", gen="hinge_ns")).all()
    np.testing.assert_array_equal(chosen(table, "slope", disc="hinge", gen="hinge_ns"), np.where(x < 1, -1.0, 0.0))
