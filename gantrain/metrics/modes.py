"""Mode coverage on stacked digits: how many of the 1,000 modes a generator produces, and how evenly."""

import math

import torch
from torch import Tensor

from gantrain.metrics.bootstrap import interval_from_resamples, interval_of_share, resample_counts
from gantrain.metrics.metric import DIGITS, HIGHER, LOWER, Metric, MetricContext, MetricSpec, MetricValue, ValueSpec

MODES = 1000
MODES_CHART = "modes found: higher is better"
KL_CHART = "KL from the data (of modes, classes or points): down to 0"
ACCURACY_CHART = "share of samples that show the class of their label: higher is better"


class ModesMetric(Metric):
    """Number of modes covered and KL from the uniform distribution, by a classifier of each channel's digit."""

    spec = MetricSpec(
        name="modes",
        help="how many of the 1,000 modes of stacked digits are produced, and KL of their shares from uniform",
        values=(
            ValueSpec("modes", "modes", HIGHER, chart=MODES_CHART, diversity=True),
            ValueSpec("modes_kl", "KL of the modes", LOWER, chart=KL_CHART, diversity=True),
            ValueSpec("class_accuracy", "class accuracy", HIGHER, chart=ACCURACY_CHART, conditional=True),
        ),
        data=(DIGITS,),
    )

    def __init__(self, context: MetricContext) -> None:
        """Trains the classifier, in under a second."""
        from gantrain.data.digits import DigitClassifier

        self._classifier = DigitClassifier()
        self._bootstrap = context.bootstrap

    def measure(self, images: Tensor, labels: Tensor | None) -> list[MetricValue]:
        """The values of uint8 images (N, 3, 32, 32); with labels also the share that show the requested mode."""
        modes = self._classifier.modes(images)
        covered, kl = mode_statistics(modes)
        protocol = {"samples": len(images), "of": MODES, "classifier": "SVM on 8×8 scans"}
        interval, kl_protocol, over = None, protocol, {}
        if self._bootstrap:
            over = {"interval_over": "generated images"}
            counts = resample_counts(len(modes), self._bootstrap, what="the modes")
            resampled = [_statistics(torch.bincount(modes, weights=times, minlength=MODES))[1] for times in counts]
            interval = interval_from_resamples(kl, resampled)
            kl_protocol = {**protocol, **over, "bootstrap": self._bootstrap}
        values = [
            MetricValue("modes", float(covered), protocol),
            MetricValue("modes_kl", kl, kl_protocol, interval),
        ]
        if labels is not None:
            accuracy = float((modes == labels.cpu()).double().mean())
            interval = interval_of_share(accuracy, len(modes)) if self._bootstrap else None
            values.append(MetricValue("class_accuracy", accuracy, {**protocol, **over}, interval))
        return values


def mode_statistics(modes: Tensor) -> tuple[int, float]:
    """Number of different modes, and KL(histogram ‖ uniform) in nats, of mode numbers (N,).

    For N samples of the uniform distribution the KL is about 999/(2N), not 0.
    """
    return _statistics(torch.bincount(modes, minlength=MODES).double())


def _statistics(counts: Tensor) -> tuple[int, float]:
    share = counts[counts > 0] / counts.sum()
    return int((counts > 0).sum()), float((share * (share.log() + math.log(MODES))).sum())
