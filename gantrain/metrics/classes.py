"""Class coverage: which classes of a labeled data set a generator produces, and how evenly, by a trained classifier."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from gantrain.metrics.classifier import train_classifier
from gantrain.metrics.metric import (
    HIGHER,
    IMAGES,
    LABELS,
    LOWER,
    Metric,
    MetricContext,
    MetricSpec,
    MetricValue,
    ValueSpec,
)
from gantrain.metrics.modes import ACCURACY_CHART, KL_CHART, histogram_values

CLASSES_SHOWN = 30  # in the figure


class ClassesMetric(Metric):
    """Class histogram of generated images against that of held-out real images, both by the same classifier."""

    spec = MetricSpec(
        name="classes",
        help="KL of the class shares from those of held-out real images and number of classes found, by a CNN trained "
        "once on the data set itself and cached; needs labels",
        values=(
            ValueSpec("classes_kl", "KL of the classes", LOWER, chart=KL_CHART, diversity=True),
            ValueSpec("classes", "classes", HIGHER, chart="classes found: higher is better", diversity=True),
            ValueSpec("class_accuracy", "class accuracy", HIGHER, chart=ACCURACY_CHART, conditional=True),
        ),
        data=(IMAGES,),
        needs=(LABELS,),
        figure_size=(8.0, 4.5),
    )

    def __init__(self, context: MetricContext) -> None:
        """Trains the classifier, or loads it from the cache."""
        real = context.real
        self._classifier = classifier = train_classifier(real.train, real.test, context.device)
        self._names = real.train.classes
        self._bootstrap = context.bootstrap
        counts = classifier.held_out_counts.double()
        self._real = (counts + 0.5) / (counts.sum() + 0.5 * len(counts))  # no share is 0
        self._protocol: dict[str, Any] = {
            "classifier": "CNN",
            "classifier_trained_on": classifier.trained_on,
            "held_out_accuracy": classifier.accuracy,
            "held_out_samples": classifier.held_out,
            "classifier_digest": classifier.digest,
        }

    def measure(self, images: Tensor, labels: Tensor | None) -> list[MetricValue]:
        """The values of uint8 images (N, 3, H, W).

        `classes`: number of classes with more than a thousandth of their share of real images. `classes_kl`:
        KL(generated shares ‖ real shares) in nats, which is (classes - 1)/(2N) for N real images. With the requested
        labels (N,), `class_accuracy`: share of images that the classifier assigns to their label.
        """
        predicted = self._classifier.classes(images)
        found = int((self._shares(predicted) > self._real / 1000).sum())
        return histogram_values(
            "classes",
            predicted,
            self._real,
            found,
            labels,
            {**self._protocol, "samples": len(images), "of": len(self._real)},
            bootstrap=self._bootstrap,
            real_accuracy=self._classifier.accuracy,
        )

    def draw(self, figure: Any, images: Tensor) -> None:
        """Draws the class shares of real and generated images side by side."""
        shares = self._shares(self._classifier.classes(images))
        errors = (shares * (1 - shares) / len(images)).sqrt()
        chosen = (shares - self._real).abs().topk(min(CLASSES_SHOWN, len(shares))).indices.sort().values
        axes = figure.subplots()
        x = np.arange(len(chosen))
        axes.bar(x - 0.2, 100 * self._real[chosen].numpy(), 0.4, color="#999999", label="held-out real images")
        axes.bar(
            x + 0.2,
            100 * shares[chosen].numpy(),
            0.4,
            yerr=196 * errors[chosen].numpy(),
            capsize=2,
            color="#0072B2",
            ecolor="#333333",
            label=f"{len(images):,} samples with 95 % intervals",
        )
        axes.set_xticks(x, [self._names[k] for k in chosen], rotation=30, ha="right")
        axes.set_ylabel("share of images [%]")
        total = len(shares)
        what = "Classes" if len(chosen) == total else f"{len(chosen)} of {total} classes, largest differences"
        right = 100 * self._classifier.accuracy
        axes.set_title(f"{what}, by a classifier with an accuracy of {right:.1f} % on held-out images")
        axes.legend()

    def _shares(self, predicted: Tensor) -> Tensor:
        return torch.bincount(predicted, minlength=len(self._real)).double() / len(predicted)
