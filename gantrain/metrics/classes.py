"""Which classes of a labeled data set a generator shows, and how evenly, by the set's own classifier."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from gantrain.metrics.bootstrap import around, of_share, resample_counts
from gantrain.metrics.classifier import ImageClassifier
from gantrain.metrics.metric import MetricValue

SHOWN_IN_PICTURE = 30  # classes


class ClassesMetric:
    """Class histogram of generated images against that of held-out real ones, both as the classifier sees them."""

    headline = "classes_kl"
    picture = "classes"

    def __init__(self, classifier: ImageClassifier, names: tuple[str, ...], *, bootstrap: int = 0) -> None:
        """Takes the classifier and the classes' names."""
        self._classifier = classifier
        self._names = names
        self._bootstrap = bootstrap
        counts = classifier.held_out_counts.double()
        self._real = (counts + 0.5) / (counts.sum() + 0.5 * len(counts))  # no class has no share at all
        self._protocol: dict[str, Any] = {
            "classifier": "CNN",
            "classifier_trained_on": classifier.trained_on,
            "held_out_accuracy": classifier.accuracy,
            "held_out_samples": classifier.held_out,
            "classifier_digest": classifier.digest,
        }

    def measure(self, images: Tensor, labels: Tensor | None) -> list[MetricValue]:
        """The figures of uint8 images (N, 3, H, W).

        `classes`: how many are shown at least once in a thousand times their share of real images; `classes_kl`:
        KL(generated shares ‖ real shares) in nats, which is (classes - 1)/(2N) for N real images; with the labels
        (N,) that were asked for `class_accuracy`, the share of images that show theirs.
        """
        found = self._classifier.classes(images)
        counts = self._counts(found)
        protocol = {**self._protocol, "samples": len(images), "of": len(self._real)}
        kl = self._kl(counts)
        interval, of_interval = None, {}
        if self._bootstrap:
            resamples = [self._kl(self._counts(found, drawn)) for drawn in self._resamples(len(images))]
            interval = around(kl, resamples)
            of_interval = {"interval_over": "generated images", "bootstrap": self._bootstrap}
        shown = int((counts / counts.sum() > self._real / 1000).sum())
        figures = [
            MetricValue("classes", float(shown), protocol),
            MetricValue("classes_kl", kl, {**protocol, **of_interval}, interval),
        ]
        if labels is not None:
            right = float((found == labels.cpu()).double().mean())
            interval = of_share(right, len(images)) if self._bootstrap else None
            of_real = {**protocol, "real": self._classifier.accuracy}
            figures.append(MetricValue("class_accuracy", right, of_real, interval))
        return figures

    def draw(self, picture: Any, images: Tensor) -> None:
        """Draws the shares of the classes, the data's beside the images', into a matplotlib Figure."""
        counts = self._counts(self._classifier.classes(images))
        shares = counts / counts.sum()
        errors = (shares * (1 - shares) / counts.sum()).sqrt()
        chosen = (shares - self._real).abs().topk(min(SHOWN_IN_PICTURE, len(counts))).indices.sort().values
        axes = picture.subplots()
        at = np.arange(len(chosen))
        axes.bar(at - 0.2, 100 * self._real[chosen].numpy(), 0.4, color="#999999", label="real images, held out")
        axes.bar(
            at + 0.2,
            100 * shares[chosen].numpy(),
            0.4,
            yerr=196 * errors[chosen].numpy(),
            capsize=2,
            color="#0072B2",
            ecolor="#333333",
            label=f"{len(images):,} samples, with 95 % of sampling error",
        )
        axes.set_xticks(at, [self._names[k] for k in chosen], rotation=30, ha="right")
        axes.set_ylabel("share of images [%]")
        what = "Classes" if len(chosen) == len(counts) else f"The {len(chosen)} of {len(counts)} classes furthest apart"
        right = 100 * self._classifier.accuracy
        axes.set_title(f"{what}, by a classifier that is right on {right:.1f} % of held-out images")
        axes.legend()

    def _counts(self, found: Tensor, drawn: Tensor | None = None) -> Tensor:
        return torch.bincount(found, weights=drawn, minlength=len(self._real)).double()

    def _kl(self, counts: Tensor) -> float:
        shares = counts / counts.sum()
        present = counts > 0
        return float((shares[present] * (shares[present] / self._real[present]).log()).sum())

    def _resamples(self, count: int) -> Any:
        return resample_counts(count, self._bootstrap, what="the classes")
