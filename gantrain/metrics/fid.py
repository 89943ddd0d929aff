"""FID (Heusel et al. 2017) from float64 moments on the device, with intervals from halves of the generated images."""

import functools
import time
from dataclasses import dataclass

import torch
from torch import Tensor

from gantrain.metrics.bootstrap import half_counts, interval_from_resamples
from gantrain.metrics.metric import INCEPTION, LOWER, Metric, MetricContext, MetricSpec, MetricValue, ValueSpec

ROWS = 4096  # features converted to float64 at once


@dataclass(frozen=True, slots=True)
class Moments:
    """Mean (D,) and unbiased covariance (D, D) of features, float64."""

    mean: Tensor
    covariance: Tensor


@dataclass(frozen=True, slots=True)
class Reference:
    """Mean (D,) of real features and the symmetric square root (D, D) of their covariance, float64."""

    mean: Tensor
    root: Tensor

    @property
    def trace(self) -> Tensor:
        """Trace of the covariance."""
        return self.root.square().sum()


class FIDMetric(Metric):
    """FID of generated images against the reference set."""

    spec = MetricSpec(
        name="fid",
        help="Fréchet Inception Distance (Heusel et al. 2017), in float64, equal to torch-fidelity's to 0.01",
        values=(ValueSpec("fid", "FID", LOWER),),
        needs=(INCEPTION,),
    )

    def __init__(self, context: MetricContext) -> None:
        """Loads the reference's moments from the cache, or computes them."""
        assert context.inception is not None
        self._context = context
        real = context.real
        self._reference = context.inception.statistics_of_reference(real.inception_images, real.reference.name)

    def measure(self, images: Tensor, labels: Tensor | None) -> list[MetricValue]:
        """FID of uint8 images (N, 3, H, W)."""
        features, protocol = self._context.features(images), self._context.protocol(images)
        value, interval = fid(features, self._reference), None
        if self._context.bootstrap:
            halves = fid_of_halves(features, self._reference, self._context.bootstrap)
            interval = interval_from_resamples(value, halves)
            protocol |= {"interval_over": "generated images, the real ones fixed", "halves": self._context.bootstrap}
        return [MetricValue("fid", value, protocol, interval)]


def moments_of(features: Tensor) -> Moments:
    """Moments of features (N, D), on their device, from sums of x and xxᵀ in float64.

    x is relative to the mean of the first rows, to avoid cancellation far from 0.
    """
    parts = features.split(ROWS)
    shift = parts[0].double().mean(dim=0)
    total = torch.zeros_like(shift)
    squares = total.new_zeros(len(shift), len(shift))
    for part in parts:
        x = part.double() - shift
        total += x.sum(dim=0)
        squares.addmm_(x.T, x)
    mean = total / len(features)
    return Moments(shift + mean, (squares - torch.outer(total, mean)) / (len(features) - 1))


def reference_of(moments: Moments) -> Reference:
    """The reference's side of FID; the root is computed once for all measurements.

    Its eigenvectors are computed on the CPU, so that a reference is the same on every device.
    """
    values, vectors = torch.linalg.eigh(moments.covariance.cpu())
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    return Reference(moments.mean, root.to(moments.mean.device))


def frechet_distance(moments: Moments, reference: Reference) -> float:
    """|μ - μ'|² + tr Σ + tr Σ' - 2 tr (Σ Σ')^½ of two Gaussians, the squared 2-Wasserstein distance between them.

    With R = Σ'^½ the product Σ Σ' has the eigenvalues of the symmetric R Σ R, which are real and at least 0 up to
    rounding. The eigenvalues of Σ Σ', which torch-fidelity computes, can become complex when Σ is singular.
    """
    cross = _trace_of_root(reference.root @ moments.covariance @ reference.root)
    shift = (moments.mean - reference.mean).square().sum()
    return float(shift + moments.covariance.trace() + reference.trace) - 2 * cross


def fid(features: Tensor, reference: Reference) -> float:
    """FID of generated features (N, D) against a reference on the same device."""
    return frechet_distance(moments_of(features), reference)


def fid_of_halves(features: Tensor, reference: Reference, resamples: int) -> list[float]:
    """FID of random halves of generated features (N, D), each against the complete reference.

    Halves instead of bootstrap resamples, which contain images twice: on Inception features of 128 and 256 CIFAR-10
    images, the standard deviation over resamples is 1.6 to 6 times that of FID, over halves 0.8 to 2.2 times.

    tr (Σ Σ')^½ is the sum of the singular values of (X - x̄)R/√(N-1), so that a half needs the eigenvalues of one
    symmetric matrix with min(N/2, D) rows.
    """
    x = features.double() - reference.mean
    squares, projected = x.square().sum(dim=1), x @ reference.root
    results = []
    for counts in half_counts(len(x), resamples, what="FID"):
        drawn = counts.to(x.device) > 0
        count = int(drawn.sum())
        shift = x[drawn].mean(dim=0)
        trace = (squares[drawn].sum() - count * shift.square().sum()) / (count - 1)
        rows = (projected[drawn] - shift @ reference.root) / (count - 1) ** 0.5
        cross = _trace_of_root(rows @ rows.T if len(rows) < rows.shape[1] else rows.T @ rows)
        results.append(float(shift.square().sum() + trace + reference.trace) - 2 * cross)
    return results


def _trace_of_root(symmetric: Tensor) -> float:
    """The trace of A^½ of a positive semi-definite A (D, D), of which only the lower triangle is read."""
    values = torch.linalg.eigvalsh(symmetric.to(_faster_device(symmetric.device, len(symmetric))))
    return float(values.clamp(min=0).sqrt().sum())


@functools.cache
def _faster_device(device: torch.device, size: int) -> torch.device:
    """This device or the CPU: whichever computes eigenvalues of a (size, size) matrix faster, measured once.

    cuSOLVER's eigensolvers were ten times slower in some builds (pytorch/pytorch#183806).
    """
    cpu = torch.device("cpu")
    if device.type == "cpu":
        return cpu
    x = torch.randn(size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).to(device)
    matrix = x @ x.T
    torch.linalg.eigvalsh(matrix[:64, :64])  # loads the library
    seconds = {}
    for candidate in (device, cpu):
        torch.cuda.synchronize(device)
        started = time.perf_counter()
        float(torch.linalg.eigvalsh(matrix.to(candidate)).sum())  # waits for the result
        seconds[candidate] = time.perf_counter() - started
    return min(seconds, key=seconds.__getitem__)
