"""The list of metrics, and look-ups in their specs. Of large packages it imports only PyTorch and NumPy."""

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from gantrain.metrics.classes import ClassesMetric
from gantrain.metrics.colors import ColorsMetric
from gantrain.metrics.fid import FIDMetric
from gantrain.metrics.inception_score import InceptionScoreMetric
from gantrain.metrics.kid import KIDMetric
from gantrain.metrics.memorization import DuplicatesMetric, NeighborsMetric
from gantrain.metrics.metric import DIGITS, IMAGES, LOWER, POINTS, Metric, MetricSpec, ValueSpec
from gantrain.metrics.modes import ModesMetric
from gantrain.metrics.points import PointsMetric
from gantrain.metrics.prdc import CoverageMetric, DensityMetric, PrecisionMetric, RecallMetric

METRICS: list[type[Metric]] = [
    FIDMetric,
    KIDMetric,
    InceptionScoreMetric,
    PrecisionMetric,
    RecallMetric,
    DensityMetric,
    CoverageMetric,
    ModesMetric,
    PointsMetric,
    ClassesMetric,
    ColorsMetric,
    DuplicatesMetric,
    NeighborsMetric,
]
"""All metrics: add yours here. A name occurs once per kind of data."""

AUTO = {IMAGES: ("fid", "kid"), DIGITS: ("modes",), POINTS: ("modes",)}
"""What `metrics.names=auto` means for each kind of data."""

MetricClass = TypeVar("MetricClass", bound=type[Metric])


def register_metric(metric: MetricClass) -> MetricClass:
    """Class decorator that adds a metric at run time, for notebooks and tests.

    Raises:
        ValueError: a metric with this name exists for the same data.
    """
    for other in METRICS:
        if other.spec.name == metric.spec.name and set(other.spec.data) & set(metric.spec.data):
            raise ValueError(f"a metric named {metric.spec.name!r} exists: {other.__module__}.{other.__name__}")
    METRICS.append(metric)
    return metric


def metric_names(data: str | None = None) -> tuple[str, ...]:
    """Names of the metrics for one kind of data; None for all."""
    specs = (metric.spec for metric in METRICS)
    return tuple(dict.fromkeys(spec.name for spec in specs if data is None or data in spec.data))


def find_metrics(names: Iterable[str], data: str) -> list[type[Metric]]:
    """The metrics with these names for one kind of data, in this order; names that do not fit are left out."""
    fitting = {metric.spec.name: metric for metric in METRICS if data in metric.spec.data}
    return [fitting[name] for name in names if name in fitting]


def find_specs(names: Iterable[str], data: str) -> list[MetricSpec]:
    """The specs of `find_metrics`."""
    return [metric.spec for metric in find_metrics(names, data)]


def make_metrics(names: Sequence[str], context: Any, data: str) -> list[Metric]:
    """Instantiates the metrics with these names.

    Args:
        names: names of metrics that fit the data.
        context: a `MetricContext`, or a `GaussianMixture` for points.
        data: the kind of data.
    """
    return [metric(context) for metric in find_metrics(names, data)]


def needing(names: Iterable[str], need: str) -> tuple[str, ...]:
    """The names of metrics with a need, such as INCEPTION."""
    needy = {metric.spec.name for metric in METRICS if need in metric.spec.needs}
    return tuple(name for name in names if name in needy)


def value_specs() -> dict[str, ValueSpec]:
    """The specs of all values by name, in the order of the metrics."""
    specs: dict[str, ValueSpec] = {}
    for metric in METRICS:
        for value in metric.spec.values:
            specs.setdefault(value.name, value)
    return specs


def lower_is_better(value_name: str) -> bool | None:
    """Whether a lower value is better, e.g. of `fid`; None without a direction, or for an unknown value."""
    spec = value_specs().get(value_name)
    return None if spec is None or spec.better is None else spec.better == LOWER
