"""Every divergence record against its test values, and the functions that the records are made of."""

import pytest
import torch
from scipy.special import wrightomega

from gantrain.objectives import DIVERGENCES, Divergence, alpha_divergence
from gantrain.objectives.numerics import jeffreys_log_ratio, softplus
from tests.objectives.contract import CONTRACT, Check, close
from tests.objectives.reference import REFERENCES, Reference, power

ORDERS = (-2.0, -1.0, -0.3, 0.0, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0)
RECORDS = {name: (record, REFERENCES.get(name)) for name, record in DIVERGENCES.items()}
RECORDS |= {f"alpha={order:g}": (alpha_divergence(order), power(order)) for order in ORDERS}


@pytest.mark.parametrize("check", CONTRACT, ids=lambda check: check.__name__)
@pytest.mark.parametrize(("record", "reference"), RECORDS.values(), ids=list(RECORDS))
def test_contract(check: Check, record: Divergence, reference: Reference | None) -> None:
    assert reference is not None, f"{record.name} has no test values: add them to tests/objectives/reference.py"
    check(record, reference)


def test_power_divergences_include_the_named_ones() -> None:
    x = torch.linspace(-4, 4, 81, dtype=torch.float64)
    for order, factor, name in ((0.5, 2.0, "hellinger"), (2.0, 0.5, "pearson"), (-1.0, 0.5, "neyman")):
        close(alpha_divergence(order).f(x), factor * DIVERGENCES[name].f(x), 1e-12)
    for order, name, sign in ((1.0, "kl", -1), (0.0, "rkl", 1)):
        wanted = DIVERGENCES[name].f(x) + sign * torch.expm1(x)
        close(alpha_divergence(order).f(x), wanted, 1e-12)
        for distance, tolerance in ((1e-7, 1e-5), (1e-9, 2e-8)):
            for near in (order - distance, order + distance):
                close(alpha_divergence(near).f(x), wanted, tolerance)


@pytest.mark.parametrize("order", [order for order in ORDERS if order > 0])
def test_power_divergence_where_the_data_has_no_mass(order: float) -> None:
    close(alpha_divergence(order).f(torch.tensor([-1e11], dtype=torch.float64)), 1 / order, 1e-9)


def test_jeffreys_log_ratio_against_scipy_and_its_derivatives() -> None:
    v = torch.linspace(-80, 80, 321, dtype=torch.float64)
    close(jeffreys_log_ratio(v), v.numpy() - 1 + wrightomega(1 - v.numpy()), 1e-12)
    small = torch.linspace(-4, 4, 9, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(jeffreys_log_ratio, (small,))
    assert torch.autograd.gradgradcheck(jeffreys_log_ratio, (small,))


def test_softplus_keeps_its_tail() -> None:
    x = torch.tensor([-700.0, -30.0, 0.0, 20.5, 30.0, 700.0], dtype=torch.float64)
    close(softplus(x), torch.logaddexp(torch.zeros_like(x), x), 1e-15)


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
    """A derivative a·e^{rate·v} is accurate relative to its own size at both ends, not only to 1e-7."""
    v = torch.linspace(-60, 60, 121).requires_grad_()
    (slope,) = torch.autograd.grad(getattr(DIVERGENCES[name], part)(v).sum(), v)
    factor = slope.double() / (rate * v.detach().double()).exp()
    torch.testing.assert_close(factor, factor[60].expand(121), rtol=2e-5, atol=0)
    assert factor[60].abs() > 0.3
