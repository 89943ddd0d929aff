"""Whether two run_groups' figures differ by more than their seeds do.

Seeds are taken to be independent, and the test is Welch's, also where both run_groups have the same ones. Equal seeds
share the first weights, the data's order and z, so that a paired test would be allowed; but it has half the degrees of
freedom, 4 instead of 8 for five seeds, which pays for a correlation above 0.3 only, and two trainings drift apart: over
the 56 run_groups of docs/results/runs-digits.jsonl (five seeds, 800 steps and more) it is 0.00 on average for the modes
and -0.01 for their KL, over the 16 of runs-points.jsonl 0.10 for KL and 0.25 for high quality. In the first hundreds of
steps it is larger; there Welch's test errs on the safe side. It needs neither equal seeds nor equal spreads, and an
objective that collapses now and then has a far larger one.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

from scipy import stats

LEVEL = 0.05
"""A corrected p-value up to this is called a difference."""
ROUNDING = 1e-12
"""Values that agree to this share of their size are taken to be equal."""


@dataclass(frozen=True, slots=True)
class Difference:
    """Of a run_group's mean to the baseline's, in the figure's unit.

    Attributes:
        value: run_group minus baseline.
        interval: 95 % confidence interval of it, by itself; None where nothing can be told: one seed, or no spread in
            either run_group.
        p: two-sided p-value of Welch's t-test, None likewise.
        freedom: its degrees of freedom (Welch–Satterthwaite), None likewise.
        above: share of the pairs (a seed of the run_group, one of the baseline) in which the run_group's figure is the
            larger one, in [0, 1], ties for a half: an estimate of the probability of superiority.
    """

    value: float
    interval: tuple[float, float] | None
    p: float | None
    freedom: float | None
    above: float


def welch(values: Sequence[float], baseline: Sequence[float]) -> Difference:
    """The difference of the means of two independent samples, each of at least one finite value (Welch 1947)."""
    value = sum(values) / len(values) - sum(baseline) / len(baseline)
    above = sum((x > y) + (x == y) / 2 for x in values for y in baseline) / (len(values) * len(baseline))
    if min(len(values), len(baseline)) < 2 or (_constant(values) and _constant(baseline)):
        return Difference(value, None, None, None, above)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # of one sample without spread, which the test allows
        found = stats.ttest_ind(values, baseline, equal_var=False)
        interval = found.confidence_interval(1 - LEVEL)
    return Difference(value, (float(interval.low), float(interval.high)), float(found.pvalue), float(found.df), above)


def holm(p_values: Sequence[float]) -> list[float]:
    """Corrected so that all of them together err in at most their level (Holm 1979, step-down), in the same order.

    The smallest of m is taken times m, the next times m − 1, and so on; none falls below the one before.
    """
    order = sorted(range(len(p_values)), key=lambda k: p_values[k])
    corrected = [0.0] * len(p_values)
    least = 0.0
    for place, k in enumerate(order):
        least = max(least, min(1.0, (len(p_values) - place) * p_values[k]))
        corrected[k] = least
    return corrected


def _constant(values: Sequence[float]) -> bool:
    return max(values) - min(values) <= ROUNDING * max(abs(value) for value in values)
