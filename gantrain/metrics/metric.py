"""The interface of a metric: a class with a `MetricSpec` that computes `MetricValue`s of generated images or points."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from gantrain.data import ImageSet

if TYPE_CHECKING:
    from gantrain.metrics.features import InceptionFeatures

T = TypeVar("T")

IMAGES, DIGITS, POINTS = "images", "digits", "points"
"""Kinds of data. Stacked digits are images whose 1,000 modes can be counted; points lie in the plane."""
INCEPTION, LOGITS, LABELS = "inception", "logits", "labels"
"""What a metric may need: features of the FID Inception, the output of its classifier, a labeled data set."""
LOWER, HIGHER = "lower", "higher"


@dataclass(frozen=True, slots=True)
class ValueSpec:
    """One value of a metric.

    Attributes:
        name: key in metrics.jsonl and TensorBoard.
        title: name in prose.
        better: LOWER, HIGHER, or None for a value without a better direction.
        chart: title of its TensorBoard chart, which values may share; None: "TITLE: BETTER is better".
        diversity: whether it measures the diversity of samples rather than their quality.
        conditional: whether it exists for class-conditional generators only.
    """

    name: str
    title: str
    better: str | None
    chart: str | None = None
    diversity: bool = False
    conditional: bool = False

    @property
    def chart_title(self) -> str:
        """The title of the TensorBoard chart."""
        return self.chart or f"{self.title}: {self.better} is better"


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricSpec:
    """What the configuration, charts, reports and `evaluate` need to know about a metric.

    Attributes:
        name: name in `metrics.names`.
        help: what it measures, for the table in the README.
        values: its values. The first one with a direction is its headline: if the metric comes first in
            `metrics.names`, that value decides which checkpoint is best.
        data: kinds of data that it can be computed on, of IMAGES, DIGITS, POINTS.
        needs: any of INCEPTION, LOGITS (with INCEPTION) and LABELS.
        min_samples: fewest generated examples.
        min_reference: fewest real images.
        figure_size: width and height in inches of what `Metric.draw` draws; None if it draws nothing.
    """

    name: str
    help: str
    values: tuple[ValueSpec, ...]
    data: tuple[str, ...] = (IMAGES, DIGITS)
    needs: tuple[str, ...] = ()
    min_samples: int = 2
    min_reference: int = 2
    figure_size: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True)
class MetricValue:
    """A measured value, with the protocol that must be equal for two values to be comparable.

    Attributes:
        name: name of its `ValueSpec`.
        value: the number.
        protocol: what it depends on besides the generator. `real`, if present, is the value for real images.
        interval: 95 % confidence interval over other samples; None if not requested or unknown.
    """

    name: str
    value: float
    protocol: dict[str, Any] = field(default_factory=dict)
    interval: tuple[float, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RealImages:
    """The real images that metrics compare with.

    Attributes:
        reference: what generated images are compared with.
        train: the training set, which is searched for copies.
        test: held-out images of the same classes, to test the classifier on; None: a fifth of `train` is used.
        for_inception: the part of `reference` that passes through the Inception, uint8 (N, 3, H, W); None: all of it.
    """

    reference: ImageSet
    train: ImageSet
    test: ImageSet | None = None
    for_inception: Tensor | None = None

    @property
    def inception_images(self) -> Tensor:
        """The real images (N, 3, H, W) that pass through the Inception."""
        return self.reference.images if self.for_inception is None else self.for_inception


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricContext:
    """What a metric of images may use, besides the generated images.

    Attributes:
        real: the real images.
        device: device of the computation.
        bootstrap: number of resamples of a confidence interval; 0 for no intervals.
        inception: the Inception; None if no requested metric needs it.
    """

    real: RealImages
    device: torch.device
    bootstrap: int = 0
    inception: "InceptionFeatures | None" = None
    _results: WeakTensorKeyDictionary = field(default_factory=WeakTensorKeyDictionary)

    def features(self, images: Tensor) -> Tensor:
        """Inception features (N, 2048) of uint8 images (N, 3, H, W)."""
        assert self.inception is not None, "built for a metric that needs it"
        return self.inception.features(images)

    def reference_features(self) -> Tensor:
        """Inception features (M, 2048) of the reference, cached on disk."""
        assert self.inception is not None, "built for a metric that needs it"
        return self.inception.of_reference(self.real.inception_images, self.real.reference.name)

    def protocol(self, images: Tensor) -> dict[str, Any]:
        """Protocol of a value computed from Inception features of these images and of the reference."""
        assert self.inception is not None, "built for a metric that needs it"
        return {
            "reference": self.real.reference.name,
            "reference_samples": len(self.real.inception_images),
            **self.inception.protocol,
            "samples": len(images),
        }

    def once(self, key: str, images: Tensor, compute: Callable[[], T]) -> T:
        """The result of `compute`, computed once for each key and images tensor and shared by all metrics."""
        results: dict[str, Any] = self._results.setdefault(images, {})
        if key not in results:
            results[key] = compute()
        found: T = results[key]
        return found


class Metric:
    """Base class of all metrics."""

    spec: ClassVar[MetricSpec]

    def __init__(self, context: Any) -> None:
        """Computes what depends only on the real data.

        Args:
            context: a `MetricContext`; for a metric of points the data's `GaussianMixture`.
        """

    def measure(self, images: Tensor, labels: Tensor | None) -> list[MetricValue]:
        """The values of generated examples.

        Args:
            images: uint8 (N, 3, H, W), or points (N, 2).
            labels: (N,) the classes that a conditional generator was given, else None.
        """
        raise NotImplementedError

    def draw(self, figure: Any, images: Tensor) -> None:
        """Draws into a matplotlib Figure; called by `evaluate` if the spec has a `figure_size`."""
        raise NotImplementedError


def headline(specs: Iterable[MetricSpec]) -> ValueSpec | None:
    """The value that decides which checkpoint is best: the first that has a direction and is always computed."""
    return next((value for spec in specs for value in spec.values if value.better and not value.conditional), None)
