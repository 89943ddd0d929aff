"""Copies that were planted are found, and neighbors are those of a loop."""

from pathlib import Path

import pytest
import torch
from torch import Tensor

from gantrain.metrics import memorization
from gantrain.metrics.memorization import NeighborsMetric, nearest
from gantrain.metrics.metric import MetricValue

CPU = torch.device("cpu")


def noise(count: int, seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, 8, 8), dtype=torch.uint8, generator=generator)


def figures(metric: NeighborsMetric, images: Tensor) -> dict[str, MetricValue]:
    return {figure.name: figure for figure in metric.measure(images, None)}


def test_neighbors_are_those_of_all_distances_whatever_the_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    queries, points = noise(50, 0).flatten(1), noise(130, 1).flatten(1)
    points[7] = queries[3]
    apart = torch.cdist(queries.double(), points.double(), compute_mode="donot_use_mm_for_euclid_dist")
    wanted = apart.topk(4, largest=False)
    for tile in ((512, 8192), (16, 30), (7, 1)):
        monkeypatch.setattr(memorization, "QUERIES", tile[0])
        monkeypatch.setattr(memorization, "POINTS", tile[1])
        distances, indices = nearest(queries, points, 4)
        assert torch.equal(indices, wanted.indices)
        torch.testing.assert_close(distances.double(), wanted.values, rtol=1e-5, atol=1e-6)
        assert float(distances[3, 0]) == 0.0
        assert int(indices[3, 0]) == 7
    own = torch.arange(130)
    distances, indices = nearest(points, points, 3, own=own)
    assert not bool((indices == own.unsqueeze(1)).any())
    others = torch.cdist(points.double(), points.double()).fill_diagonal_(float("inf"))
    torch.testing.assert_close(distances.double(), others.topk(3, largest=False).values, rtol=1e-4, atol=1e-3)


def test_copies_of_training_images_are_counted_in_pixels_and_in_features() -> None:
    train = noise(300, 2)
    images = noise(100, 3)
    images[:30] = train[40:70]
    for embed in (None, lambda given: given.flatten(1).float() @ torch.eye(192)[:, :100]):
        metric = NeighborsMetric(("neighbors",), train, "noise", embed=embed, device=CPU, bootstrap=20)
        assert metric.headline == "memorized"
        found = figures(metric, images)
        assert found["memorized"].value == pytest.approx(0.3, abs=0.06)
        assert found["memorized"].protocol["real"] == pytest.approx(0.01, abs=0.005)
        assert found["train_distance"].value == pytest.approx(0.7, abs=0.03)
        assert found["memorized"].interval is not None
        fresh = figures(metric, noise(100, 4))
        assert fresh["memorized"].value <= 0.05
        assert fresh["train_distance"].value == pytest.approx(1.0, abs=0.02)
        assert found["memorized"].protocol["space"] == ("pixels" if embed is None else "Inception features")


def test_samples_that_repeat_one_another_are_counted() -> None:
    metric = NeighborsMetric(("duplicates",), noise(300, 2), "noise", embed=None, device=CPU)
    assert metric.headline == "duplicates"
    assert metric.picture is None
    images = noise(100, 5)
    images[80:] = images[:20]
    found = figures(metric, images)
    assert found["exact_duplicates"].value == pytest.approx(0.2)
    assert found["duplicates"].value == pytest.approx(0.4, abs=0.04)  # the 20 and those that they repeat
    images[80:] = (images[:20].int() + 1).clamp(max=255).to(torch.uint8)  # nearly the same
    found = figures(metric, images)
    assert found["exact_duplicates"].value == 0
    assert found["duplicates"].value == pytest.approx(0.4, abs=0.04)
    fresh = figures(metric, noise(100, 6))
    assert fresh["duplicates"].value <= 0.06
    assert fresh["duplicates"].protocol["real"] == pytest.approx(0.01, abs=0.011)


def test_the_picture_shows_the_first_samples_and_the_nearest_ones(tmp_path: Path) -> None:
    from matplotlib.figure import Figure

    train, images = noise(60, 7), noise(30, 8)
    images[20] = train[11]
    metric = NeighborsMetric(("neighbors",), train, "noise", embed=None, device=CPU)
    picture = Figure(figsize=(10, 7))
    metric.draw(picture, images)
    first, closest = picture.subfigs
    columns = memorization.COLUMNS + 1
    assert len(first.axes) == len(closest.axes) == memorization.ROWS * columns
    shown = [torch.from_numpy(axes.images[0].get_array().data.copy()).permute(2, 0, 1) for axes in closest.axes[:2]]
    assert torch.equal(shown[0], images[20])
    assert torch.equal(shown[1], train[11])
    assert closest.axes[1].get_xlabel() == "0.00"
    own = torch.from_numpy(first.axes[columns].images[0].get_array().data.copy()).permute(2, 0, 1)
    assert torch.equal(own, images[1])
