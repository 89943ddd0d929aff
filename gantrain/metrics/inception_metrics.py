"""What is read from Inception features: FID, KID, Inception Score, precision, recall, density and coverage."""

from typing import Any

import torch
from torch import Tensor
from torch_fidelity.metric_isc import KEY_METRIC_ISC_MEAN, KEY_METRIC_ISC_STD, isc_features_to_metric

from gantrain.metrics.bootstrap import around, of_mean, of_share, resample_counts
from gantrain.metrics.features import InceptionFeatures
from gantrain.metrics.fid import Reference, fid, fid_of_halves
from gantrain.metrics.folded_inception import FEATURES, LOGITS
from gantrain.metrics.inception import InceptionWeights, WeightsError
from gantrain.metrics.kid import SUBSETS, kid, kid_of_resamples
from gantrain.metrics.metric import MetricValue
from gantrain.metrics.prdc import (
    DENSITY_NEIGHBOUR,
    PRC_NEIGHBOUR,
    density_and_coverage,
    precision_and_recall,
)

NAMES = ("fid", "kid", "inception_score", "precision", "recall", "density", "coverage")
ON_SAMPLES = {"interval_over": "generated images, the real ones fixed"}
ON_REFERENCE = {"interval_over": "real images, the generated ones fixed"}
ON_NEIGHBOURS = {"interval_over": "real images, neighborhoods and generated ones fixed: a fifth too narrow"}


class InceptionMetric:
    """Figures of generated images against a reference set, all from the same features."""

    def __init__(
        self,
        names: tuple[str, ...],
        inception: InceptionFeatures,
        *,
        reference: Tensor,
        reference_name: str,
        bootstrap: int = 0,
    ) -> None:
        """Prepares what is read of the reference, from the cache if it is there.

        Args:
            names: which of NAMES.
            inception: the network, with logits if inception_score is asked for.
            reference: uint8 real images (N, 3, H, W).
            reference_name: data set and split, for the protocol.
            bootstrap: resamples behind each interval; 0 for no intervals.
        """
        self.names = names
        self._inception = inception
        self._bootstrap = bootstrap
        self._protocol: dict[str, Any] = {
            "reference": reference_name,
            "reference_samples": len(reference),
            **inception.protocol,
        }
        self._statistics: Reference | None = None
        if "fid" in names:
            self._statistics = inception.statistics_of_reference(reference, reference_name)
        self._real = (reference, reference_name)
        if set(names) - {"inception_score", "fid"}:
            inception.of_reference(*self._real)

    @property
    def headline(self) -> str:
        """The figure that decides which checkpoint is best."""
        return next(name for name in NAMES if name in self.names)

    @property
    def _reference(self) -> Tensor:
        """The real images' features (M, 2048), which are there by then."""
        return self._inception.of_reference(*self._real)

    def measure(self, images: Tensor, labels: Tensor | None) -> list[MetricValue]:
        """The figures of uint8 images (N, 3, H, W) on the Inception's device, or on the CPU."""
        layers = self._inception.of(images)
        protocol = {**self._protocol, "samples": len(images)}
        found = []
        if "fid" in self.names:
            found.append(self._fid(layers[FEATURES], protocol))
        if "kid" in self.names:
            found.append(self._kid(layers[FEATURES], protocol))
        if "inception_score" in self.names:
            found.append(self._inception_score(layers[LOGITS], protocol))
        if {"precision", "recall"} & set(self.names):
            found += self._precision_recall(layers[FEATURES], protocol)
        if {"density", "coverage"} & set(self.names):
            found += self._density_coverage(layers[FEATURES], protocol)
        return found

    def _fid(self, features: Tensor, protocol: dict[str, Any]) -> MetricValue:
        assert self._statistics is not None, "prepared for fid"
        value = fid(features, self._statistics)
        interval = None
        if self._bootstrap:
            resamples = fid_of_halves(features, self._statistics, self._bootstrap)
            interval = around(value, resamples)
            protocol = {**protocol, **ON_SAMPLES, "halves": self._bootstrap}
        return MetricValue("fid", value, protocol, interval)

    def _kid(self, features: Tensor, protocol: dict[str, Any]) -> MetricValue:
        value, subsets = kid(features, self._reference)
        protocol = {**protocol, **subsets}
        interval = None
        if self._bootstrap:
            resamples = kid_of_resamples(features, self._reference, self._bootstrap)
            interval = around(value, resamples, noise=subsets["kid_std"] / SUBSETS**0.5)
            protocol = {**protocol, **ON_SAMPLES, "bootstrap": self._bootstrap}
        return MetricValue("kid", value, protocol, interval)

    def _inception_score(self, logits: Tensor, protocol: dict[str, Any]) -> MetricValue:
        logits = logits.cpu()  # torch-fidelity draws its splits with NumPy
        score = isc_features_to_metric(logits)
        value = float(score[KEY_METRIC_ISC_MEAN])
        protocol = {key: protocol[key] for key in ("samples", "weights", "weights_origin")}
        protocol["inception_score_std"] = float(score[KEY_METRIC_ISC_STD])
        interval = None
        if self._bootstrap:
            resamples = []
            for counts in resample_counts(len(logits), self._bootstrap, what="the Inception Score"):
                drawn = torch.arange(len(logits)).repeat_interleave(counts.long())
                resamples.append(float(isc_features_to_metric(logits[drawn])[KEY_METRIC_ISC_MEAN]))
            interval = around(value, resamples)
            protocol = {**protocol, **ON_SAMPLES, "bootstrap": self._bootstrap}
        return MetricValue("inception_score", value, protocol, interval)

    def _precision_recall(self, features: Tensor, protocol: dict[str, Any]) -> list[MetricValue]:
        precision, recall = precision_and_recall(features, self._reference)
        protocol = {**protocol, "neighbor": PRC_NEIGHBOUR}
        found = []
        for name, value, count, over in (
            ("precision", precision, protocol["samples"], ON_SAMPLES),
            ("recall", recall, protocol["reference_samples"], ON_REFERENCE),
        ):
            if name in self.names:
                interval = of_share(value, count) if self._bootstrap else None
                found.append(MetricValue(name, value, {**protocol, **(over if interval else {})}, interval))
        return found

    def _density_coverage(self, features: Tensor, protocol: dict[str, Any]) -> list[MetricValue]:
        density, coverage = density_and_coverage(features, self._reference)
        protocol = {**protocol, "neighbor": DENSITY_NEIGHBOUR}
        found = []
        for name, values, over in (("density", density, ON_SAMPLES), ("coverage", coverage, ON_NEIGHBOURS)):
            if name in self.names:
                interval = of_mean(values) if self._bootstrap else None
                found.append(
                    MetricValue(name, float(values.mean()), {**protocol, **(over if interval else {})}, interval)
                )
        return found


def check_classifier(names: tuple[str, ...], weights: InceptionWeights) -> None:
    """Refuses an Inception Score from weights that end at the features.

    Raises:
        WeightsError: inception_score is asked for and the weights hold no classifier.
    """
    if "inception_score" in names and not weights.has_classifier:
        raise WeightsError(
            f"inception_score is asked for, and the weights of {weights.origin} hold no classifier: point "
            "metrics.inception_weights (of evaluate: inception_weights) at torch-fidelity's own .pth, or leave it out"
        )
