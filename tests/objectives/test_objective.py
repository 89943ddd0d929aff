"""Pairs of objectives: optima, hand-computed values, numerical range, arguments and refusals."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from gantrain.objectives import (
    Objective,
    ObjectiveError,
    discriminator_names,
    discriminators_for,
    divergence_names,
    generator_names,
    generators_for,
    make_objective,
)
from gantrain.objectives.divergences import get_divergence

Q = torch.tensor([0.05, 0.15, 0.4, 0.3, 0.1], dtype=torch.float64)
P = torch.tensor([0.3, 0.1, 0.1, 0.2, 0.3], dtype=torch.float64)
RATIO_DISCRIMINATORS = [name for name in divergence_names() if get_divergence(name).log_ratio is not None]


def make(disc: str, gen: str = "auto", **options: Any) -> Objective:
    """A pair, with an order for alpha."""
    if disc == "alpha":
        options.setdefault("alpha_disc", 0.3)
    if gen == "alpha":
        options.setdefault("alpha_gen", 1.4)
    return make_objective(disc=disc, gen=gen, **options)


def expected_discriminator_loss(objective: Objective, v: Tensor) -> Tensor:
    """E_q and E_p over the discrete pair, from single-example losses."""
    losses = []
    for k in range(len(v)):
        both = objective.discriminator_loss(v[k : k + 1], torch.zeros(1, dtype=v.dtype))
        fake_only = objective.discriminator_loss(torch.zeros(1, dtype=v.dtype), v[k : k + 1])
        losses.append(Q[k] * both + P[k] * fake_only)
    return torch.stack(losses).sum()


def optimal_logits(objective: Objective) -> Tensor:
    """The logits that minimize the discriminator's expected loss on the discrete pair, by LBFGS."""
    v = torch.zeros(len(Q), dtype=torch.float64, requires_grad=True)
    optimizer = torch.optim.LBFGS(
        [v], max_iter=500, tolerance_grad=1e-12, tolerance_change=1e-16, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = expected_discriminator_loss(objective, v)
        loss.backward()
        return loss

    optimizer.step(closure)
    return v.detach()


def check_pair(disc: str) -> None:
    """What must hold for every f-divergence with a ratio, read both ways, against closed forms and LBFGS."""
    x = (Q / P).log()
    zero = torch.zeros(1, dtype=x.dtype)
    for param in ("fgan", "log_ratio"):
        objective = make(disc, param=param)
        assert objective.divergence is not None
        assert objective.divergence.logit_from_log_ratio is not None
        # The optimal discriminator gives back the log ratio ...
        torch.testing.assert_close(objective.log_ratio(optimal_logits(objective)), x, rtol=1e-5, atol=1e-5)
        # ... and its loss is minus the divergence. (Every example was paired with one at v = 0.)
        v = x if param == "log_ratio" else objective.divergence.logit_from_log_ratio(x)
        paired = expected_discriminator_loss(objective, zero.expand(5)) - objective.discriminator_loss(zero, zero)
        loss = expected_discriminator_loss(objective, v) - paired
        torch.testing.assert_close(-loss, (P * objective.divergence.f(x)).sum(), rtol=1e-12, atol=1e-12)
    # The exact rule with the discriminator's own divergence is the zero-sum game, at any logit.
    v = torch.linspace(-1.5, 3, 50, dtype=torch.float64)
    orders = {"alpha_disc": 0.3, "alpha_gen": 0.3} if disc == "alpha" else {}
    exact = make(disc, disc, rule="exact", **orders).generator_loss(v)
    torch.testing.assert_close(exact, make(disc, "minimax").generator_loss(v), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("disc", RATIO_DISCRIMINATORS)
def test_discriminator_estimates_its_divergence_and_the_log_ratio(disc: str) -> None:
    check_pair(disc)


def test_js_and_gan_have_the_same_gradients_to_the_bit() -> None:
    real, fake = torch.randn(2, 64, generator=torch.Generator().manual_seed(0))
    gradients = []
    for disc in ("gan", "js"):
        leaves = (real.clone().requires_grad_(), fake.clone().requires_grad_())
        gradients.append(torch.autograd.grad(make(disc).discriminator_loss(*leaves), leaves))
    for one, other in zip(*gradients, strict=True):
        assert torch.equal(one, other)
    difference = make("gan").discriminator_loss(real, fake) - make("js").discriminator_loss(real, fake)
    torch.testing.assert_close(difference, torch.tensor(2 * math.log(2)))


def test_hand_computed_losses() -> None:
    real = torch.tensor([2.0, -1.0], dtype=torch.float64)
    fake = torch.tensor([0.5, -3.0], dtype=torch.float64)

    def sp(x: float) -> float:
        return math.log1p(math.exp(x))

    discriminator = {
        "gan": (sp(-2) + sp(1)) / 2 + (sp(0.5) + sp(-3)) / 2,
        "kl": -0.5 + (math.exp(-0.5) + math.exp(-4)) / 2,
        "rkl": (math.exp(-2) + math.exp(1)) / 2 + (-0.5 - 4) / 2,
        "hellinger": (math.exp(-2) + math.exp(1)) / 2 - 1 + (math.exp(0.5) + math.exp(-3)) / 2 - 1,
        "pearson": -0.5 + (0.0625 + 0.5 + 2.25 - 3) / 2,
        "neyman": (math.exp(-2) + math.exp(1)) / 2 - 1 + 2 - math.exp(-0.25) - math.exp(1.5),
        "tv": -(math.tanh(2) + math.tanh(-1)) / 4 + (math.tanh(0.5) + math.tanh(-3)) / 4,
        "hinge": (0 + 2) / 2 + (1.5 + 0) / 2,
        "wasserstein": -0.5 + (0.5 - 3) / 2,
        "lsgan": (1 + 4) / 4 + (0.25 + 9) / 4,
        "relativistic": (sp(0.5 - 2) + sp(-3 + 1)) / 2,
    }
    for disc, wanted in discriminator.items():
        torch.testing.assert_close(
            make(disc).discriminator_loss(real, fake), torch.tensor(wanted, dtype=torch.float64), msg=disc
        )
    e, f = math.exp(0.5), math.exp(-3)
    generator = {
        ("gan", "alt"): (sp(-0.5) + sp(3)) / 2,
        ("gan", "minimax"): -(sp(0.5) + sp(-3)) / 2,
        ("gan", "kl"): (0.5 * e - 3 * f) / 2,
        ("gan", "rkl"): (-0.5 + 3) / 2,
        ("gan", "hellinger"): ((math.exp(0.25) - 1) ** 2 + (math.exp(-1.5) - 1) ** 2) / 2,
        ("gan", "pearson"): ((e - 1) ** 2 + (f - 1) ** 2) / 2,
        ("gan", "neyman"): ((1 - e) ** 2 / e + (1 - f) ** 2 / f) / 2,
        ("gan", "jeffreys"): ((e - 1) * 0.5 + (f - 1) * -3) / 2,
        ("gan", "tv"): (abs(e - 1) + abs(f - 1)) / 4,
        ("kl", "rkl"): -(0.5 + -3) / 2 + 1,
        ("hellinger", "rkl"): -(0.5 + -3),
        ("hinge", "linear"): 1.25,
        ("hinge", "hinge_ns"): (0.5 + 4) / 2,
        ("wasserstein", "linear"): 1.25,
        ("lsgan", "lsgan"): (0.25 + 16) / 4,
        ("relativistic", "relativistic"): (sp(2 - 0.5) + sp(-1 + 3)) / 2,
    }
    for (disc, gen), wanted in generator.items():
        loss = make(disc, gen).generator_loss(fake, real_logits=real)
        torch.testing.assert_close(loss, torch.tensor(wanted, dtype=torch.float64), msg=f"{disc}, {gen}")


def test_normalized_exact_kl_weights_examples_by_softmax() -> None:
    v = torch.randn(32, generator=torch.Generator().manual_seed(1), dtype=torch.float64).requires_grad_()
    loss = make("gan", "kl", rule="exact", normalize_ratio=True).generator_loss(v)
    (gradient,) = torch.autograd.grad(loss, v)
    torch.testing.assert_close(gradient, -torch.softmax(v.detach(), 0))
    # and it does not vanish when D wins, unlike the plain rule
    far = (v.detach() - 60).requires_grad_()
    (gradient,) = torch.autograd.grad(make("gan", "kl", rule="exact", normalize_ratio=True).generator_loss(far), far)
    torch.testing.assert_close(gradient.sum(), torch.tensor(-1.0, dtype=torch.float64))


def test_kl_vanishes_where_the_discriminator_wins_and_alt_does_not() -> None:
    v = torch.full((4,), -40.0, dtype=torch.float64)
    for gen, wanted in (("kl", 39 * math.exp(-40)), ("alt", 1.0), ("rkl", 1.0), ("minimax", math.exp(-40))):
        leaf = v.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(make("gan", gen).generator_loss(leaf), leaf)
        assert float(gradient.abs().sum()) == pytest.approx(wanted, rel=1e-9)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("disc", discriminator_names())
def test_every_possible_pair_gives_finite_scalars(disc: str, dtype: torch.dtype) -> None:
    real = torch.linspace(-1.5, 20, 16).to(dtype).requires_grad_()
    fake = torch.linspace(-1.8, 5, 16).to(dtype).requires_grad_()
    for gen in generators_for(disc):
        objective = make(disc, gen)
        for loss in (objective.discriminator_loss(real, fake), objective.generator_loss(fake, real_logits=real)):
            assert loss.shape == ()
            assert loss.dtype == (torch.float64 if dtype == torch.float64 else torch.float32)
            (gradient,) = torch.autograd.grad(loss, fake)
            assert loss.isfinite()
            assert gradient.isfinite().all()


@pytest.mark.parametrize(
    ("disc", "param"),
    [*((disc, "fgan") for disc in discriminator_names()), *((disc, "log_ratio") for disc in RATIO_DISCRIMINATORS)],
)
def test_losses_in_float32_match_float64_wherever_representable(disc: str, param: str) -> None:
    """Every pair and rule, example by example, for |v| ≤ 80, values and gradients."""
    low = -1.9 if (disc, param) == ("pearson", "fgan") else -80.0
    grid = torch.linspace(low, 80, 81)
    limit = torch.finfo(torch.float32).max / 1e4
    zero = torch.zeros(1)

    def values(objective: Objective, v: Tensor, side: str) -> tuple[Tensor, Tensor]:
        found = []
        for one in v.split(1):
            leaf = one.clone().requires_grad_()
            other = zero.to(v.dtype)
            losses = {
                "real": lambda x, o=other: objective.discriminator_loss(x, o),
                "fake": lambda x, o=other: objective.discriminator_loss(o, x),
                "gen": lambda x, o=other: objective.generator_loss(x, real_logits=o),
            }
            loss = losses[side](leaf)
            (gradient,) = torch.autograd.grad(loss, leaf)
            found.append(torch.stack((loss.detach(), gradient[0])))
        both = torch.stack(found, dim=1)
        return both[0], both[1]

    for gen in generators_for(disc):
        rules = ("poole", "exact") if gen in RATIO_DISCRIMINATORS else ("poole",)
        for rule in rules:
            objective = make(disc, gen, rule=rule, param=param)
            for side in ("gen",) if gen != "alt" else ("real", "fake", "gen"):
                for found, truth in zip(
                    values(objective, grid, side), values(objective, grid.double(), side), strict=True
                ):
                    representable = truth.abs() < limit
                    assert found[representable].isfinite().all(), (disc, gen, rule, side)
                    torch.testing.assert_close(
                        found[representable].double(), truth[representable], rtol=1e-3, atol=1e-4, msg=f"{gen} {rule}"
                    )


@pytest.mark.parametrize("disc", [d for d in RATIO_DISCRIMINATORS if d != "pearson"])
def test_losses_are_finite_under_bf16_autocast_at_extreme_logits(disc: str) -> None:
    logits = torch.tensor([-80.0, -40.0, 0.0, 20.0, 39.0], dtype=torch.bfloat16)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        for gen in ("alt", "minimax", "kl", "rkl", "js", "gan", "jeffreys"):
            objective = make(disc, gen, **({"alpha_disc": 0.5} if disc == "alpha" else {}))
            losses = (objective.discriminator_loss(logits, logits), objective.generator_loss(logits))
            for loss in losses:
                assert loss.dtype == torch.float32
                assert loss.isfinite(), (disc, gen)


def test_label_smoothing_moves_the_optimum_as_the_formula_says() -> None:
    alpha = 0.2
    v = optimal_logits(make("gan", label_smoothing=alpha))
    torch.testing.assert_close(torch.sigmoid(v), (1 - alpha) * Q / (P + Q), rtol=1e-6, atol=1e-6)


def test_max_log_ratio_bounds_the_ratio_and_keeps_pearson_in_its_domain() -> None:
    v = torch.tensor([-50.0, -2.0, 0.0, 1e6], dtype=torch.float64, requires_grad=True)
    objective = make("pearson", "kl", max_log_ratio=3.0)
    x = objective.log_ratio(v)
    torch.testing.assert_close(x.detach(), torch.tensor([-3.0, -3.0, 0.0, 3.0], dtype=torch.float64))
    assert objective.ratio_is_clipped(v).tolist() == [True, True, False, True]
    (gradient,) = torch.autograd.grad(objective.generator_loss(v), v)
    assert gradient[[0, 1, 3]].tolist() == [0.0, 0.0, 0.0]
    assert float(gradient[2]) == pytest.approx(0.125)  # d/dv of u log u at u = 1 + v/2, over four examples
    assert make("pearson", "kl").log_ratio(v)[0].isnan()
    assert not make("gan", "kl").ratio_is_clipped(v).any()


@pytest.mark.parametrize("disc", discriminator_names())
def test_decision_boundary_is_where_the_ratio_is_one(disc: str) -> None:
    objective = make(disc)
    if objective.has_log_ratio:
        assert objective.boundary is not None
        at = objective.log_ratio(torch.tensor(objective.boundary, dtype=torch.float64))
        assert float(at) == pytest.approx(0.0, abs=1e-12)
    else:
        assert objective.boundary == {"tv": 0.0, "hinge": 0.0, "lsgan": 0.5}.get(disc)
        with pytest.raises(ObjectiveError, match=f"disc='{disc}' estimates no ratio"):
            objective.log_ratio(torch.zeros(1))


def test_auto_is_each_discriminators_own_generator() -> None:
    own = {name: "alt" for name in divergence_names()}
    own |= {"hinge": "linear", "wasserstein": "linear", "lsgan": "lsgan", "relativistic": "relativistic"}
    assert {disc: make(disc).gen for disc in discriminator_names()} == own


def test_only_the_documented_pairs_exist() -> None:
    f_divergences = set(divergence_names())
    with_ratio = set(RATIO_DISCRIMINATORS)
    wanted = {(disc, gen) for disc in f_divergences for gen in ("alt", "minimax")}
    wanted |= {(disc, gen) for disc in with_ratio for gen in f_divergences}
    wanted |= {("hinge", "linear"), ("wasserstein", "linear"), ("hinge", "hinge_ns"), ("lsgan", "lsgan")}
    wanted |= {("relativistic", "relativistic")}
    found = set()
    for disc in discriminator_names():
        for gen in generator_names():
            if disc in discriminators_for(gen):
                make(disc, gen)
                found.add((disc, gen))
                continue
            with pytest.raises(ObjectiveError) as caught:
                make(disc, gen)
            for name in generators_for(disc):
                assert name in str(caught.value)
    assert found == wanted


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"gen": "kll"}, ["gen='kll'", "alt", "hinge_ns"]),
        ({"disc": "minimax"}, ["disc='minimax'", "hellinger"]),
        ({"disc": "hinge", "gen": "kl"}, ["gen='kl' does not work with disc='hinge'", "linear", "rkl"]),
        ({"gen": "linear"}, ["gen='linear' needs", "wasserstein"]),
        ({"gen": "alpha"}, ["alpha_gen is not set", "0.5"]),
        ({"disc": "alpha", "alpha_disc": math.inf}, ["alpha_disc=inf", "finite"]),
        ({"gen": "kl", "alpha_gen": 0.5}, ["alpha_gen=0.5", "null"]),
        ({"rule": "exact"}, ["rule='exact'", "gen='alt'"]),
        ({"gen": "tv", "rule": "exact"}, ["rule='exact'", "tv"]),
        ({"rule": "both", "gen": "kl"}, ["rule='both'", "poole"]),
        ({"normalize_ratio": True}, ["normalize_ratio=true", "gen='alt'"]),
        ({"disc": "tv", "param": "log_ratio"}, ["param='log_ratio'", "tv"]),
        ({"disc": "kl", "label_smoothing": 0.1}, ["label_smoothing=0.1", "js"]),
        ({"label_smoothing": 1.0}, ["label_smoothing=1.0", "[0, 1)"]),
        ({"label_smoothing": math.nan}, ["label_smoothing=nan", "[0, 1)"]),
        ({"gen": "kl", "max_log_ratio": 0.0}, ["max_log_ratio=0.0", "above 0"]),
        ({"gen": "alt", "max_log_ratio": 5.0}, ["max_log_ratio=5", "gen='alt'"]),
    ],
)
def test_refusals_name_the_argument_and_the_choices(options: dict[str, Any], words: list[str]) -> None:
    with pytest.raises(ObjectiveError) as caught:
        make_objective(**options)
    for word in words:
        assert word in str(caught.value)


def test_relativistic_refuses_missing_or_unequal_pairs() -> None:
    objective = make("relativistic")
    with pytest.raises(ObjectiveError, match="real_logits="):
        objective.generator_loss(torch.zeros(3))
    with pytest.raises(ObjectiveError, match="shapes must be equal"):
        objective.discriminator_loss(torch.zeros(3), torch.zeros(1))
