"""Tests of differences between groups over seeds: Welch's t-test with Holm's correction.

Seeds are assumed to be independent. Groups with equal seeds share the first weights, the order of the data and z, so a
paired test would be allowed; but it has half the degrees of freedom (4 instead of 8 for five seeds), which pays off
only for a correlation above 0.3. Over the 56 groups of docs/results/runs-digits.jsonl (five seeds, 800 steps and more)
the correlation is 0.00 on average for the modes and -0.01 for their KL; over the 16 of runs-points.jsonl 0.10 for KL
and 0.25 for high quality. Welch's test needs neither equal seeds nor equal variances.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

from gantrain.report.formatting import ROUNDING

LEVEL = 0.05
"""A corrected p-value up to this is called a difference."""


@dataclass(frozen=True, slots=True)
class Difference:
    """A group's mean minus the baseline's, in the metric's unit.

    Attributes:
        value: the difference.
        interval: its 95 % confidence interval, not corrected for other comparisons; None with one seed, or without
            variation over the seeds of both groups.
        p: two-sided p-value of Welch's t-test; None as above.
        freedom: degrees of freedom (Welch-Satterthwaite); None as above.
        above: share of the pairs (a seed of the group, one of the baseline) in which the group's value is larger, in
            [0, 1], ties counted as half: an estimate of the probability of superiority.
    """

    value: float
    interval: tuple[float, float] | None
    p: float | None
    freedom: float | None
    above: float


def welch(values: Sequence[float], baseline: Sequence[float]) -> Difference:
    """The difference of the means of two independent samples, each with at least one finite value (Welch 1947)."""
    value = sum(values) / len(values) - sum(baseline) / len(baseline)
    above = sum((x > y) + (x == y) / 2 for x in values for y in baseline) / (len(values) * len(baseline))
    if min(len(values), len(baseline)) < 2 or (_constant(values) and _constant(baseline)):
        return Difference(value, None, None, None, above)
    from scipy import stats

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # about samples without variation, which the test allows
        found = stats.ttest_ind(values, baseline, equal_var=False)
        interval = found.confidence_interval(1 - LEVEL)
    return Difference(value, (float(interval.low), float(interval.high)), float(found.pvalue), float(found.df), above)


def holm(p_values: Sequence[float]) -> list[float]:
    """P-values corrected for the number of tests (Holm 1979, step-down), in the same order.

    The smallest of m is multiplied by m, the next by m - 1, and so on; none becomes smaller than the one before.
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
