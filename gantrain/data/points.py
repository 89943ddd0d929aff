"""2-D toys: points from mixtures of Gaussians, whose density is known everywhere."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

SETS = ("ring", "grid", "moons", "mixture")
POINTS = {"train": 100_000, "test": 10_000}
SEEDS = {"train": 2008, "test": 2009}  # one data set for every run
MOON_PIECES = 100


@dataclass(frozen=True, slots=True)
class GaussianMixture:
    """A mixture of round Gaussians in the plane.

    Attributes:
        means: (K, 2).
        stds: (K,), above 0.
        weights: (K,), of sum 1.
        modes: (K,), the mode that each component belongs to, from 0; several components may form one.
    """

    means: Tensor
    stds: Tensor
    weights: Tensor
    modes: Tensor

    @property
    def mode_weights(self) -> Tensor:
        """The share of each mode (M,)."""
        count = int(self.modes.max()) + 1
        return torch.zeros(count, dtype=self.weights.dtype).index_add(0, self.modes, self.weights)

    @property
    def extent(self) -> float:
        """Half the side of the square around 0 that holds practically all of the density."""
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
        labels: int64 (N,), the mode that each was drawn from.
        classes: the modes' names.
        density: what they were drawn from.
    """

    name: str
    points: Tensor
    labels: Tensor
    classes: tuple[str, ...]
    density: GaussianMixture

    @property
    def examples(self) -> Tensor:
        """The points, as every kind of data set calls what it holds."""
        return self.points

    def __len__(self) -> int:
        """Number of points."""
        return len(self.points)

    def to(self, device: torch.device) -> "PointSet":
        """The same set on another device; the density stays on the CPU."""
        return PointSet(self.name, self.points.to(device), self.labels.to(device), self.classes, self.density)


def ring() -> GaussianMixture:
    """Eight Gaussians of std 0.02 on a circle of radius 2 (Metz et al. 2017, Appendix A)."""
    angle = torch.arange(8, dtype=torch.float64) * (2 * math.pi / 8)
    return mixture(2 * torch.stack((angle.cos(), angle.sin()), dim=1), torch.tensor([0.02]))


def grid() -> GaussianMixture:
    """Twenty-five Gaussians of std 0.05 on {-4, -2, 0, 2, 4}² (Lin et al. 2018, PacGAN)."""
    line = torch.arange(-4.0, 5.0, 2.0, dtype=torch.float64)
    return mixture(torch.cartesian_prod(line, line), torch.tensor([0.05]))


def moons() -> GaussianMixture:
    """Two interleaved half circles of radius 1 with noise of std 0.1, scikit-learn's moons with a density.

    Each is a chain of Gaussians 0.03 apart, which for noise of 0.1 is the arc to the eye and to 1e-6.
    """
    angle = (torch.arange(MOON_PIECES, dtype=torch.float64) + 0.5) * (math.pi / MOON_PIECES)
    upper = torch.stack((angle.cos() - 0.5, angle.sin() - 0.25), dim=1)
    lower = torch.stack((0.5 - angle.cos(), 0.25 - angle.sin()), dim=1)
    modes = torch.arange(2).repeat_interleave(MOON_PIECES)
    return mixture(torch.cat((upper, lower)), torch.tensor([0.1]), modes=modes)


def mixture(means: Tensor, stds: Tensor, weights: Tensor | None = None, modes: Tensor | None = None) -> GaussianMixture:
    """A mixture of K components; one std serves all, no weights means equal ones, no modes one a component."""
    count = len(means)
    weights = torch.ones(count) if weights is None else weights
    return GaussianMixture(
        means.double(),
        stds.double().expand(count).clone(),
        weights.double() / weights.double().sum(),
        torch.arange(count) if modes is None else modes,
    )


def load_points(name: str, density: GaussianMixture, split: str) -> PointSet:
    """Points of that density (100,000 for train, 10,000 for test), the same for every run."""
    points, labels = density.sample(POINTS[split], torch.Generator().manual_seed(SEEDS[split]))
    classes = tuple(str(mode) for mode in range(len(density.mode_weights)))
    return PointSet(f"{name}-{split}", points, labels, classes, density)
