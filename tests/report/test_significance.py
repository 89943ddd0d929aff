"""Tests over seeds: published examples, closed forms, and the error rate."""

import itertools
import math
import random

import numpy as np
import pytest
from scipy.stats import binom

from gantrain.report.significance import holm, welch

# Student 1908, extra hours of sleep by two drugs; R's manual prints t.test(extra ~ group, data = sleep).
FIRST = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
SECOND = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
TRIALS = 1000


def test_students_sleep_data_give_the_numbers_of_r() -> None:
    found = welch(FIRST, SECOND)
    assert found.value == pytest.approx(0.75 - 2.33)
    assert found.freedom == pytest.approx(17.776, abs=5e-4)
    assert found.p == pytest.approx(0.07939, abs=5e-6)
    assert found.interval == pytest.approx((-3.3654832, 0.2054832), abs=5e-8)


def test_degrees_of_freedom_are_welch_satterthwaite() -> None:
    values, baseline = [1.0, 2.0, 6.0], [9.0, 10.0, 11.0, 14.0]
    of_values, of_baseline = (4 + 1 + 9) / 2 / 3, (4 + 1 + 0 + 9) / 3 / 4  # squared errors of the means 3 and 11
    freedom = (of_values + of_baseline) ** 2 / (of_values**2 / 2 + of_baseline**2 / 3)
    assert welch(values, baseline).freedom == pytest.approx(freedom)


def test_two_seeds_each_equal_the_closed_form() -> None:
    found = welch([10.0, 12.0], [0.0, 2.0])
    t = 10 / math.sqrt(2)  # each variance is 2, and of each mean 1
    half = 0.95 * math.sqrt(2 / (4 * 0.975 * 0.025)) * math.sqrt(2)  # the quantile for 2 degrees in closed form
    assert found.freedom == pytest.approx(2)
    assert found.p == pytest.approx(1 - t / math.sqrt(2 + t**2))
    assert found.interval == pytest.approx((10 - half, 10 + half))


def test_one_group_without_variation_can_be_tested() -> None:
    found = welch([998.0, 1000.0, 999.0], [1000.0, 1000.0, 1000.0])
    assert found.freedom == pytest.approx(2)
    t = -1 / math.sqrt(1 / 3)
    assert found.p == pytest.approx(1 + t / math.sqrt(2 + t**2))
    assert found.above == pytest.approx((0 + 0.5 + 0) * 3 / 9)


@pytest.mark.parametrize(
    ("values", "baseline", "difference"),
    [
        ([1000.0, 1000.0], [1000.0, 1000.0], 0.0),
        ([990.0, 990.0, 990.0], [1000.0, 1000.0], -10.0),
        ([0.1 + 0.2, 0.3], [0.3, 0.3], 0.0),  # varies by rounding only
        ([0.0, 0.0], [0.0, 0.0], 0.0),
        ([3.0], [1.0, 2.0], 1.5),
        ([1.0, 2.0], [3.0], -1.5),
    ],
)
def test_nothing_is_tested_without_seeds_or_variation(
    values: list[float], baseline: list[float], difference: float
) -> None:
    found = welch(values, baseline)
    assert found.value == pytest.approx(difference, abs=1e-12)
    assert (found.interval, found.p, found.freedom) == (None, None, None)


def test_the_share_of_pairs_counts_ties_for_a_half() -> None:
    assert welch([1.0, 3.0], [2.0, 3.0]).above == (0 + 0 + 1 + 0.5) / 4
    assert welch([5.0, 6.0], [1.0, 2.0]).above == 1
    assert welch([1.0, 2.0], [5.0, 6.0]).above == 0


def test_holm_by_hand() -> None:
    # .005·4 = .02, .01·3 = .03, .03·2 = .06, and .04·1 rises to the .06 before it
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([0.03]) == [0.03]
    assert holm([]) == []


def test_holm_is_the_closed_test_by_bonferroni() -> None:
    """Marcus et al. 1976: rejected where every hypothesis on a set with it is, here each by Bonferroni."""
    source = random.Random(0)
    for _ in range(50):
        p_values = [source.random() ** 3 for _ in range(5)]
        everything = [s for size in range(1, 6) for s in itertools.combinations(range(5), size)]
        expected = [max(min(1, len(s) * min(p_values[i] for i in s)) for s in everything if k in s) for k in range(5)]
        assert holm(p_values) == pytest.approx(expected)


def test_the_family_wise_error_rate_is_5_percent() -> None:
    """Three groups no different from the baseline: one of three is called a difference in 5 % at most."""
    source = np.random.default_rng(1)
    corrected = uncorrected = 0
    for _ in range(TRIALS):
        baseline, *groups = (list(values) for values in source.normal(0, 1, (4, 5)))
        p_values = [p for values in groups if (p := welch(values, baseline).p) is not None]
        assert len(p_values) == 3
        corrected += min(holm(p_values)) <= 0.05
        uncorrected += min(p_values) <= 0.05
    low, high = binom.ppf(1e-4, TRIALS, 0.025), binom.ppf(1 - 1e-4, TRIALS, 0.05)
    assert low <= corrected <= high
    assert uncorrected > high
