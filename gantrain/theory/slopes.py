"""What each example's logit v receives from a loss: derivatives by autograd of the objectives that training uses."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from gantrain.objectives import (
    Objective,
    ObjectiveError,
    discriminator_names,
    divergence_names,
    generators_for,
    make_objective,
)
from gantrain.objectives.objective import RULES

ORDERS = (-0.5, 1.5)
"""Orders of the power divergence beside -1, 0, ½, 1 and 2, which have names of their own."""


@dataclass(frozen=True, slots=True)
class Pair:
    """An objective with the words for its two sides, and the rule of a divergence as generator (else '')."""

    disc: str
    gen: str
    rule: str
    objective: Objective


def all_pairs(orders: tuple[float, ...] = ORDERS) -> Iterator[Pair]:
    """Every pair and rule that `make_objective` permits: the published rules first, then poole, then exact."""
    for disc, alpha_disc in _with_orders(discriminator_names(), orders):
        rules_first = sorted(generators_for(disc), key=lambda gen: (gen in divergence_names(), gen == "alt"))
        for rule in RULES:
            for gen, alpha_gen in _with_orders(tuple(rules_first), orders):
                try:
                    objective = make_objective(disc, gen, rule=rule, alpha_disc=alpha_disc, alpha_gen=alpha_gen)
                except ObjectiveError:
                    continue  # exact concerns divergences as generators only, and not tv
                by_rule = rule if gen in divergence_names() else ""
                yield Pair(called(disc, alpha_disc), called(gen, alpha_gen), by_rule, objective)


def called(name: str, order: float | None) -> str:
    """An objective's name, with its order if it has one: `kl`, `alpha=1.5`."""
    return name if order is None else f"{name}={order:g}"


def logits_at(objective: Objective, log_ratio: Tensor) -> Tensor:
    """The logit v of an optimal discriminator at this log r; log r itself where v estimates no ratio."""
    divergence = objective.divergence
    if divergence is None or divergence.logit_from_log_ratio is None or objective.param == "log_ratio":
        return log_ratio
    return divergence.logit_from_log_ratio(log_ratio)


def generator_losses(objective: Objective, v: Tensor) -> Tensor:
    """L_G of one generated example with each of these logits, the shape of `v`."""
    return torch.stack([_generator_loss(objective, one) for one in v.reshape(-1, 1)]).reshape(v.shape)


def generator_slopes(objective: Objective, v: Tensor) -> Tensor:
    """dL_G/dv of one generated example with each of these logits, the shape of `v`.

    A relativistic pair has its real example at v = 0.
    """
    leaf = v.detach().clone().requires_grad_()
    return _slope(_generator_loss(objective, leaf), leaf)


def discriminator_slopes(objective: Objective, v: Tensor) -> tuple[Tensor, Tensor]:
    """dL_D/dv of one real and of one fake example with each of these logits, two tensors of the shape of `v`.

    A relativistic pair has its other example at v = 0.
    """
    at_zero = torch.zeros_like(v)
    real, fake = (v.detach().clone().requires_grad_() for _ in range(2))
    on_real = _slope(objective.discriminator_loss(real, at_zero), real)
    on_fake = _slope(objective.discriminator_loss(at_zero, fake), fake)
    return on_real, on_fake


def slope_of(values: Tensor, x: Tensor) -> Tensor:
    """The derivative of each of `values` in its own element of `x`."""
    return torch.autograd.grad(values.sum(), x)[0]


def _with_orders(names: tuple[str, ...], orders: tuple[float, ...]) -> Iterator[tuple[str, float | None]]:
    for name in names:
        if name == "alpha":
            yield from ((name, order) for order in orders)
        else:
            yield name, None


def _generator_loss(objective: Objective, v: Tensor) -> Tensor:
    real = torch.zeros_like(v) if objective.needs_real_logits else None
    return objective.generator_loss(v, real_logits=real)


def _slope(mean_loss: Tensor, logits: Tensor) -> Tensor:
    """An example's own derivative: the losses are means over the batch."""
    return torch.autograd.grad(mean_loss, logits)[0] * logits.numel()
