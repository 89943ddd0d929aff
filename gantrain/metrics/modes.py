"""Mode coverage: how many of the modes of the data, such as stacked digits, a generator produces, and how evenly."""

import math

import torch
from torch import Tensor

from gantrain.metrics.bootstrap import interval_from_resamples, interval_of_share, resample_counts
from gantrain.metrics.metric import DIGITS, HIGHER, LOWER, Metric, MetricContext, MetricSpec, MetricValue, ValueSpec
from gantrain.options import ConfigError

MODES_CHART = "modes found: higher is better"
KL_CHART = "KL from the data (of modes, classes or points): down to 0"
ACCURACY_CHART = "share of samples that show the class of their label: higher is better"


class ModesMetric(Metric):
    """Number of modes covered and KL from the uniform distribution, by the data set's classifier of modes."""

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
        """Builds the classifier; for digits this takes under a second."""
        reference = context.real.reference
        if reference.mode_classifier is None:
            raise ConfigError(
                f"metric modes needs a classifier of modes, which {reference.name} does not have; leave it out"
            )
        self._classifier = reference.mode_classifier()
        self._count = len(reference.classes)
        self._bootstrap = context.bootstrap

    def measure(self, images: Tensor, labels: Tensor | None) -> list[MetricValue]:
        """The values of uint8 images (N, 3, 32, 32); with labels also the share that show their label's mode."""
        modes = self._classifier.modes(images)
        covered, kl = mode_statistics(modes, self._count)
        protocol = {"samples": len(images), "of": self._count, "classifier": self._classifier.name}
        interval, kl_protocol, over = None, protocol, {}
        if self._bootstrap:
            over = {"interval_over": "generated images"}
            counts = resample_counts(len(modes), self._bootstrap, what="the modes")
            resamples = (torch.bincount(modes, weights=times, minlength=self._count) for times in counts)
            interval = interval_from_resamples(kl, [_statistics(resample)[1] for resample in resamples])
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


def mode_statistics(modes: Tensor, count: int) -> tuple[int, float]:
    """Number of different modes, and KL(histogram ‖ uniform) in nats, of mode numbers (N,) below `count`.

    For N samples of the uniform distribution the KL is about (count - 1)/(2N), not 0.
    """
    return _statistics(torch.bincount(modes, minlength=count).double())


def _statistics(counts: Tensor) -> tuple[int, float]:
    share = counts[counts > 0] / counts.sum()
    return int((counts > 0).sum()), float((share * (share.log() + math.log(len(counts)))).sum())
