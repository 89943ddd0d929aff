"""Planted copies are found, and nearest neighbors equal those of brute force."""

import pytest
import torch

from gantrain.metrics import memorization
from gantrain.metrics.memorization import DuplicatesMetric, NeighborsMetric, nearest
from gantrain.metrics.metric import Metric, MetricValue
from tests.metrics.contexts import Projection, context_of, noise


def values_of(metric: Metric, images: torch.Tensor) -> dict[str, MetricValue]:
    return {value.name: value for value in metric.measure(images, None)}


@pytest.mark.parametrize("tile", [(512, 8192), (16, 30), (7, 1)])
def test_neighbors_equal_those_of_brute_force_for_every_tile_size(
    tile: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(memorization, "QUERIES", tile[0])
    monkeypatch.setattr(memorization, "POINTS", tile[1])
    queries, points = noise(50, 0).flatten(1), noise(130, 1).flatten(1)
    points[7] = queries[3]
    distances = torch.cdist(queries.double(), points.double(), compute_mode="donot_use_mm_for_euclid_dist")
    wanted = distances.topk(4, largest=False)
    found, indices = nearest(queries, points, 4)
    assert torch.equal(indices, wanted.indices)
    torch.testing.assert_close(found.double(), wanted.values, rtol=1e-5, atol=1e-6)
    assert (float(found[3, 0]), int(indices[3, 0])) == (0.0, 7)
    own = torch.arange(130)
    found, indices = nearest(points, points, 3, own=own)
    assert not bool((indices == own.unsqueeze(1)).any())
    others = torch.cdist(points.double(), points.double()).fill_diagonal_(float("inf"))
    torch.testing.assert_close(found.double(), others.topk(3, largest=False).values, rtol=1e-4, atol=1e-3)


@pytest.mark.parametrize("inception", [None, Projection()], ids=["pixels", "features"])
def test_copies_of_training_images_are_counted(inception: Projection | None) -> None:
    train, images = noise(300, 2), noise(100, 3)
    images[:30] = train[40:70]
    metric = NeighborsMetric(context_of(train, inception=inception, bootstrap=20))
    values = values_of(metric, images)
    memorized = values["memorized"]
    assert memorized.value == pytest.approx(0.3, abs=0.06)
    assert memorized.protocol["real"] == pytest.approx(0.01, abs=0.005)
    assert memorized.protocol["space"] == ("Inception features" if inception else "pixels")
    assert memorized.interval is not None
    assert values["train_distance"].value == pytest.approx(0.7, abs=0.04)
    fresh = values_of(metric, noise(100, 4))
    assert fresh["memorized"].value <= 0.05
    assert fresh["train_distance"].value == pytest.approx(1.0, abs=0.05)


def test_samples_that_repeat_one_another_are_counted() -> None:
    metric = DuplicatesMetric(context_of(noise(300, 2)))
    images = noise(100, 5)
    images[80:] = images[:20]
    values = values_of(metric, images)
    assert values["exact_duplicates"].value == pytest.approx(0.2)
    assert values["duplicates"].value == pytest.approx(0.4, abs=0.04)  # the 20 and those that they repeat
    images[80:] = (images[:20].int() + 1).clamp(max=255).to(torch.uint8)  # nearly equal
    values = values_of(metric, images)
    assert values["exact_duplicates"].value == 0
    assert values["duplicates"].value == pytest.approx(0.4, abs=0.04)
    fresh = values_of(metric, noise(100, 6))["duplicates"]
    assert fresh.value <= 0.06
    assert fresh.protocol["real"] == pytest.approx(0.01, abs=0.011)


def test_figure_shows_the_first_samples_and_the_nearest_ones() -> None:
    from matplotlib.figure import Figure

    def image(axes: object) -> torch.Tensor:
        return torch.from_numpy(axes.images[0].get_array().data.copy()).permute(2, 0, 1)  # type: ignore[attr-defined]

    train, images = noise(60, 7), noise(30, 8)
    images[20] = train[11]
    figure = Figure(figsize=(10, 7))
    NeighborsMetric(context_of(train)).draw(figure, images)
    first, closest = figure.subfigs
    columns = memorization.COLUMNS + 1
    assert len(first.axes) == len(closest.axes) == memorization.ROWS * columns
    assert torch.equal(image(closest.axes[0]), images[20])
    assert torch.equal(image(closest.axes[1]), train[11])
    assert closest.axes[1].get_xlabel() == "0.00"
    assert torch.equal(image(first.axes[columns]), images[1])
