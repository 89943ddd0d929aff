"""Discriminator rejection sampling (Azadi et al. 2019, arXiv:1810.06758, Algorithm 1).

A discriminator that estimates log r, r = q/p, turns draws from p into draws from q when each is accepted with
probability r/M, M = max r. M is unknown, so that it is the largest ratio seen so far, and in practice nearly everything
would be rejected; the paper shifts the logit of the acceptance by γ.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from gantrain.errors import GantrainError

EPSILON = 1e-8
BURN_IN = 2_000
PERCENTILE = 80.0
DRAWS_A_SAMPLE, DRAWS_AT_LEAST = 200, 20_000

Draw = Callable[[], tuple[tuple[Tensor, ...], Tensor]]
"""Gives a batch of independent samples, as tensors (N, ...) that belong together, and their log r (N,)."""


class RejectionError(GantrainError):
    """Samples that cannot be accepted or rejected, with the way out."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """Samples that were accepted.

    Attributes:
        samples: the tensors that `Draw` gave, `count` rows each.
        log_ratio: theirs (count,).
        rate: share of the draws after the burn-in that was accepted.
        drawn: how many draws that were.
    """

    samples: tuple[Tensor, ...]
    log_ratio: Tensor
    rate: float
    drawn: int


def acceptance_logit(log_ratio: Tensor, log_most: float, epsilon: float = EPSILON) -> Tensor:
    """F = d - log(1 - e^(d - ε)) with d = log r - log M, in float64: σ(F) goes to r/M with ε to 0.

    ε keeps it finite at r = M; log r of -inf gives -inf.
    """
    apart = log_ratio.double() - log_most
    return apart - torch.log(-torch.expm1(apart - epsilon))


def rejection_sample(
    draw: Draw,
    count: int,
    source: torch.Generator,
    *,
    percentile: float | None = PERCENTILE,
    burn_in: int = BURN_IN,
    most_draws: int | None = None,
) -> Accepted:
    """Draws until `count` samples are accepted.

    M starts as the largest ratio of `burn_in` draws, which are thrown away, and grows with any larger one. γ is that
    percentile of F over the burn-in: a sample there is accepted with probability ½. Over each batch,
    as it is often done, a sample's fate would depend on its batch.

    Args:
        draw: gives the samples.
        count: how many to accept.
        source: of the decisions, on the samples' device.
        percentile: 0 to 100, lower accepts more; None is γ = 0, which is exact where log r is.
        burn_in: draws before the first decision.
        most_draws: after which it gives up; None is 200 a sample and at least 20,000.

    Raises:
        RejectionError: no finite ratio in the burn-in, an infinite one, or too few accepted.
    """
    most_draws = max(DRAWS_AT_LEAST, DRAWS_A_SAMPLE * count) if most_draws is None else most_draws
    first: list[Tensor] = []
    while sum(map(len, first)) < burn_in:
        first.append(draw()[1])
    burned = torch.cat(first)
    log_most = _largest(burned)
    gamma = _shift(burned, log_most, percentile)
    kept: list[tuple[Tensor, ...]] = []
    accepted = drawn = 0
    while accepted < count:
        if drawn >= most_draws:
            way_out = "take rejection=false" if percentile is None else f"lower percentile={percentile:g}"
            raise RejectionError(f"only {accepted} of {drawn} draws were accepted, and {count} are wanted: {way_out}")
        samples, log_ratio = draw()
        larger = _largest(torch.cat((log_ratio, log_ratio.new_full((1,), log_most))))
        if larger > log_most:
            log_most, gamma = larger, _shift(burned, larger, percentile)
        chance = torch.sigmoid(acceptance_logit(log_ratio, log_most) - gamma)
        keep = torch.rand(chance.shape, generator=source, device=chance.device, dtype=chance.dtype) < chance
        kept.append(tuple(part[keep] for part in (*samples, log_ratio)))
        accepted += int(keep.sum())
        drawn += len(log_ratio)
    *chosen, of_chosen = (torch.cat(parts)[:count] for parts in zip(*kept, strict=True))
    return Accepted(tuple(chosen), of_chosen, accepted / drawn, drawn)


def _shift(burned: Tensor, log_most: float, percentile: float | None) -> float:
    if percentile is None:
        return 0.0
    logits = acceptance_logit(burned, log_most).sort().values
    return float(logits[round(percentile / 100 * (len(logits) - 1))])


def _largest(log_ratio: Tensor) -> float:
    largest = float(log_ratio.max())
    if not abs(largest) < torch.inf:
        raise RejectionError(
            f"the largest log r of {len(log_ratio)} samples is {largest:g}: the discriminator tells them apart from "
            "data without doubt, and nothing can be chosen by it; take rejection=false, or an earlier checkpoint"
        )
    return largest
