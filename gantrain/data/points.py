"""Data sets of points in the plane: ring, grid, moons and any mixture of Gaussians."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from gantrain.data.gaussian_mixture import GaussianMixture, PointSet, mixture
from gantrain.data.spec import NOT_MIRRORED, DatasetSpec, PointOptions
from gantrain.options import is_number, option, require

POINTS = {"train": 100_000, "test": 10_000}
SEEDS = {"train": 2008, "test": 2009}  # the same data set for every run
MOON_PIECES = 100


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

    Each half circle is a chain of Gaussians 0.03 apart, which approximates the noisy arc to 1e-6.
    """
    angle = (torch.arange(MOON_PIECES, dtype=torch.float64) + 0.5) * (math.pi / MOON_PIECES)
    upper = torch.stack((angle.cos() - 0.5, angle.sin() - 0.25), dim=1)
    lower = torch.stack((0.5 - angle.cos(), 0.25 - angle.sin()), dim=1)
    modes = torch.arange(2).repeat_interleave(MOON_PIECES)
    return mixture(torch.cat((upper, lower)), torch.tensor([0.1]), modes=modes)


def load_points(name: str, density: GaussianMixture, split: str) -> PointSet:
    """Points drawn from the density (100,000 for train, 10,000 for test), the same for every run."""
    points, labels = density.sample(POINTS[split], torch.Generator().manual_seed(SEEDS[split]))
    classes = tuple(str(mode) for mode in range(len(density.mode_weights)))
    return PointSet(f"{name}-{split}", points, labels, classes, density)


@dataclass(kw_only=True)
class MixtureOptions(PointOptions):
    """Options of `data=mixture`."""

    means: list[Any] = option([], "mixture: the components' means, [[x,y],[x,y],...]")
    stds: list[float] = option([], "mixture: their standard deviations, one for all or one each")
    weights: list[float] = option([], "mixture: their weights, in any unit; []: equal weights")

    def __post_init__(self) -> None:
        """Checks that there is a mean, a std and a weight for each component."""
        count = len(self.means)
        require(count > 0, "data.means", self.means, "is empty; set e.g. data.means=[[-1,0],[1,0]]")
        for mean in self.means:
            ok = isinstance(mean, list) and len(mean) == 2 and all(is_number(x) and abs(x) <= 1000 for x in mean)
            require(ok, "data.means", mean, "must be two numbers between -1000 and 1000, as in [[-1,0],[1,0]]")
        require(
            len(self.stds) in (1, count) and all(0 < std <= 1000 for std in self.stds),
            "data.stds",
            self.stds,
            f"must be one number or {count}, each above 0 and at most 1000",
        )
        require(
            len(self.weights) in (0, count) and all(0 < weight <= 1e6 for weight in self.weights),
            "data.weights",
            self.weights,
            f"must be {count} numbers above 0 and at most 1e6, or [] for equal ones",
        )


def load_mixture(options: MixtureOptions, split: str) -> PointSet:
    """Points of `data=mixture`."""
    means, stds, weights = (
        torch.tensor(values, dtype=torch.float64) for values in (options.means, options.stds, options.weights)
    )
    return load_points("mixture", mixture(means, stds, weights if options.weights else None), split)


def _spec(name: str, title: str, load: Callable[[Any, str], PointSet], options: type = PointOptions) -> DatasetSpec:
    return DatasetSpec(name=name, title=title, load=load, options=options, points=True, fixed=NOT_MIRRORED)


SPECS = (
    _spec("ring", "8 Gaussians", lambda options, split: load_points("ring", ring(), split)),
    _spec("grid", "25 Gaussians", lambda options, split: load_points("grid", grid(), split)),
    _spec("moons", "two half circles", lambda options, split: load_points("moons", moons(), split)),
    _spec("mixture", "any Gaussians", load_mixture, MixtureOptions),
)
