"""How far a figure strays when other images are drawn: the bootstrap over the images at hand (Efron 1979).

An interval here is the figure ± 1.96 standard deviations over resamples, and says where the mean of such figures over
many sets of as many images lies, in 95 of 100 cases. The resamples' own mean is not used: a resample holds fewer
different images, so that FID, KL and the like lie higher on resamples than on the images.
"""

import math
import sys
from collections.abc import Iterator

import torch
from torch import Tensor
from tqdm import tqdm

Z_95 = 1.959964
SEED = 20  # of the resamples: the same for every figure and run
LEAST = 20  # resamples that tell a standard deviation within about a sixth


def resample_counts(images: int, resamples: int, *, what: str) -> Iterator[Tensor]:
    """How often each of the images is drawn, float64 (images,) of sum `images`, for one resample after another."""
    source = torch.Generator().manual_seed(SEED)
    for _ in tqdm(
        range(resamples), desc=f"bootstrap of {what}", unit="resample", leave=False, disable=None, file=sys.stderr
    ):
        drawn = torch.randint(images, (images,), generator=source)
        yield torch.bincount(drawn, minlength=images).double()


def half_counts(images: int, resamples: int, *, what: str) -> Iterator[Tensor]:
    """The same for halves of the images, each at most once: float64 (images,) of zeros and images // 2 ones.

    Figures of halves stray among one another as figures of all images do from their mean (the jackknife that deletes
    half, Shao & Wu 1989). For figures of more dimensions than images, which images drawn twice would lead astray.
    """
    source = torch.Generator().manual_seed(SEED)
    for _ in tqdm(range(resamples), desc=f"halves for {what}", unit="half", leave=False, disable=None, file=sys.stderr):
        counts = torch.zeros(images, dtype=torch.float64)
        counts[torch.randperm(images, generator=source)[: images // 2]] = 1
        yield counts


def around(value: float, of_resamples: list[float], *, noise: float = 0.0) -> tuple[float, float] | None:
    """The 95 % interval of a figure from its values on resamples; None where these are all the same.

    `noise` is the standard deviation that the figure has besides, on the same images.
    """
    return _interval(value, math.hypot(float(torch.tensor(of_resamples, dtype=torch.float64).std()), noise))


def of_mean(values: Tensor) -> tuple[float, float] | None:
    """The 95 % interval of the mean of values (N,), by their standard error; None where they are all the same."""
    values = values.double()
    return _interval(float(values.mean()), float(values.std(correction=0)) / len(values) ** 0.5)


def of_share(share: float, count: int) -> tuple[float, float]:
    """The 95 % interval of a share of `count` examples (Wilson 1927), which has a width at 0 and 1 as well."""
    weight = Z_95**2 / count
    centre = (share + weight / 2) / (1 + weight)
    half = Z_95 * (share * (1 - share) / count + weight / (4 * count)) ** 0.5 / (1 + weight)
    return centre - half, centre + half


def _interval(value: float, spread: float) -> tuple[float, float] | None:
    if spread == 0:
        return None  # the images at hand do not tell
    return value - Z_95 * spread, value + Z_95 * spread
