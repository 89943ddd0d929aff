"""Means over seeds, fewer points, and costs at a step."""

import math
import statistics

import pytest

from gantrain.report.learning_curves import cost_at, learning_curves


def test_means_are_over_the_seeds_that_reached_the_step() -> None:
    mean, own = learning_curves([[(10, 1.0), (20, 2.0), (30, 6.0)], [(10, 3.0), (20, 5.0)], [(15, 9.0)]])
    assert mean["step"].tolist() == [10, 15, 20, 30]
    assert mean["mean"].tolist() == [2.0, 9.0, 3.5, 6.0]
    assert mean["std"].tolist() == pytest.approx([math.sqrt(2), math.nan, 3 / math.sqrt(2), math.nan], nan_ok=True)
    assert mean["count"].tolist() == [2, 1, 2, 1]
    assert own[0]["value"].tolist() == [1.0, 2.0, 6.0]


def test_long_curves_are_averaged_over_equal_ranges() -> None:
    series = [(step, math.sin(step / 700)) for step in range(1, 10_001)]
    mean, (own,) = learning_curves([series], most_points=100)
    assert len(own) == 100
    assert own["step"].tolist() == mean["step"].tolist()
    bins = [series[k : k + 100] for k in range(99, 9_999, 100)]  # steps 100 to 199, ...: ranges of 100.01 steps
    for place in (1, 50, 90):
        step, value = own.iloc[place]
        nearest = min(bins, key=lambda of_bin, step=step: abs(statistics.mean(s for s, _ in of_bin) - step))  # type: ignore[misc]
        assert value == pytest.approx(statistics.mean(v for _, v in nearest), abs=2e-2)
    _, (short,) = learning_curves([[(step, float(step)) for step in range(300)]])
    assert short["value"].tolist() == [float(step) for step in range(300)]


def test_costs_are_linear_between_rows_and_beyond() -> None:
    steps, costs = (0, 5, 10, 15, 20, 40), [0.0, 10.0, 20.0, 60.0, 100.0, 200.0]
    assert cost_at([(10, 20.0), (20, 100.0)], steps) == pytest.approx(costs)
