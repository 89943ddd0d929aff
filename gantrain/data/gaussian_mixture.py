"""Mixtures of Gaussians in the plane, whose density is known everywhere, and sets of points drawn from them."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, slots=True)
class GaussianMixture:
    """A mixture of round Gaussians in the plane.

    Attributes:
        means: (K, 2).
        stds: (K,), above 0.
        weights: (K,), sum to 1.
        modes: (K,), number of the mode that each component belongs to, from 0; a mode may have several components.
    """

    means: Tensor
    stds: Tensor
    weights: Tensor
    modes: Tensor

    @property
    def mode_weights(self) -> Tensor:
        """Weight of each mode (M,)."""
        count = int(self.modes.max()) + 1
        return torch.zeros(count, dtype=self.weights.dtype).index_add(0, self.modes, self.weights)

    @property
    def extent(self) -> float:
        """Half the side of a square around 0 that contains practically all of the probability mass."""
        return float((self.means.abs().amax(dim=1) + 4 * self.stds).max()) * 1.25

    def log_density(self, points: Tensor, blur: float = 0.0) -> Tensor:
        """Log q of points (N, 2), in nats -> (N,); with `blur`, of q convolved with a Gaussian of that std."""
        variance = (self.stds**2 + blur**2).to(points)
        squared = (points[:, None] - self.means.to(points)).square().sum(dim=2)
        parts = -squared / (2 * variance) - (2 * math.pi * variance).log() + self.weights.to(points).log()
        return parts.logsumexp(dim=1)

    def nearest(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """The mode of the component nearest to points (N, 2) in its own stds, and that distance: (N,), (N,)."""
        distance = (points[:, None] - self.means.to(points)).norm(dim=2) / self.stds.to(points)
        found = distance.min(dim=1)
        return self.modes.to(points.device)[found.indices], found.values

    def sample(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """Points (count, 2) in float32 and their modes (count,)."""
        chosen = torch.multinomial(self.weights, count, replacement=True, generator=generator)
        noise = torch.randn(count, 2, generator=generator)
        return (self.means[chosen] + self.stds[chosen, None] * noise).float(), self.modes[chosen]


@dataclass(frozen=True, slots=True)
class PointSet:
    """Points drawn from a known density.

    Attributes:
        name: the data set and split, for protocols.
        points: float32 (N, 2).
        labels: int64 (N,), the mode that each point was drawn from.
        classes: names of the modes.
        density: the density that the points were drawn from.
    """

    name: str
    points: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    density: GaussianMixture

    @property
    def examples(self) -> Tensor:
        """The points, under the name that all data sets share."""
        return self.points

    def __len__(self) -> int:
        """Number of points."""
        return len(self.points)

    def to(self, device: torch.device) -> "PointSet":
        """The same set on another device; the density stays on the CPU."""
        return PointSet(self.name, self.points.to(device), self.labels.to(device), self.classes, self.density)


def mixture(means: Tensor, stds: Tensor, weights: Tensor | None = None, modes: Tensor | None = None) -> GaussianMixture:
    """A mixture of K components: `stds` is (K,) or (1,); by default weights are equal and each component is a mode."""
    count = len(means)
    weights = torch.ones(count) if weights is None else weights
    return GaussianMixture(
        means.double(),
        stds.double().expand(count).clone(),
        weights.double() / weights.double().sum(),
        torch.arange(count) if modes is None else modes,
    )
