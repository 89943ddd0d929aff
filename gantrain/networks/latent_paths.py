"""Truncation, interpolation and closed walks of latents."""

import math
from collections.abc import Iterator

import torch
import torch.nn.functional as F
from torch import Tensor

PARALLEL = 1e-4
"""Angles closer than this to 0 or π, in radians: a straight line replaces the arc between two vectors."""


def truncate_normal(z: Tensor, limit: float) -> Tensor:
    """Maps entries from N(0, 1) to N(0, 1) truncated to ±limit: the truncation trick (Brock et al. 2019, §3.1).

    Quantiles are mapped to quantiles: the distribution equals that of resampling until |z| <= limit, and sign and order
    of entries are kept.
    """
    share = torch.erf(z.double() / math.sqrt(2)) * math.erf(limit / math.sqrt(2))
    return (math.sqrt(2) * torch.erfinv(share)).clamp(-limit, limit).to(z.dtype)


def interpolate(prior: str, start: Tensor, end: Tensor, steps: int) -> Tensor:
    """Evenly spaced latents from `start` to `end`, both included.

    Along the arc for the normal and the sphere prior (White 2016, arXiv:1609.04468), since the middle of a straight
    line has a norm that these priors almost never draw; straight for the uniform prior.

    Args:
        prior: normal, uniform or sphere.
        start: (N, dim).
        end: (N, dim).
        steps: number of latents, at least 2, both ends included.

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
    """Latents on a smooth closed path; each frame has the distribution of the prior.

    A periodic Gaussian process, z(s) = Σ_k (a_k cos 2πks + b_k sin 2πks)/√K for k = 1 to K with a, b ~ N(0, I), has
    N(0, I) at every s; it is transformed for the other priors.

    Args:
        prior: normal, uniform or sphere.
        shape: (N, dim).
        frames: number of frames in one round, at least 2; the last is followed by the first.
        source: random generator for a and b.
        turns: K; larger is faster.
        limit: see `truncate_normal`; for the normal prior only.
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
