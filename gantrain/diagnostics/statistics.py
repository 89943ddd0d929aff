"""Figures that tell how the game stands, from logits and a few images; none of them changes anything.

`gantrain.training.diagnostics` takes them from a run, `gantrain.diagnostics.doctor` reads them.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from gantrain.objectives import Objective

SATURATED = 1e-3
"""A smaller gradient weight leaves an example without effect beside one of weight 1, that of `rkl` or `linear`."""
SURE = 3.0
"""Standard errors beyond which the difference of two means is taken for one."""
PIXELS = 8
"""Height and width at which images are compared."""


@dataclass(frozen=True, slots=True)
class Reliability:
    """D's reliability curve (Niculescu-Mizil & Caruana 2005): what D says against what is so, in equal bins of D.

    Attributes:
        said: mean of D in each bin; None in an empty one.
        real: share of real examples in it; None in an empty one.
        counts: examples in it.
    """

    said: list[float | None]
    real: list[float | None]
    counts: list[int]

    @property
    def error(self) -> float:
        """The expected calibration error, in [0, 1]: mean |said - real| over the examples (Guo et al. 2017, eq. 3)."""
        total = sum(self.counts)
        gaps = zip(self.said, self.real, self.counts, strict=True)
        return sum(abs(s - r) * n for s, r, n in gaps if s is not None and r is not None) / total if total else math.nan


def reliability(on_real: Tensor, on_fake: Tensor, bins: int = 10) -> Reliability:
    """The curve of D = σ(log r), from log r on as many real examples as fakes, any shapes.

    Those without a ratio (NaN) are left out. The curve of a calibrated D is the diagonal.
    """
    said = torch.sigmoid(torch.cat((on_real.flatten(), on_fake.flatten())).double())
    is_real = torch.arange(len(said)) < on_real.numel()
    defined = ~said.isnan()
    said, is_real = said[defined], is_real[defined]
    places = (said * bins).long().clamp(max=bins - 1)
    counts = torch.bincount(places, minlength=bins)
    sums = (torch.bincount(places, weights, minlength=bins) for weights in (said, is_real.double()))
    means = [[s / n if n else None for s, n in zip(of.tolist(), counts.tolist(), strict=True)] for of in sums]
    return Reliability(means[0], means[1], counts.tolist())


def best_loss_at_equality(objective: Objective) -> float:
    """The smallest loss that any discriminator has where q = p: 2 log 2 for `gan`.

    It is the loss at log r = 0 for those that estimate a ratio (with label smoothing α: at D = (1 - α)/2), and at
    the boundary for the others; 0 for `wasserstein`.
    """
    v = objective.boundary or 0.0
    if objective.label_smoothing:
        v += math.log1p(-objective.label_smoothing) - math.log1p(objective.label_smoothing)
    logit = torch.full((1,), v, dtype=torch.float64)
    return float(objective.discriminator_loss(logit, logit))


def gradient_weights(generator_loss: Callable[[Tensor], Tensor], logits: Tensor) -> Tensor:
    """|∂L/∂v| of each of the generator's examples, times their number: 1 for the loss -mean(v).

    Args:
        generator_loss: v (batch,) -> the loss, a mean over the batch.
        logits: v on generated images, (steps, batch).

    Returns:
        (steps, batch), float64, at least 0.
    """
    v = logits.detach().double().requires_grad_()
    with torch.enable_grad():
        total = torch.stack([generator_loss(row) for row in v]).sum()
        (gradient,) = torch.autograd.grad(total, v)
    return gradient.abs() * v.shape[1]


def effective_share(weights: Tensor) -> float:
    """(Σw)²/(N Σw²) of each row of weights (steps, N), averaged: Kish's effective sample size as a share.

    1 where all weigh the same, 1/N where one has all the weight, 0 where none has any; NaN where a weight is.
    """
    scaled = weights / weights.amax(dim=1, keepdim=True)  # tiny weights would underflow in their squares
    share = scaled.sum(dim=1).square() / (weights.shape[1] * scaled.square().sum(dim=1))
    return float(torch.where(weights.amax(dim=1) == 0, 0.0, share).mean())


def rank_accuracy(real: Tensor, fake: Tensor) -> float:
    """P(v on a real example > v on a fake of the same step), ties counting half; of (steps, batch) each.

    It is the area under the ROC curve, ½ for a discriminator that tells nothing, and needs no boundary.
    """
    above = real[:, :, None] - fake[:, None, :]
    return float(((above.sign() + 1) / 2).mean())


def swings(real: Tensor, fake: Tensor) -> tuple[float, float]:
    """How often D was surely right and how often surely wrong: shares of the steps of (steps, batch) each.

    Right is a mean v on real examples above that on fakes by more than `SURE` standard errors, wrong is below it.
    """
    gap = real.mean(dim=1) - fake.mean(dim=1)
    error = ((real.var(dim=1) + fake.var(dim=1)) / real.shape[1]).sqrt()
    return float((gap > SURE * error).double().mean()), float((gap < -SURE * error).double().mean())


def overfitting(trained: Tensor, held_out: Tensor, generated: Tensor) -> float:
    """r_v = (E[v_train] - E[v_held_out])/(E[v_train] - E[v_generated]) (Karras et al. 2020, eq. 1).

    0 for a discriminator that takes new real images for real, 1 for one that takes them for generated.
    """
    ends = float(trained.mean() - generated.mean())
    return float(trained.mean() - held_out.mean()) / ends if ends else math.nan


def as_coordinates(examples: Tensor) -> Tensor:
    """What examples are compared by: images (N, C, H, W) at `PIXELS` pixels, anything else as it is; (N, dim)."""
    if examples.ndim == 4 and examples.shape[-1] > PIXELS:
        examples = F.adaptive_avg_pool2d(examples.float(), PIXELS)
    return examples.float().flatten(1)


@dataclass(frozen=True, slots=True)
class Similarity:
    """How generated examples lie among themselves and to real ones.

    Attributes:
        spread: mean distance of two generated examples over that of two real ones; near 0 in a mode collapse.
        nearest: the same of the median distance to the nearest neighbor: near 0 where a batch repeats few examples.
        energy: energy distance of the two sets, 2E|x-y| - E|x-x'| - E|y-y'|, over 2E|x-y| (Székely & Rizzo 2013);
            0 for sets of one distribution (less by chance), at most 1. D has no part in it.
    """

    spread: float
    nearest: float
    energy: float


def _or_nan(distance: Tensor) -> Tensor:
    """NaN for a distance of 0, among copies, of which nothing is a multiple."""
    return torch.where(distance > 0, distance, torch.nan)


def similarity(real: Tensor, generated: Tensor) -> Similarity:
    """Compares two sets of coordinates (N, dim) of the same size, N at least 2; NaN where real ones are copies."""
    n = len(real)
    off_diagonal = ~torch.eye(n, dtype=torch.bool, device=real.device)
    of_real, of_generated, across = (
        torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")
        for a, b in ((real, real), (generated, generated), (real, generated))
    )
    among_real, among_generated = (d[off_diagonal].view(n, n - 1) for d in (of_real, of_generated))
    between = 2 * across.mean()
    real_nearest = among_real.amin(dim=1).median()
    found = torch.stack(
        (
            among_generated.mean() / _or_nan(among_real.mean()),
            among_generated.amin(dim=1).median() / _or_nan(real_nearest),
            (between - among_real.mean() - among_generated.mean()) / _or_nan(between),
        )
    )
    return Similarity(*found.tolist())
