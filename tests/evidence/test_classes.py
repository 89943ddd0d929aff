"""Class coverage from features: the classifier on separable features, the figures by hand."""

import math

import pytest
import torch
from torch import Tensor

from gantrain.evidence.classes import FeatureClassifier

CENTRES = torch.randn(4, 32, generator=torch.Generator().manual_seed(0)) * 3


def features(labels: Tensor, seed: int) -> Tensor:
    noise = torch.randn(len(labels), 32, generator=torch.Generator().manual_seed(seed))
    return CENTRES[labels] + noise


def fitted() -> FeatureClassifier:
    labels = torch.arange(800) % 4
    return FeatureClassifier(features(labels, 1), labels)


def test_the_classifier_reads_separable_features_it_has_not_seen() -> None:
    classifier = fitted()
    labels = torch.randint(4, (500,), generator=torch.Generator().manual_seed(2))
    right = (classifier.classes(features(labels, 3)) == labels).double().mean()
    assert float(right) > 0.98
    assert classifier.accuracy == pytest.approx(float(right), abs=0.02)


def test_accuracy_is_that_of_images_held_out() -> None:
    """Labels without any relation to the features: chance, however well the seen ones can be fitted."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(4, (100,), generator=generator)
    classifier = FeatureClassifier(torch.randn(100, 400, generator=generator), labels)
    assert classifier.accuracy < 0.6


def test_figures_by_hand() -> None:
    labels = torch.tensor([0] * 60 + [1] * 20 + [2] * 20)
    figures = fitted().figures(features(labels, 4), None)
    assert figures["classes"] == 3
    wanted = 0.6 * math.log(0.6 / 0.25) + 2 * 0.2 * math.log(0.2 / 0.25)
    assert figures["classes_kl"] == pytest.approx(wanted, abs=0.02)
    assert "class_accuracy" not in figures
    even = torch.arange(400) % 4
    assert fitted().figures(features(even, 5), None)["classes_kl"] == pytest.approx(0.0, abs=1e-3)


def test_class_accuracy_compares_with_what_was_asked_for() -> None:
    labels = torch.arange(200) % 4
    asked = torch.where(torch.arange(200) < 50, (labels + 1) % 4, labels)
    assert fitted().figures(features(labels, 6), asked)["class_accuracy"] == pytest.approx(0.75, abs=0.02)


def test_the_real_shares_are_those_of_the_reference() -> None:
    labels = torch.tensor([0] * 300 + [1] * 100)
    order = torch.randperm(400, generator=torch.Generator().manual_seed(0))
    classifier = FeatureClassifier(features(labels, 1)[order], labels[order])
    same = classifier.figures(features(labels, 2), None)
    assert same["classes_kl"] == pytest.approx(0.0, abs=0.01)
    assert same["classes"] == 2
