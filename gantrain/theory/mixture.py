"""The data of the one-dimensional figures: a mixture of Gaussians."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from gantrain.errors import GantrainError

LOG_2PI = math.log(2 * math.pi)
EXAMPLE = "0.3:-2:0.6,0.7:2:0.9"


class MixtureError(GantrainError):
    """An invalid mixture; the message names the part, the rule and an example."""


@dataclass(frozen=True, slots=True)
class Mixture:
    """Σ wᵢ N(mᵢ, sᵢ²) on the line.

    Attributes:
        weights: positive, of sum 1 to within 1e-6.
        means: finite.
        stds: positive and finite. The largest, and the distance between the outermost means, are at most 1000 times
            the smallest.

    Raises:
        MixtureError: a rule is violated.
    """

    weights: tuple[float, ...]
    means: tuple[float, ...]
    stds: tuple[float, ...]

    def __post_init__(self) -> None:
        """Checks the rules above."""
        if not len(self.weights) == len(self.means) == len(self.stds) >= 1:
            raise MixtureError("a mixture needs a weight, a mean and a standard deviation for each of its components")
        if not all(map(math.isfinite, (*self.weights, *self.means, *self.stds))):
            raise MixtureError(f"the mixture {self} has a number that is not finite")
        if min(self.weights) <= 0 or abs(sum(self.weights) - 1) > 1e-6:
            raise MixtureError(
                f"the mixture's weights {', '.join(f'{w:g}' for w in self.weights)} must be positive and sum to 1, "
                f"as in {EXAMPLE}"
            )
        if min(self.stds) <= 0:
            raise MixtureError(f"the mixture's standard deviation {min(self.stds):g} must be above 0")
        if max(*self.stds, max(self.means) - min(self.means)) > 1000 * min(self.stds):
            raise MixtureError(
                f"the mixture {self} is too uneven to integrate: the distance between means and the largest standard "
                "deviation may be at most 1000 times the smallest standard deviation"
            )

    def __str__(self) -> str:
        """In the form of `parse_mixture`."""
        return ",".join(f"{w:g}:{m:g}:{s:g}" for w, m, s in zip(self.weights, self.means, self.stds, strict=True))

    @property
    def formula(self) -> str:
        """For a title, e.g. `0.3·N(-2, 0.6²) + 0.7·N(2, 0.9²)`."""
        parts = zip(self.weights, self.means, self.stds, strict=True)
        return " + ".join(f"{w:g}·N({m:g}, {s:g}²)" for w, m, s in parts).replace("-", "−")

    @property
    def mean(self) -> float:
        """The mean of the mixture."""
        return sum(w * m for w, m in zip(self.weights, self.means, strict=True))

    @property
    def std(self) -> float:
        """The standard deviation of the mixture."""
        parts = zip(self.weights, self.means, self.stds, strict=True)
        return math.sqrt(sum(w * (s**2 + (m - self.mean) ** 2) for w, m, s in parts))

    def log_density(self, at: Tensor) -> Tensor:
        """Log q at points of any shape and floating dtype."""
        parts = zip(self.weights, self.means, self.stds, strict=True)
        return torch.logsumexp(torch.stack([math.log(w) + log_normal(at, m, s) for w, m, s in parts]), dim=0)

    def sample(self, shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
        """Independent draws of that shape, float32."""
        weights = torch.tensor(self.weights)
        chosen = torch.multinomial(weights, math.prod(shape), replacement=True, generator=generator).reshape(shape)
        noise = torch.randn(shape, generator=generator)
        return torch.tensor(self.means)[chosen] + torch.tensor(self.stds)[chosen] * noise


def log_normal(at: Tensor, mean: float, std: float) -> Tensor:
    """Log density of N(mean, std²) at points of any shape."""
    return -((at - mean) / std).square() / 2 - math.log(std) - LOG_2PI / 2


def parse_mixture(text: str) -> Mixture:
    """Reads `weight:mean:std,...`, e.g. `0.3:-2:0.6,0.7:2:0.9`.

    Raises:
        MixtureError: the text does not have that form, or describes an invalid mixture.
    """
    rows = []
    for part in text.split(","):
        try:
            weight, mean, std = (float(number) for number in part.split(":"))
        except ValueError:
            raise MixtureError(
                f"mixture={text!r}: {part.strip()!r} is not weight:mean:std; write components like {EXAMPLE}"
            ) from None
        rows.append((weight, mean, std))
    weights, means, stds = zip(*rows, strict=True)
    return Mixture(weights, means, stds)


DEFAULT_MIXTURE = parse_mixture(EXAMPLE)
