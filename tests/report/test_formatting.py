"""Metrics and numbers are written in one way everywhere."""

import statistics

import pytest

from gantrain.report.formatting import (
    SeedMean,
    counted,
    direction,
    duration,
    mean_and_std,
    named,
    number,
    title_of,
    uncertain,
)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ((14, 41, 28), "28 ± 14"),
        ((4.668, 4.9, 4.44), "4.67 ± 0.23"),
        ((52340, 51230, 48001), "50,524 ± 2,254"),
        ((0.00012, 0.00034), "0.00023 ± 0.00016"),
        ((14.25,), "14.25"),
        ((1000.0, 1000.0), "1,000 ± 0"),
        ((-0.04, 0.04), "0.000 ± 0.057"),
    ],
)
def test_means_have_as_many_digits_as_their_deviation_allows(values: tuple[float, ...], words: str) -> None:
    std = statistics.stdev(values) if len(values) > 1 else float("nan")
    assert mean_and_std(SeedMean.of(statistics.fmean(values), std, len(values))) == words


def test_extreme_deviations_are_written_with_two_digits() -> None:
    assert mean_and_std(None) == "–"
    assert mean_and_std(SeedMean(1.5e9, 2.5e7, 3)) == "1,500,000,000 ± 25,000,000"
    assert mean_and_std(SeedMean(0.5, 1e-9, 3)) == "0.5000 ± 1.0e-09"


def test_numbers() -> None:
    found = [number(value) for value in (None, 12, 12345.6, 3.14159, 0.00012345, 1e15)]
    assert found == ["–", "12", "12,346", "3.142", "0.0001234", "1.000e+15"]
    assert [number(value, sign="+") for value in (2.5, -2.5, 3)] == ["+2.500", "-2.500", "+3"]
    assert uncertain(-0.0004, 0.02, sign="+") == "+0.000"


def test_names() -> None:
    assert (title_of("fid"), title_of("modes_kl")) == ("FID", "KL of the modes")
    assert (named("fid_ema"), named("modes_kl_raw")) == ("FID (EMA)", "KL of the modes (raw)")
    assert [direction(name) for name in ("fid", "recall", "train_distance")] == [
        "lower is better",
        "higher is better",
        "descriptive only",
    ]
    assert (counted(1, "run"), counted(1200, "run")) == ("1 run", "1,200 runs")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.4, "0.4 s"),
        (0.0123, "0.01 s"),
        (0, "0 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (250, "4 min 10 s"),
        (3599.7, "1 h 00 min"),
        (7 * 3600 + 300, "7 h 05 min"),
        (86399, "1 d 00 h"),
        (3 * 86400 + 4 * 3600, "3 d 04 h"),
    ],
)
def test_durations(seconds: float, words: str) -> None:
    assert duration(seconds) == words
