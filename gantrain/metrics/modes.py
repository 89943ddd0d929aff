"""Mode coverage: how many of the modes of the data, such as stacked digits, a generator produces, and how evenly."""

from typing import Any

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
        protocol = {"samples": len(images), "of": self._count, "classifier": self._classifier.name}
        uniform = torch.full((self._count,), 1 / self._count, dtype=torch.float64)
        covered = len(modes.unique())
        return histogram_values("modes", modes, uniform, covered, labels, protocol, bootstrap=self._bootstrap)


def histogram_values(
    name: str,
    predicted: Tensor,
    expected: Tensor,
    found: int,
    labels: Tensor | None,
    protocol: dict[str, Any],
    *,
    bootstrap: int,
    real_accuracy: float | None = None,
) -> list[MetricValue]:
    """`NAME`, `NAME_kl` and, with labels, `class_accuracy`.

    Args:
        name: `modes` or `classes`.
        predicted: (N,) modes or classes of generated images.
        expected: (K,) their shares in the data, above 0. `NAME_kl` is KL(predicted ‖ expected) in nats; for N samples
            of equal distributions it is about (K - 1)/(2N), not 0.
        found: the value of `NAME`.
        labels: (N,) requested from the generator.
        protocol: of all values.
        bootstrap: resamples for intervals; 0 for none.
        real_accuracy: `class_accuracy` of real images, if known.
    """

    def kl(weights: Tensor | None = None) -> float:
        share = torch.bincount(predicted, weights, minlength=len(expected)).double() / len(predicted)
        return float(torch.xlogy(share, share / expected).sum())

    value, interval, over, resamples = kl(), None, {}, {}
    if bootstrap:
        drawn = resample_counts(len(predicted), bootstrap, what=f"the {name}")
        interval = interval_from_resamples(value, [kl(counts) for counts in drawn])
        over, resamples = {"interval_over": "generated images"}, {"bootstrap": bootstrap}
    values = [
        MetricValue(name, float(found), protocol),
        MetricValue(f"{name}_kl", value, {**protocol, **over, **resamples}, interval),
    ]
    if labels is not None:
        accuracy = float((predicted == labels.cpu()).double().mean())
        real = {} if real_accuracy is None else {"real": real_accuracy}
        interval = interval_of_share(accuracy, len(predicted)) if bootstrap else None
        values.append(MetricValue("class_accuracy", accuracy, {**protocol, **over, **real}, interval))
    return values
