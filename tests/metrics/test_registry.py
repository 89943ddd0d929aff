"""What every metric promises by its spec, and what is derived from the specs."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from gantrain.builders.charts import charts_of
from gantrain.config import ConfigError
from gantrain.data.digits import load_stacked_digits
from gantrain.data.points import ring
from gantrain.metrics import classifier, registry
from gantrain.metrics.metric import (
    DIGITS,
    HIGHER,
    IMAGES,
    LOWER,
    POINTS,
    Metric,
    MetricContext,
    MetricSpec,
    MetricValue,
    RealImages,
    ValueSpec,
    headline,
)
from gantrain.metrics.registry import METRICS, find_specs, lower_is_better, metric_names, register_metric, value_specs
from tests.conftest import REPOSITORY, compose
from tests.metrics.contexts import Projection, context_of, noise


def generated(metric: type[Metric]) -> tuple[object, Tensor]:
    """A context for the metric and 40 generated examples."""
    if POINTS in metric.spec.data:
        return ring(), ring().sample(40, torch.Generator().manual_seed(0))[0]
    context, images = context_of(noise(60, 0), inception=Projection(), bootstrap=20), noise(40, 1)
    if IMAGES not in metric.spec.data:
        digits, images = load_stacked_digits("train"), load_stacked_digits("test").images[:40]
        context = replace(context, real=RealImages(reference=digits, train=digits))
    return context, images


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.__name__)
@pytest.mark.parametrize("conditional", [False, True])
def test_values_protocol_interval_and_figure_are_those_of_the_spec(
    metric: type[Metric], conditional: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GANTRAIN_CACHE", str(tmp_path))
    monkeypatch.setattr(classifier, "MIN_STEPS", 2)
    context, examples = generated(metric)
    made = metric(context)
    values = made.measure(examples, torch.arange(40) % 2 if conditional else None)
    declared = [value.name for value in metric.spec.values if conditional or not value.conditional]
    assert sorted(value.name for value in values) == sorted(declared)
    for value in values:
        assert value.protocol["samples"] == 40
        if value.interval is not None:
            assert value.interval[0] <= value.value <= value.interval[1]
            assert value.protocol["interval_over"]
    if metric.spec.figure_size is not None and not conditional:
        from matplotlib.figure import Figure

        figure = Figure(figsize=metric.spec.figure_size)
        made.draw(figure, examples)
        assert figure.get_axes() or figure.subfigs


def test_names_are_unique_per_kind_of_data_and_auto_names_exist() -> None:
    for data in (IMAGES, DIGITS, POINTS):
        specs = [metric.spec for metric in METRICS if data in metric.spec.data]
        assert len({spec.name for spec in specs}) == len(specs)
        assert {spec.name for spec in find_specs(registry.AUTO[data], data)} == set(registry.AUTO[data])
        for spec in specs:
            assert headline([spec]) is not None
            assert len({value.name for value in spec.values}) == len(spec.values)
            assert spec.min_samples >= 2
    directions: dict[str, str | None] = {}
    for metric in METRICS:
        for value in metric.spec.values:
            assert value.better in (LOWER, HIGHER, None)
            assert directions.setdefault(value.name, value.better) == value.better
    assert lower_is_better("fid") is True
    assert lower_is_better("recall") is False
    assert lower_is_better("green_brown") is lower_is_better("unknown") is None


def test_the_first_metric_decides_which_checkpoint_is_best() -> None:
    assert headline(find_specs(("kid", "fid"), IMAGES)).name == "kid"  # type: ignore[union-attr]
    assert headline(find_specs(("modes",), POINTS)).name == "kl"  # type: ignore[union-attr]
    assert headline([]) is None
    describing = MetricSpec(name="a", help="", values=(ValueSpec("a", "a", None),))
    assert headline([describing]) is None
    assert headline([describing, *find_specs(("classes",), IMAGES)]).name == "classes_kl"  # type: ignore[union-attr]


class Brightness(Metric):
    spec = MetricSpec(
        name="brightness",
        help="mean brightness",
        values=(ValueSpec("brightness", "brightness", HIGHER),),
        min_samples=7,
    )

    def __init__(self, context: MetricContext) -> None:
        self.reference = context.real.reference.name

    def measure(self, images: Tensor, labels: Tensor | None) -> list[MetricValue]:
        return [MetricValue("brightness", float(images.float().mean()), {"reference": self.reference})]


def test_a_registered_metric_is_known_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"metrics.names='brightness' is unknown; choose from \[fid, kid, "):
        compose("metrics.names=[brightness]")
    monkeypatch.setattr(registry, "METRICS", [*METRICS])
    register_metric(Brightness)
    assert metric_names(IMAGES)[-1] == metric_names()[-1] == "brightness"
    config = compose("metrics.names=[brightness,colors]")
    assert headline(config.metric_specs) == Brightness.spec.values[0]
    assert "brightness: higher is better" in [chart.title for chart in charts_of(config)]
    assert list(value_specs())[-1] == "brightness"
    with pytest.raises(ConfigError, match=r"metrics.samples=5 must be between 7 .*brightness needs at least 7"):
        compose("metrics.names=[brightness]", "metrics.samples=5")
    with pytest.raises(ConfigError, match=r"metrics.names=brightness cannot be computed on data=ring \(points\)"):
        compose("data=ring", "model=mlp", "metrics.names=[brightness]")
    with pytest.raises(ValueError, match="'brightness' exists"):
        register_metric(Brightness)


def test_the_registry_imports_no_heavy_library() -> None:
    """The configuration imports it, so it decides how long `--help` takes."""
    heavy = ("sklearn", "scipy", "torch_fidelity", "torchvision", "matplotlib")
    code = f"import sys, gantrain.metrics.registry; print([m for m in {heavy} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=REPOSITORY)
    assert done.stdout.strip() == "[]"
