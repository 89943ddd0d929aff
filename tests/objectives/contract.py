"""What every divergence must satisfy, checked against its test values; `CONTRACT` lists the checks."""

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from gantrain.objectives import Divergence
from tests.objectives.reference import Reference

Check = Callable[[Divergence, Reference], None]


def close(found: Tensor, wanted: object, tolerance: float = 1e-11) -> None:
    wanted = torch.as_tensor(np.asarray(wanted), dtype=torch.float64)
    torch.testing.assert_close(found, wanted.expand_as(found), rtol=tolerance, atol=tolerance)


def grid(low: float, high: float, points: int = 101) -> Tensor:
    return torch.linspace(low, high, points, dtype=torch.float64)


def logits(record: Divergence) -> Tensor:
    """Logits that correspond to a ratio."""
    if record.log_ratio is None:
        return grid(-6, 6)
    v = grid(-6, 6)
    return v[record.log_ratio(v).isfinite()]


def f_is_the_papers(record: Divergence, reference: Reference) -> None:
    x = grid(-5, 5)
    close(record.f(x), reference.f(x.exp().numpy()), 1e-10)
    close(record.f(torch.zeros(1, dtype=torch.float64)), reference.at_one, 1e-12)


def composed_conjugate_equals_the_two_step_one(record: Divergence, reference: Reference) -> None:
    v = logits(record)
    close(record.conjugate(v), reference.conjugate(record.activation(v).numpy()), 1e-10)


def fenchel_young(record: Divergence, reference: Reference) -> None:
    """u·g(v) - f*(g(v)) ≤ f(u) for every u and v, with equality at u = exp(log_ratio(v))."""
    v, x = logits(record)[::4, None], grid(-4, 4, 33)[None]
    f = torch.as_tensor(reference.f(x.exp().numpy()))
    gap = f - (x.exp() * record.activation(v) - record.conjugate(v))
    assert gap.min() > -1e-9 * f.abs().max()
    assert gap.max() > 0.1  # a bound, not an identity
    if record.log_ratio is not None:
        v = logits(record)
        u = record.log_ratio(v).exp()
        close(u * record.activation(v) - record.conjugate(v), reference.f(u.numpy()), 1e-9)


def optimal_logits_and_derivatives(record: Divergence, reference: Reference) -> None:
    """v = logit_from_log_ratio(x) inverts log_ratio, g(v) = f'(u) there, and the exact rule averages f(u) - u f'(u)."""
    parts = record.log_ratio, record.logit_from_log_ratio, record.f_prime, record.exact_integrand
    log_ratio, logit, f_prime, exact_integrand = parts
    if log_ratio is None or logit is None or f_prime is None or exact_integrand is None:
        assert parts == (None, None, None, None)
        return
    x = grid(-5, 5)
    u = x.exp().numpy()
    close(log_ratio(logit(x)), x, 1e-10)
    close(record.activation(logit(x)), reference.f_prime(u), 1e-10)
    close(f_prime(x), reference.f_prime(u), 1e-10)
    close(exact_integrand(x), reference.f(u) - u * reference.f_prime(u), 1e-9)


def reference_is_consistent(record: Divergence, reference: Reference) -> None:
    """f' and u² f'' of the test values, against differences of f."""
    u, step = np.exp(np.linspace(-3, 3, 60)), 1e-5
    differences = (reference.f(u + step * u) - reference.f(u - step * u)) / (2 * step * u)
    np.testing.assert_allclose(reference.f_prime(u), differences, rtol=1e-6, atol=1e-6)
    if reference.curvature is not None:
        second = (reference.f_prime(u + step * u) - reference.f_prime(u - step * u)) / (2 * step) * u
        np.testing.assert_allclose(reference.curvature(u), second, rtol=1e-6, atol=1e-6)


def f_where_the_data_has_no_mass(record: Divergence, _: Reference) -> None:
    """As u goes to 0, f goes to its limit or to infinity: never to 0·∞."""
    for dtype, x in ((torch.float64, -1e5), (torch.float32, -1e4)):
        at = torch.tensor([x], dtype=dtype, requires_grad=True)
        value = record.f(at)
        assert not value.isnan().any()
        (slope,) = torch.autograd.grad(value.sum(), at)
        assert not (value.isfinite() & slope.isnan()).any()


def float32_is_accurate_wherever_the_value_is_representable(record: Divergence, _: Reference) -> None:
    """Values and gradients for |x|, |v| ≤ 80, against the same function in float64."""
    functions = [record.f, record.activation, record.conjugate]
    functions += [g for g in (record.exact_integrand, record.f_prime, record.logit_from_log_ratio) if g is not None]
    at = torch.cat((torch.linspace(-80, 80, 641), torch.tensor([-1e-4, -1e-6, 1e-6, 1e-4])))
    if record.log_ratio is not None and record.log_ratio(at).isfinite().all():
        functions.append(record.log_ratio)
    limit = torch.finfo(torch.float32).max / 64
    for function in functions:
        results = []
        for dtype in (torch.float32, torch.float64):
            v = at.to(dtype).requires_grad_()
            value = function(v)
            results.append((value.detach(), torch.autograd.grad(value.sum(), v)[0]))
        for found, truth in zip(*results, strict=True):
            representable = truth.abs() < limit
            assert representable.float().mean() > 0.4
            assert found[representable].isfinite().all()
            torch.testing.assert_close(found[representable].double(), truth[representable], rtol=2e-4, atol=2e-5)


CONTRACT: tuple[Check, ...] = (
    f_is_the_papers,
    composed_conjugate_equals_the_two_step_one,
    fenchel_young,
    optimal_logits_and_derivatives,
    reference_is_consistent,
    f_where_the_data_has_no_mass,
    float32_is_accurate_wherever_the_value_is_representable,
)
