"""Confidence intervals of metrics by the bootstrap over the generated images (Efron 1979).

An interval is the value ± 1.96 standard deviations over resamples: it contains the mean over many sets of that many
images in 95 of 100 cases. The mean of the resamples is not used: a resample contains fewer different
images, so that metrics such as FID and KL are larger on it.
"""

import math
import sys
from collections.abc import Iterator

import torch
from torch import Tensor
from tqdm import tqdm

Z_95 = 1.959964
SEED = 20  # the same resamples for every metric and run
MIN_RESAMPLES = 20  # relative error of the standard deviation: about 1/6


def resample_counts(images: int, resamples: int, *, what: str) -> Iterator[Tensor]:
    """For each resample, how often each image is drawn: float64 (images,) with sum `images`."""
    source = torch.Generator().manual_seed(SEED)
    for _ in _progress(resamples, f"bootstrap of {what}"):
        drawn = torch.randint(images, (images,), generator=source)
        yield torch.bincount(drawn, minlength=images).double()


def half_counts(images: int, resamples: int, *, what: str) -> Iterator[Tensor]:
    """Random halves of the images: float64 (images,) of zeros and images // 2 ones.

    The variance of a statistic over halves equals its variance over sets of all images (the delete-half jackknife,
    Shao & Wu 1989). For statistics with more dimensions than images, which are biased by images drawn twice.
    """
    source = torch.Generator().manual_seed(SEED)
    for _ in _progress(resamples, f"halves for {what}"):
        counts = torch.zeros(images, dtype=torch.float64)
        counts[torch.randperm(images, generator=source)[: images // 2]] = 1
        yield counts


def interval_from_resamples(value: float, resampled: list[float], *, noise: float = 0.0) -> tuple[float, float] | None:
    """The 95 % interval of a value from its values on resamples; None if these are all equal.

    `noise` is an additional standard deviation of the value, on the same images.
    """
    return _interval(value, math.hypot(float(torch.tensor(resampled, dtype=torch.float64).std()), noise))


def interval_of_mean(values: Tensor) -> tuple[float, float] | None:
    """The 95 % interval of the mean of values (N,), from its standard error; None if they are all equal."""
    values = values.double()
    return _interval(float(values.mean()), float(values.std(correction=0)) / len(values) ** 0.5)


def interval_of_share(share: float, count: int) -> tuple[float, float]:
    """Wilson's 95 % interval (1927) of a share of `count` examples; its width is positive also at 0 and 1."""
    weight = Z_95**2 / count
    center = (share + weight / 2) / (1 + weight)
    half = Z_95 * (share * (1 - share) / count + weight / (4 * count)) ** 0.5 / (1 + weight)
    return center - half, center + half


def _progress(count: int, description: str) -> Iterator[int]:
    return iter(tqdm(range(count), desc=description, leave=False, disable=None, file=sys.stderr))


def _interval(value: float, std: float) -> tuple[float, float] | None:
    return None if std == 0 else (value - Z_95 * std, value + Z_95 * std)
