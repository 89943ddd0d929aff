"""Mode coverage on stacked digits: how many of the 1,000 modes a generator reaches, and how evenly."""

import math

import torch
from torch import Tensor

from gantrain.data.digits import MODES, DigitClassifier
from gantrain.metrics.bootstrap import around, of_share, resample_counts
from gantrain.metrics.metric import MetricValue


def mode_statistics(modes: Tensor) -> tuple[int, float]:
    """Modes covered, and KL(histogram ‖ uniform) in nats, of mode numbers (N,).

    With N samples of the uniform itself the KL is about 999/(2N), not 0.
    """
    return _statistics(torch.bincount(modes, minlength=MODES).double())


def _statistics(counts: Tensor) -> tuple[int, float]:
    share = counts[counts > 0] / counts.sum()
    return int((counts > 0).sum()), float((share * (share.log() + math.log(MODES))).sum())


class ModesMetric:
    """Modes covered of 1,000 and KL from the uniform, by a classifier of each channel's digit."""

    headline = "modes"

    def __init__(self, *, bootstrap: int = 0) -> None:
        """Trains the classifier; `bootstrap` resamples stand behind each interval, 0 for none."""
        self._classifier = DigitClassifier()
        self._bootstrap = bootstrap

    def measure(self, images: Tensor, labels: Tensor | None) -> list[MetricValue]:
        """The figures of uint8 images (N, 3, 32, 32); with labels also how many show the mode asked for."""
        modes = self._classifier.modes(images)
        covered, kl = mode_statistics(modes)
        protocol = {"samples": len(images), "of": MODES, "classifier": "SVM on 8×8 scans"}
        interval, of_interval = None, {}
        if self._bootstrap:
            drawn = resample_counts(len(modes), self._bootstrap, what="the modes")
            resamples = [_statistics(torch.bincount(modes, weights=times, minlength=MODES))[1] for times in drawn]
            interval = around(kl, resamples)
            of_interval = {"interval_over": "generated images", "bootstrap": self._bootstrap}
        found = [
            MetricValue("modes", float(covered), protocol),
            MetricValue("modes_kl", kl, {**protocol, **of_interval}, interval),
        ]
        if labels is not None:
            right = float((modes == labels.cpu()).double().mean())
            interval = of_share(right, len(modes)) if self._bootstrap else None
            found.append(MetricValue("class_accuracy", right, protocol, interval))
        return found
