"""Class coverage with a classifier that is right by construction: values by hand."""

import math

import pytest
import torch
from scipy import stats
from torch import Tensor

from gantrain.data import ImageSet
from gantrain.metrics import classes
from gantrain.metrics.classes import ClassesMetric
from gantrain.metrics.metric import MetricContext, MetricValue, RealImages
from tests.metrics.contexts import CPU
from tests.metrics.test_classifier import by_brightness

NAMES = ("black", "grey", "white")


def shades(labels: list[int]) -> Tensor:
    """One uniform image per label."""
    levels = torch.tensor([0, 128, 255], dtype=torch.uint8)
    return levels[torch.tensor(labels)].view(-1, 1, 1, 1).expand(-1, 3, 8, 8)


def measure(
    monkeypatch: pytest.MonkeyPatch,
    held_out_counts: list[int],
    labels: list[int],
    requested: Tensor | None = None,
    bootstrap: int = 0,
) -> dict[str, MetricValue]:
    """Values of shades with these labels, against a classifier that predicted these counts on held-out images."""
    monkeypatch.setattr(classes, "train_classifier", lambda *_: by_brightness(0.9, held_out_counts))
    train = ImageSet("shades", shades([0, 1, 2]), torch.arange(3), NAMES)
    context = MetricContext(real=RealImages(reference=train, train=train), device=CPU, bootstrap=bootstrap)
    return {value.name: value for value in ClassesMetric(context).measure(shades(labels), requested)}


@pytest.mark.parametrize(
    ("held_out", "labels", "found", "kl"),
    [
        ([4000, 4000, 2000], [0] * 60 + [1] * 40, 2, 0.6 * math.log(0.6 / 0.4)),
        ([4000, 4000, 2000], [0] * 40 + [1] * 40 + [2] * 20, 3, 0.0),
        ([10, 10, 0], [2] * 50, 1, math.log(21.5 / 0.5)),  # a class absent from real images has a small share
        # a class counts above a thousandth of its real share
        ([500, 500, 5], [0] * 5000 + [2], 2, None),
        ([500, 500, 0], [0, 1] * 500 + [2], 3, None),
        ([5, 5, 990], [0, 1] * 1000 + [2], 2, None),
    ],
)
def test_values_by_hand(
    held_out: list[int], labels: list[int], found: int, kl: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = measure(monkeypatch, held_out, labels)
    assert set(values) == {"classes", "classes_kl"}
    assert values["classes"].value == found
    if kl is not None:
        assert values["classes_kl"].value == pytest.approx(kl, rel=1e-3, abs=1e-6)


def test_protocol_and_intervals(monkeypatch: pytest.MonkeyPatch) -> None:
    requested = torch.tensor([0] * 40 + [1] * 60)
    values = measure(monkeypatch, [50, 50, 100], [0] * 30 + [1] * 70, requested, bootstrap=200)
    kl, accuracy = values["classes_kl"], values["class_accuracy"]
    assert (kl.protocol["held_out_accuracy"], kl.protocol["held_out_samples"]) == (0.9, 200)
    assert accuracy.value == pytest.approx(0.9)
    assert accuracy.protocol["real"] == 0.9
    assert accuracy.interval is not None
    wilson = stats.binomtest(90, 100).proportion_ci(0.95, method="wilson")
    assert accuracy.interval == pytest.approx((wilson.low, wilson.high), abs=1e-5)
    assert kl.interval is not None
    std = abs(math.log(0.3 / 0.7)) * math.sqrt(0.3 * 0.7 / 100)  # the delta method: d KL/d p of two classes
    assert kl.interval[1] - kl.value == pytest.approx(1.96 * std, rel=0.25)
