"""Statistics of the two networks' game, from logits and a few images.

`gantrain.training.diagnostics` computes them during a run, `gantrain.diagnostics.doctor` interprets them.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from gantrain.objectives import Objective

SATURATED = 1e-3
"""A gradient weight below which an example has no effect, compared with the weight 1 of `rkl` and `linear`."""
SURE = 3.0
"""Standard errors beyond which the difference of two means is significant."""
PIXELS = 8
"""Height and width to which images are pooled before they are compared."""


@dataclass(frozen=True, slots=True)
class Reliability:
    """D's reliability curve (Niculescu-Mizil & Caruana 2005): predicted against true share of real examples.

    Attributes:
        predicted: mean of D in each of several equal bins of D; None in an empty bin.
        real: share of real examples in the bin; None in an empty bin.
        counts: examples in the bin.
    """

    predicted: list[float | None]
    real: list[float | None]
    counts: list[int]

    @property
    def error(self) -> float:
        """The expected calibration error, in [0, 1]: mean |predicted - real| over examples (Guo et al. 2017, eq. 3)."""
        total = sum(self.counts)
        gaps = zip(self.predicted, self.real, self.counts, strict=True)
        return sum(abs(p - r) * n for p, r, n in gaps if p is not None and r is not None) / total if total else math.nan


def reliability(on_real: Tensor, on_fake: Tensor, bins: int = 10) -> Reliability:
    """The curve of D = σ(log r), from log r on equal numbers of real and fake examples, of any shape.

    NaN is left out. The curve of a calibrated D is the diagonal.
    """
    predicted = torch.sigmoid(torch.cat((on_real.flatten(), on_fake.flatten())).double())
    is_real = torch.arange(len(predicted)) < on_real.numel()
    defined = ~predicted.isnan()
    predicted, is_real = predicted[defined], is_real[defined]
    bin_of = (predicted * bins).long().clamp(max=bins - 1)
    counts = torch.bincount(bin_of, minlength=bins)
    sums = (torch.bincount(bin_of, weights, minlength=bins) for weights in (predicted, is_real.double()))
    means = [[s / n if n else None for s, n in zip(of.tolist(), counts.tolist(), strict=True)] for of in sums]
    return Reliability(means[0], means[1], counts.tolist())


def best_loss_at_equality(objective: Objective) -> float:
    """The smallest discriminator loss for q = p: 2 log 2 for `gan`.

    That is the loss at log r = 0 for discriminators that estimate a ratio (with label smoothing α: at D = (1 - α)/2),
    and at the decision boundary for others; 0 for `wasserstein`.
    """
    v = objective.boundary or 0.0
    if objective.label_smoothing:
        v += math.log1p(-objective.label_smoothing) - math.log1p(objective.label_smoothing)
    logit = torch.full((1,), v, dtype=torch.float64)
    return float(objective.discriminator_loss(logit, logit))


def gradient_weights(generator_loss: Callable[[Tensor], Tensor], logits: Tensor) -> Tensor:
    """|∂L/∂v| for each generated example, times the batch size: 1 for the loss -mean(v).

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
    """Kish's effective sample size as a share, (Σw)²/(N Σw²), averaged over the rows of weights (steps, N).

    1 if all weights are equal, 1/N if one example has all the weight, 0 if all are 0; NaN if a weight is NaN.
    """
    scaled = weights / weights.amax(dim=1, keepdim=True)  # squares of tiny weights would underflow
    share = scaled.sum(dim=1).square() / (weights.shape[1] * scaled.square().sum(dim=1))
    return float(torch.where(weights.amax(dim=1) == 0, 0.0, share).mean())


def rank_accuracy(real: Tensor, fake: Tensor) -> float:
    """P(v on a real example > v on a fake of the same step), with ties counted half; both (steps, batch).

    The area under the ROC curve: ½ for a discriminator that guesses. It needs no decision boundary.
    """
    above = real[:, :, None] - fake[:, None, :]
    return float(((above.sign() + 1) / 2).mean())


def swings(real: Tensor, fake: Tensor) -> tuple[float, float]:
    """Share of steps at which D was surely right, and share at which it was surely wrong; both inputs (steps, batch).

    Surely right: the mean of v on real examples exceeds that on fakes by more than `SURE` standard errors.
    """
    gap = real.mean(dim=1) - fake.mean(dim=1)
    error = ((real.var(dim=1) + fake.var(dim=1)) / real.shape[1]).sqrt()
    return float((gap > SURE * error).double().mean()), float((gap < -SURE * error).double().mean())


def overfitting(trained: Tensor, held_out: Tensor, generated: Tensor) -> float:
    """r_v = (E[v_train] - E[v_held_out])/(E[v_train] - E[v_generated]) (Karras et al. 2020, eq. 1).

    0 if D scores new real images like its training images, 1 if it scores them like generated ones.
    """
    ends = float(trained.mean() - generated.mean())
    return float(trained.mean() - held_out.mean()) / ends if ends else math.nan


def as_coordinates(examples: Tensor) -> Tensor:
    """Images (N, C, H, W) pooled to `PIXELS` pixels, or points unchanged; flattened to (N, dim)."""
    if examples.ndim == 4 and examples.shape[-1] > PIXELS:
        examples = F.adaptive_avg_pool2d(examples.float(), PIXELS)
    return examples.float().flatten(1)


@dataclass(frozen=True, slots=True)
class Similarity:
    """Distances among generated examples and between them and real ones, independent of D.

    Attributes:
        spread: mean distance between generated examples over that between real ones; near 0 in a mode collapse.
        nearest: the same for the median distance to the nearest neighbor; near 0 if a batch repeats few examples.
        energy: normalized energy distance of the two sets, (2E|x-y| - E|x-x'| - E|y-y'|)/2E|x-y| (Székely & Rizzo
            2013): 0 for equal distributions (below 0 by chance), at most 1.
    """

    spread: float
    nearest: float
    energy: float


def _or_nan(distance: Tensor) -> Tensor:
    """The distance, or NaN instead of 0, so that ratios to it are undefined."""
    return torch.where(distance > 0, distance, torch.nan)


def similarity(real: Tensor, generated: Tensor) -> Similarity:
    """Compares two sets of coordinates (N, dim) of equal size N >= 2; NaN if all real ones are equal."""
    n = len(real)
    off_diagonal = ~torch.eye(n, dtype=torch.bool, device=real.device)
    of_real, of_generated, across = (
        torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist")
        for a, b in ((real, real), (generated, generated), (real, generated))
    )
    among_real, among_generated = (d[off_diagonal].view(n, n - 1) for d in (of_real, of_generated))
    between = 2 * across.mean()
    real_nearest = among_real.amin(dim=1).median()
    ratios = torch.stack(
        (
            among_generated.mean() / _or_nan(among_real.mean()),
            among_generated.amin(dim=1).median() / _or_nan(real_nearest),
            (between - among_real.mean() - among_generated.mean()) / _or_nan(between),
        )
    )
    return Similarity(*ratios.tolist())
