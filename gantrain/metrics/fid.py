"""FID (Heusel et al. 2017) from float64 moments on the device, and its values on halves of the generated images."""

import functools
import time
from dataclasses import dataclass

import torch
from torch import Tensor

from gantrain.metrics.bootstrap import half_counts

ROWS = 4096  # features in float64 at once


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
        """Of the covariance."""
        return self.root.square().sum()

    def to(self, device: torch.device) -> "Reference":
        """The same on another device."""
        return Reference(self.mean.to(device), self.root.to(device))


def moments_of(features: Tensor) -> Moments:
    """Moments of features (N, D), on their device, from sums of x and xxᵀ in float64.

    x is taken from about the mean of the first rows: far from 0 the sums would cancel.
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
    """The reference's side of FID; its root, once found, serves every measurement.

    The eigenvectors are found on the CPU, so that a reference is the same wherever it is read.
    """
    values, vectors = torch.linalg.eigh(moments.covariance.cpu())
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    return Reference(moments.mean, root.to(moments.mean.device))


def frechet_distance(moments: Moments, reference: Reference) -> float:
    """|μ - μ'|² + tr Σ + tr Σ' - 2 tr (Σ Σ')^½ of two Gaussians, the squared 2-Wasserstein distance between them.

    With R = Σ'^½ the product has the eigenvalues of R Σ R, which is symmetric: they are real and not below 0 but for
    rounding, where those of Σ Σ' itself (numpy's and torch-fidelity's way) may turn complex when Σ is singular.
    """
    product = reference.root @ moments.covariance @ reference.root
    cross = _trace_of_root(product)
    shift = (moments.mean - reference.mean).square().sum()
    return float(shift + moments.covariance.trace() + reference.trace) - 2 * cross


def fid(features: Tensor, reference: Reference) -> float:
    """FID of generated features (N, D) against a reference on the same device."""
    return frechet_distance(moments_of(features), reference)


def fid_of_halves(features: Tensor, reference: Reference, resamples: int) -> list[float]:
    """FID of random halves of generated features (N, D), each against the whole reference, which is held fixed.

    Halves in place of resamples with images drawn twice: on Inception features of 128 and 256 CIFAR-10 images such
    resamples stray 1.6 to 6 times as much as FID itself, halves 0.8 to 2.2 times.

    tr (Σ Σ')^½ is the sum of the singular values of (X - x̄)R/√(N-1), so that a half takes the eigenvalues of one
    symmetric matrix, of min(N/2, D) rows.
    """
    x = features.double() - reference.mean
    squares, seen = x.square().sum(dim=1), x @ reference.root
    found = []
    for counts in half_counts(len(x), resamples, what="FID"):
        drawn = counts.to(x.device) > 0
        count = int(drawn.sum())
        shift = x[drawn].mean(dim=0)
        trace = (squares[drawn].sum() - count * shift.square().sum()) / (count - 1)
        rows = (seen[drawn] - shift @ reference.root) / (count - 1) ** 0.5
        cross = _trace_of_root(rows @ rows.T if len(rows) < rows.shape[1] else rows.T @ rows)
        found.append(float(shift.square().sum() + trace + reference.trace) - 2 * cross)
    return found


def _trace_of_root(symmetric: Tensor) -> float:
    """The trace of A^½ of a positive semi-definite A (D, D), read from its lower triangle."""
    values = torch.linalg.eigvalsh(symmetric.to(_quicker(symmetric.device, len(symmetric))))
    return float(values.clamp(min=0).sqrt().sum())


@functools.cache
def _quicker(device: torch.device, size: int) -> torch.device:
    """Where eigenvalues of a matrix (size, size) on this device are found sooner, timed once: there, or on the CPU.

    cuSOLVER's eigensolvers have been an order of magnitude slower in some builds (pytorch/pytorch#183806).
    """
    cpu = torch.device("cpu")
    if device.type == "cpu":
        return cpu
    x = torch.randn(size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).to(device)
    matrix = x @ x.T
    torch.linalg.eigvalsh(matrix[:64, :64])  # loads the library
    seconds = {}
    for place in (device, cpu):
        torch.cuda.synchronize(device)
        started = time.perf_counter()
        float(torch.linalg.eigvalsh(matrix.to(place)).sum())  # waits for the result
        seconds[place] = time.perf_counter() - started
    return min(seconds, key=seconds.__getitem__)
