"""Means over seeds, fewer points, and what a step cost."""

import math
import statistics

import pytest

from gantrain.report.learning_curves import cost_at, courses


def test_means_are_over_the_seeds_that_have_come_that_far() -> None:
    mean, own = courses([[(10, 1.0), (20, 2.0), (30, 6.0)], [(10, 3.0), (20, 5.0)], [(15, 9.0)]])
    assert mean.steps == [10, 15, 20, 30]
    assert mean.values == [2.0, 9.0, 3.5, 6.0]
    assert mean.stds == [pytest.approx(math.sqrt(2)), None, pytest.approx(3 / math.sqrt(2)), None]
    assert mean.counts == [2, 1, 2, 1]
    assert own[0].values == [1.0, 2.0, 6.0]


def test_long_curves_become_means_of_equal_ranges() -> None:
    series = [(step, math.sin(step / 700)) for step in range(1, 10_001)]
    mean, (own,) = courses([series], most_points=100)
    assert len(own.values) == 100
    assert own.steps == mean.steps
    bins = [series[k : k + 100] for k in range(99, 9_999, 100)]  # steps 100 to 199, ...: ranges of 100.01 steps
    for place in (1, 50, 90):
        nearest = min(bins, key=lambda of_bin: abs(statistics.mean(s for s, _ in of_bin) - own.steps[place]))
        assert own.values[place] == pytest.approx(statistics.mean(v for _, v in nearest), abs=2e-2)
    assert statistics.mean(own.values) == pytest.approx(statistics.mean(v for _, v in series), abs=1e-3)


def test_few_points_stay_as_they_are() -> None:
    _, (own,) = courses([[(step, float(step)) for step in range(300)]])
    assert own.values == [float(step) for step in range(300)]


@pytest.mark.parametrize(("step", "cost"), [(0, 0.0), (5, 10.0), (10, 20.0), (15, 60.0), (20, 100.0), (40, 200.0)])
def test_costs_lie_on_the_line_between_rows(step: float, cost: float) -> None:
    assert cost_at([(10, 20.0), (20, 100.0)], step) == pytest.approx(cost)
    assert cost_at([], step) is None
