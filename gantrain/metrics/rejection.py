"""Discriminator rejection sampling (Azadi et al. 2019, arXiv:1810.06758, Algorithm 1).

If a discriminator estimates log r, r = q/p, accepting each draw from p with probability r/M, M = max r, gives draws
from q. M is estimated by the largest ratio so far. Nearly all draws would be rejected, so the paper shifts the logit of
the acceptance probability by γ.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from gantrain.errors import GantrainError

EPSILON = 1e-8
BURN_IN = 2_000
PERCENTILE = 80.0
DRAWS_PER_SAMPLE, MIN_DRAWS = 200, 20_000

Draw = Callable[[], tuple[tuple[Tensor, ...], Tensor]]
"""Returns a batch of independent samples as parallel tensors (N, ...), and their log r (N,)."""


class RejectionError(GantrainError):
    """Rejection sampling failed; the message says what to change."""


@dataclass(frozen=True, slots=True)
class Accepted:
    """Accepted samples.

    Attributes:
        samples: the tensors from `Draw`, `count` rows each.
        log_ratio: their log r, (count,).
        rate: acceptance rate after the burn-in.
        drawn: number of draws after the burn-in.
    """

    samples: tuple[Tensor, ...]
    log_ratio: Tensor
    rate: float
    drawn: int


def acceptance_logit(log_ratio: Tensor, log_max: float) -> Tensor:
    """F = d - log(1 - e^(d - ε)) with d = log r - log M, in float64: σ(F) tends to r/M as ε tends to 0.

    ε keeps it finite at r = M; log r = -inf gives -inf.
    """
    d = log_ratio.double() - log_max
    return d - torch.log(-torch.expm1(d - EPSILON))


def rejection_sample(
    draw: Draw,
    count: int,
    source: torch.Generator,
    *,
    percentile: float | None = PERCENTILE,
    burn_in: int = BURN_IN,
    max_draws: int | None = None,
) -> Accepted:
    """Draws until `count` samples are accepted.

    M starts as the largest ratio among `burn_in` draws, which are discarded, and is updated by larger ones. γ is a
    percentile of F over the burn-in, where a sample is accepted with probability ½. A percentile over each batch, as in
    other implementations, would make a sample's acceptance depend on its batch.

    Args:
        draw: returns batches of samples.
        count: number of samples to accept.
        source: random generator of the decisions, on the samples' device.
        percentile: 0 to 100, lower accepts more; None is γ = 0, which is exact if log r is.
        burn_in: number of draws before the first decision.
        max_draws: limit; None is 200 per sample and at least 20,000.

    Raises:
        RejectionError: the largest ratio is not finite, or too few samples are accepted.
    """
    max_draws = max(MIN_DRAWS, DRAWS_PER_SAMPLE * count) if max_draws is None else max_draws
    first: list[Tensor] = []
    while sum(map(len, first)) < burn_in:
        first.append(draw()[1])
    burned = torch.cat(first)
    log_max = _largest(burned)
    gamma = _shift(burned, log_max, percentile)
    kept: list[tuple[Tensor, ...]] = []
    accepted = drawn = 0
    while accepted < count:
        if drawn >= max_draws:
            way_out = "use rejection=false" if percentile is None else f"lower percentile={percentile:g}"
            raise RejectionError(f"only {accepted} of {drawn} draws were accepted, but {count} are needed: {way_out}")
        samples, log_ratio = draw()
        larger = _largest(torch.cat((log_ratio, log_ratio.new_full((1,), log_max))))
        if larger > log_max:
            log_max, gamma = larger, _shift(burned, larger, percentile)
        chance = torch.sigmoid(acceptance_logit(log_ratio, log_max) - gamma)
        keep = torch.rand(chance.shape, generator=source, device=chance.device, dtype=chance.dtype) < chance
        kept.append(tuple(part[keep] for part in (*samples, log_ratio)))
        accepted += int(keep.sum())
        drawn += len(log_ratio)
    *chosen, of_chosen = (torch.cat(parts)[:count] for parts in zip(*kept, strict=True))
    return Accepted(tuple(chosen), of_chosen, accepted / drawn, drawn)


def _shift(burned: Tensor, log_max: float, percentile: float | None) -> float:
    if percentile is None:
        return 0.0
    logits = acceptance_logit(burned, log_max).sort().values
    return float(logits[round(percentile / 100 * (len(logits) - 1))])


def _largest(log_ratio: Tensor) -> float:
    largest = float(log_ratio.max())
    if not abs(largest) < torch.inf:
        raise RejectionError(
            f"the largest log r of {len(log_ratio)} samples is {largest:g}: the discriminator separates them from the "
            "data completely, so none can be accepted; use rejection=false, or an earlier checkpoint"
        )
    return largest
