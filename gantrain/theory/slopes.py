"""The gradient of each loss with respect to an example's logit v, by autograd of the objectives that training uses."""

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
"""Orders of the power divergence in the figures of pairs; orders -1, 0, ½, 1 and 2 are divergences with a name."""


@dataclass(frozen=True, slots=True)
class Pair:
    """An objective with the labels of its two sides, and the rule if its generator is a divergence (else '')."""

    disc: str
    gen: str
    rule: str
    objective: Objective


def all_pairs() -> Iterator[Pair]:
    """Every pair and rule that `make_objective` permits; for each discriminator the divergences come last."""
    for disc, alpha_disc in _with_orders(discriminator_names()):
        gens = sorted(generators_for(disc), key=lambda gen: (gen in divergence_names(), gen == "alt"))
        for rule in RULES:
            for gen, alpha_gen in _with_orders(tuple(gens)):
                try:
                    objective = make_objective(disc, gen, rule=rule, alpha_disc=alpha_disc, alpha_gen=alpha_gen)
                except ObjectiveError:
                    continue  # the exact rule needs a divergence with an invertible f'
                shown_rule = rule if gen in divergence_names() else ""
                yield Pair(label(disc, alpha_disc), label(gen, alpha_gen), shown_rule, objective)


def label(name: str, order: float | None) -> str:
    """An objective's name, with its order if it has one: `kl`, `alpha=1.5`."""
    return name if order is None else f"{name}={order:g}"


def logits_at(objective: Objective, log_ratio: Tensor) -> Tensor:
    """The logit v of an optimal discriminator at this log r; log r itself if v estimates no ratio."""
    divergence = objective.divergence
    if divergence is None or divergence.logit_from_log_ratio is None or objective.param == "log_ratio":
        return log_ratio
    return divergence.logit_from_log_ratio(log_ratio)


def generator_losses(objective: Objective, v: Tensor) -> Tensor:
    """L_G of one generated example at each of these logits, the shape of `v`."""
    return torch.stack([_generator_loss(objective, one) for one in v.reshape(-1, 1)]).reshape(v.shape)


def generator_slopes(objective: Objective, v: Tensor) -> Tensor:
    """dL_G/dv of one generated example at each of these logits, the shape of `v`.

    The real example of a relativistic pair has v = 0.
    """
    leaf = v.detach().clone().requires_grad_()
    return _slope(_generator_loss(objective, leaf), leaf)


def discriminator_slopes(objective: Objective, v: Tensor) -> tuple[Tensor, Tensor]:
    """dL_D/dv of one real and of one fake example at each of these logits, two tensors of the shape of `v`.

    The other example of a relativistic pair has v = 0.
    """
    at_zero = torch.zeros_like(v)
    real, fake = (v.detach().clone().requires_grad_() for _ in range(2))
    on_real = _slope(objective.discriminator_loss(real, at_zero), real)
    on_fake = _slope(objective.discriminator_loss(at_zero, fake), fake)
    return on_real, on_fake


def slope_of(values: Tensor, x: Tensor) -> Tensor:
    """The derivative of each of `values` with respect to its own element of `x`."""
    return torch.autograd.grad(values.sum(), x)[0]


def _with_orders(names: tuple[str, ...]) -> Iterator[tuple[str, float | None]]:
    for name in names:
        yield from ((name, order) for order in (ORDERS if name == "alpha" else (None,)))


def _generator_loss(objective: Objective, v: Tensor) -> Tensor:
    real = torch.zeros_like(v) if objective.needs_real_logits else None
    return objective.generator_loss(v, real_logits=real)


def _slope(mean_loss: Tensor, logits: Tensor) -> Tensor:
    """The derivative of each example's own loss: `mean_loss` is the mean over the batch."""
    return torch.autograd.grad(mean_loss, logits)[0] * logits.numel()
