"""Every divergence record against mathematics that does not use the record's own simplifications."""

import math

import numpy as np
import pytest
import torch
from scipy.special import wrightomega
from torch import Tensor

from gantrain.objectives import DIVERGENCES, Divergence, alpha_divergence
from gantrain.objectives.numerics import jeffreys_log_ratio, softplus

ORDERS = (-2.0, -1.0, -0.3, 0.0, 1e-9, 0.5, 0.7, 1.0 - 1e-9, 1.0, 1.5, 2.0, 3.0)
RECORDS = [*DIVERGENCES.values(), *(alpha_divergence(order) for order in ORDERS)]
IDS = [*DIVERGENCES, *(f"alpha({order!r})" for order in ORDERS)]
WITH_RATIO = [(d, name) for d, name in zip(RECORDS, IDS, strict=True) if d.log_ratio is not None]


def each(records: list[tuple[Divergence, str]]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("record", [d for d, _ in records], ids=[name for _, name in records])


every = each(list(zip(RECORDS, IDS, strict=True)))
every_with_ratio = each(WITH_RATIO)


def f_of_u(name: str, u: np.ndarray) -> np.ndarray:
    """f as the papers print it, in u, for the records without a parameter."""
    table = {
        "gan": lambda: u * np.log(u) - (u + 1) * np.log(u + 1),
        "js": lambda: u * np.log(u) - (u + 1) * np.log((u + 1) / 2),
        "kl": lambda: u * np.log(u),
        "rkl": lambda: -np.log(u),
        "hellinger": lambda: (np.sqrt(u) - 1) ** 2,
        "pearson": lambda: (u - 1) ** 2,
        "neyman": lambda: (1 - u) ** 2 / u,
        "jeffreys": lambda: (u - 1) * np.log(u),
        "tv": lambda: np.abs(u - 1) / 2,
    }
    return table[name]()


def f_of_alpha(a: float, u: np.ndarray) -> np.ndarray:
    if abs(a - 1) < 1e-6:
        return u * np.log(u) - (u - 1)
    if abs(a) < 1e-6:
        return -np.log(u) + (u - 1)
    return (u**a - 1 - a * (u - 1)) / (a * (a - 1))


def conjugate_of_t(name: str, t: np.ndarray) -> np.ndarray:
    """f* as the papers print it, in t."""
    table = {
        "gan": lambda: -np.log(1 - np.exp(t)),
        "js": lambda: -np.log(2 - np.exp(t)),
        "kl": lambda: np.exp(t - 1),
        "rkl": lambda: -1 - np.log(-t),
        "hellinger": lambda: t / (1 - t),
        "pearson": lambda: t**2 / 4 + t,
        "neyman": lambda: 2 - 2 * np.sqrt(1 - t),
        "jeffreys": lambda: wrightomega(1 - t) + 1 / wrightomega(1 - t) + t - 2,
        "tv": lambda: t,
    }
    return table[name]()


def domain(record: Divergence) -> Tensor:
    """Scores where the record is defined, pearson's ratio included."""
    low = -1.9 if record.name == "pearson" else -6.0
    return torch.linspace(low, 6.0, 97, dtype=torch.float64)


def close(found: Tensor, wanted: object, tolerance: float = 1e-11) -> None:
    torch.testing.assert_close(
        found, torch.as_tensor(np.asarray(wanted), dtype=torch.float64), rtol=tolerance, atol=tolerance
    )


@every
def test_f_is_the_papers(record: Divergence, request: pytest.FixtureRequest) -> None:
    x = torch.linspace(-5, 5, 101, dtype=torch.float64)
    u = x.exp().numpy()
    if record.name == "alpha":
        order = float(request.node.callspec.id.split("(")[1].split(")")[0])
        close(record.f(x), f_of_alpha(order, u), 2e-8 if 0 < abs(order * (order - 1)) < 1e-6 else 1e-11)
    else:
        close(record.f(x), f_of_u(record.name, u))


@pytest.mark.parametrize("name", list(DIVERGENCES))
def test_composed_conjugate_is_the_two_step_one(name: str) -> None:
    record = DIVERGENCES[name]
    v = domain(record)
    close(record.conjugate(v), conjugate_of_t(name, record.activation(v).numpy()), 1e-10)


@pytest.mark.parametrize("order", [a for a in ORDERS if min(abs(a), abs(a - 1)) > 0.1])
def test_alpha_conjugate_is_the_two_step_one(order: float) -> None:
    record = alpha_divergence(order)
    v = torch.linspace(-2, 2, 41, dtype=torch.float64)
    t = record.activation(v).numpy()
    close(record.conjugate(v), ((1 + (order - 1) * t) ** (order / (order - 1)) - 1) / order, 1e-10)


@every_with_ratio
def test_fenchel_young_holds_with_equality_at_the_optimum(record: Divergence) -> None:
    assert record.log_ratio is not None
    v = domain(record)
    x = record.log_ratio(v)
    close(x.exp() * record.activation(v) - record.conjugate(v), record.f(x), 1e-10)


@every
def test_fenchel_young_inequality(record: Divergence) -> None:
    v = domain(record)[::4, None]
    x = torch.linspace(-4, 4, 33, dtype=torch.float64)[None, :]
    bound = x.exp() * record.activation(v) - record.conjugate(v)
    gap = record.f(x) - bound
    assert gap.min() > -1e-9 * record.f(x).abs().max()
    assert gap.max() > 0.1  # the bound is a bound, not an identity


@every_with_ratio
def test_activation_is_the_derivative_of_f_by_finite_differences(record: Divergence) -> None:
    assert record.f_prime is not None
    x = torch.linspace(-3, 3, 61, dtype=torch.float64)
    step = 1e-5
    # f'(u) du with du = u dx
    derivative = (record.f(x + step) - record.f(x - step)) / (2 * step) / x.exp()
    torch.testing.assert_close(record.f_prime(x), derivative, rtol=1e-6, atol=1e-6)


@every_with_ratio
def test_log_ratio_and_score_are_inverses_and_give_the_slope(record: Divergence) -> None:
    assert record.log_ratio is not None
    assert record.logit_from_log_ratio is not None
    assert record.f_prime is not None
    x = torch.linspace(-5, 5, 101, dtype=torch.float64)
    torch.testing.assert_close(record.log_ratio(record.logit_from_log_ratio(x)), x, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(
        record.activation(record.logit_from_log_ratio(x)), record.f_prime(x), rtol=1e-10, atol=1e-10
    )


@every_with_ratio
def test_h_is_f_minus_u_times_its_derivative(record: Divergence) -> None:
    assert record.exact_integrand is not None
    assert record.f_prime is not None
    x = torch.linspace(-5, 5, 101, dtype=torch.float64)
    torch.testing.assert_close(
        record.exact_integrand(x), record.f(x) - x.exp() * record.f_prime(x), rtol=1e-9, atol=1e-9
    )


@every
def test_value_at_equal_densities(record: Divergence) -> None:
    zero = torch.zeros(1, dtype=torch.float64)
    wanted = -2 * math.log(2) if record.name == "gan" else 0.0
    close(record.f(zero), [wanted], 1e-12)


@every
def test_f_where_the_data_have_no_mass(record: Divergence) -> None:
    """As u goes to 0, f goes to its value there, or to infinity: never to 0·∞."""
    for dtype, x in ((torch.float64, -1e5), (torch.float32, -1e4)):
        at = torch.tensor([x], dtype=dtype, requires_grad=True)
        value = record.f(at)
        assert not bool(value.isnan().any())
        (slope,) = torch.autograd.grad(value.sum(), at)
        if bool(value.isfinite()):
            assert not bool(slope.isnan().any())
    orders = [a for a in ORDERS if a > 0]
    for a in orders:  # f(0) = 1/a for a > 0
        close(alpha_divergence(a).f(torch.tensor([-1e11], dtype=torch.float64)), [1 / a], 1e-9) if a > 1e-6 else None


@every
def test_float32_is_finite_wherever_the_truth_is_representable(record: Divergence) -> None:
    """Values and gradients at |v| ≤ 80, held against the same function in float64."""
    functions = [record.f, record.activation, record.conjugate]
    functions += [g for g in (record.exact_integrand, record.f_prime, record.logit_from_log_ratio) if g is not None]
    if record.log_ratio is not None and record.name != "pearson":
        functions.append(record.log_ratio)
    limit = torch.finfo(torch.float32).max / 64
    grid = torch.cat((torch.linspace(-80, 80, 641), torch.tensor([-1e-4, -1e-6, 1e-6, 1e-4])))
    for function in functions:
        exact_v = grid.double().requires_grad_()
        exact = function(exact_v)
        (exact_slope,) = torch.autograd.grad(exact.sum(), exact_v)
        v = grid.clone().requires_grad_()
        value = function(v)
        (slope,) = torch.autograd.grad(value.sum(), v)
        for found, truth in ((value, exact), (slope, exact_slope)):
            representable = truth.abs() < limit
            assert representable.float().mean() > 0.4
            assert found[representable].isfinite().all()
            torch.testing.assert_close(
                found[representable].double(), truth[representable].detach(), rtol=2e-4, atol=2e-5
            )


def test_alpha_special_cases() -> None:
    x = torch.linspace(-4, 4, 81, dtype=torch.float64)
    for order, factor, name in ((0.5, 2.0, "hellinger"), (2.0, 0.5, "pearson"), (-1.0, 0.5, "neyman")):
        torch.testing.assert_close(
            alpha_divergence(order).f(x), factor * DIVERGENCES[name].f(x), rtol=1e-12, atol=1e-12
        )
    affine = torch.expm1(x)
    for order, name, sign in ((1.0, "kl", -1), (0.0, "rkl", 1)):
        wanted = DIVERGENCES[name].f(x) + sign * affine
        torch.testing.assert_close(alpha_divergence(order).f(x), wanted, rtol=1e-12, atol=1e-12)
        for near in (order - 1e-7, order + 1e-7):
            torch.testing.assert_close(alpha_divergence(near).f(x), wanted, rtol=1e-5, atol=1e-5)


def test_jeffreys_log_ratio_against_scipy_and_its_derivatives() -> None:
    v = torch.linspace(-80, 80, 321, dtype=torch.float64)
    reference = v.numpy() - 1 + np.real(wrightomega(1 - v.numpy()))
    close(jeffreys_log_ratio(v), reference, 1e-12)
    small = torch.linspace(-4, 4, 9, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(jeffreys_log_ratio, (small,))
    assert torch.autograd.gradgradcheck(jeffreys_log_ratio, (small,))


def test_softplus_keeps_its_tail() -> None:
    x = torch.tensor([-700.0, -30.0, 0.0, 20.5, 30.0, 700.0], dtype=torch.float64)
    close(softplus(x), np.logaddexp(0, x.numpy()), 1e-15)


@pytest.mark.parametrize(
    ("name", "part", "rate"),
    [
        ("hellinger", "activation", -1.0),
        ("hellinger", "conjugate", 1.0),
        ("neyman", "activation", -1.0),
        ("neyman", "conjugate", -0.5),
        ("kl", "conjugate", 1.0),
        ("rkl", "activation", -1.0),
    ],
)
def test_gradients_keep_their_tails_in_float32(name: str, part: str, rate: float) -> None:
    """Where the derivative is a·e^{rate·v}, it is so to float32's rounding on either side, not only to 1e-7."""
    v = torch.linspace(-60, 60, 121).requires_grad_()
    (slope,) = torch.autograd.grad(getattr(DIVERGENCES[name], part)(v).sum(), v)
    shape = (rate * v.detach().double()).exp()
    torch.testing.assert_close(slope.double() / shape, (slope.double() / shape)[60].expand(121), rtol=2e-5, atol=0)
    assert float(slope[60].abs()) > 0.3
