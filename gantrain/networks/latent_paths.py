"""Truncation, interpolation and closed walks of latents."""

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

PARALLEL = 1e-4
"""Radians to 0 or π below which the arc between two vectors is taken for the straight line."""


def truncate_normal(z: Tensor, limit: float) -> Tensor:
    """Maps entries from N(0, 1) to N(0, 1) truncated to ±limit: the truncation trick (Brock et al. 2019, §3.1).

    Maps by quantiles: this has the distribution of resampling until |z| <= limit, and each z keeps its sign and order.
    """
    share = torch.erf(z.double() / math.sqrt(2)) * math.erf(limit / math.sqrt(2))
    return (math.sqrt(2) * torch.erfinv(share)).clamp(-limit, limit).to(z.dtype)


def interpolate(prior: str, start: Tensor, end: Tensor, steps: int) -> Tensor:
    """Evenly spaced latents between two, including both.

    Along the arc for the normal and the sphere prior (White 2016, arXiv:1609.04468), since the middle of a straight
    line is shorter than anything that these priors draw; straight for the uniform one.

    Args:
        prior: normal, uniform or sphere.
        start: (N, dim).
        end: (N, dim).
        steps: at least 2, the ends included.

    Returns:
        (N, steps, dim).
    """
    t = torch.linspace(0, 1, steps, device=start.device, dtype=torch.float64)[None, :, None]
    a, b = start.double()[:, None], end.double()[:, None]
    straight = torch.lerp(a, b, t)
    if prior == "uniform":
        return straight.to(start.dtype)
    angle = F.cosine_similarity(a, b, dim=2).clamp(-1, 1).arccos()[..., None]
    arc = (torch.sin((1 - t) * angle) * a + torch.sin(t * angle) * b) / torch.sin(angle)
    parallel = (angle < PARALLEL) | (math.pi - angle < PARALLEL)
    return torch.where(parallel, straight, arc).to(start.dtype)


def closed_walk(
    prior: str,
    shape: tuple[int, int],
    frames: int,
    source: torch.Generator,
    *,
    turns: int = 1,
    limit: float | None = None,
) -> Iterator[Tensor]:
    """Latents on a smooth closed path; each frame by itself has the distribution of the prior.

    A periodic Gaussian process, z(s) = Σ_k (a_k cos 2πks + b_k sin 2πks)/√K for k = 1 to K with a, b ~ N(0, I), has
    N(0, I) at every s; it is transformed for the other priors.

    Args:
        prior: normal, uniform or sphere.
        shape: (N, dim).
        frames: of one round, at least 2; the one after the last would be the first.
        source: of a and b.
        turns: K; the more, the faster.
        limit: of `truncate_normal`, for the normal prior.
    """
    waves = torch.randn((2, turns, *shape), generator=source, device=source.device)
    k = torch.arange(1, turns + 1, device=source.device)[:, None, None]
    for frame in range(frames):
        angle = 2 * math.pi * frame / frames * k
        z = (waves[0] * angle.cos() + waves[1] * angle.sin()).sum(dim=0) / math.sqrt(turns)
        if prior == "uniform":
            z = torch.erf(z / math.sqrt(2))
        elif prior == "sphere":
            z = z * (shape[1] ** 0.5 / z.norm(dim=1, keepdim=True))
        elif limit is not None:
            z = truncate_normal(z, limit)
        yield z
