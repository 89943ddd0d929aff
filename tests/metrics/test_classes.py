"""Class coverage by a classifier that is right by construction: the figures by hand."""

import math

import pytest
import torch
from scipy import stats
from torch import Tensor

from gantrain.metrics.classes import ClassesMetric
from tests.metrics.test_classifier import of_brightness

NAMES = ("black", "grey", "white")


def shades(labels: list[int]) -> Tensor:
    """One plain image a label."""
    levels = torch.tensor([0, 128, 255], dtype=torch.uint8)
    return levels[torch.tensor(labels)].view(-1, 1, 1, 1).expand(-1, 3, 8, 8)


def figures(counts: list[int], labels: list[int], asked: Tensor | None = None) -> dict[str, float]:
    metric = ClassesMetric(of_brightness(0.9, counts), NAMES)
    return {figure.name: figure.value for figure in metric.measure(shades(labels), asked)}


def test_figures_by_hand() -> None:
    found = figures([4000, 4000, 2000], [0] * 60 + [1] * 40)
    assert found["classes"] == 2
    assert found["classes_kl"] == pytest.approx(0.6 * math.log(0.6 / 0.4), rel=1e-3)
    assert "class_accuracy" not in found
    even = figures([4000, 4000, 2000], [0] * 40 + [1] * 40 + [2] * 20)
    assert even == {"classes": 3, "classes_kl": pytest.approx(0.0, abs=1e-6)}


def test_a_class_that_real_images_never_show_has_a_share_all_the_same() -> None:
    found = figures([10, 10, 0], [2] * 50)
    assert found["classes"] == 1
    assert found["classes_kl"] == pytest.approx(math.log(21.5 / 0.5))


def test_a_class_shown_once_in_more_than_a_thousand_times_its_share_does_not_count() -> None:
    assert figures([500, 500, 5], [0] * 5000 + [2])["classes"] == 2
    assert figures([500, 500, 0], [0, 1] * 500 + [2])["classes"] == 3
    assert figures([5, 5, 990], [0, 1] * 1000 + [2])["classes"] == 2


def test_class_accuracy_compares_with_what_was_asked_for() -> None:
    asked = torch.tensor([0] * 30 + [1] * 70)
    found = figures([1, 1, 1], [0] * 60 + [1] * 40, asked)
    assert found["class_accuracy"] == pytest.approx(0.7)


def test_the_protocol_says_how_good_the_classifier_is() -> None:
    metric = ClassesMetric(of_brightness(0.9, [50, 50, 100]), NAMES, bootstrap=200)
    assert metric.headline == "classes_kl"
    _, kl, accuracy = metric.measure(shades([0] * 30 + [1] * 70), torch.tensor([0] * 100))
    assert kl.protocol["held_out_accuracy"] == 0.9
    assert kl.protocol["held_out_samples"] == 200
    assert accuracy.protocol["real"] == 0.9
    assert accuracy.interval is not None
    wilson = stats.binomtest(round(100 * accuracy.value), 100).proportion_ci(0.95, method="wilson")
    assert accuracy.interval[1] - accuracy.value == pytest.approx(wilson.high - accuracy.value, rel=1e-3)
    assert kl.interval is not None
    spread = 1.96 * abs(math.log(0.3 / 0.7)) * math.sqrt(0.3 * 0.7 / 100)  # the delta method: d KL/d p of two classes
    assert kl.interval[1] - kl.value == pytest.approx(spread, rel=0.25)
