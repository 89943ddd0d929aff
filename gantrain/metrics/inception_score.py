"""Inception Score (Salimans et al. 2016), computed by torch-fidelity."""

import torch
from torch import Tensor

from gantrain.metrics.bootstrap import interval_from_resamples, resample_counts
from gantrain.metrics.metric import HIGHER, INCEPTION, LOGITS, Metric, MetricContext, MetricSpec, MetricValue, ValueSpec

SPLITS = 10


class InceptionScoreMetric(Metric):
    """exp(E[KL(p(y|x) ‖ p(y))]) over ten splits of the generated images."""

    spec = MetricSpec(
        name="inception_score",
        help="Inception Score (Salimans et al. 2016), by torch-fidelity; uses no real images",
        values=(ValueSpec("inception_score", "Inception Score", HIGHER),),
        needs=(INCEPTION, LOGITS),
        min_samples=SPLITS,
    )

    def __init__(self, context: MetricContext) -> None:
        """Takes the Inception, which must have its classifier."""
        self._context = context

    def measure(self, images: Tensor, labels: Tensor | None) -> list[MetricValue]:
        """The score of uint8 images (N, 3, H, W), N at least 10."""
        context = self._context
        assert context.inception is not None
        logits = context.inception.logits(images).cpu()  # torch-fidelity draws its splits with NumPy
        value, std = inception_score(logits)
        shared = context.protocol(images)
        protocol = {key: shared[key] for key in ("samples", "weights", "weights_origin")}
        protocol["inception_score_std"] = std
        interval = None
        if context.bootstrap:
            resampled = []
            for counts in resample_counts(len(logits), context.bootstrap, what="the Inception Score"):
                drawn = torch.arange(len(logits)).repeat_interleave(counts.long())
                resampled.append(inception_score(logits[drawn])[0])
            interval = interval_from_resamples(value, resampled)
            protocol |= {"interval_over": "generated images, the real ones fixed", "bootstrap": context.bootstrap}
        return [MetricValue("inception_score", value, protocol, interval)]


def inception_score(logits: Tensor) -> tuple[float, float]:
    """Mean and standard deviation over the splits, from logits (N, 1008) on the CPU."""
    from torch_fidelity.metric_isc import KEY_METRIC_ISC_MEAN, KEY_METRIC_ISC_STD, isc_features_to_metric

    score = isc_features_to_metric(logits)
    return float(score[KEY_METRIC_ISC_MEAN]), float(score[KEY_METRIC_ISC_STD])
