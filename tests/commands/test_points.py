"""Commands on a run of points."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gantrain import builders
from gantrain.commands import evaluate, export, sample
from gantrain.commands.drawing import draw_samples
from gantrain.commands.trained import load_run
from gantrain.config import ConfigError
from gantrain.data.points import ring as density_of_ring
from gantrain.metrics.points import mode_statistics
from gantrain.training.checkpoint import CheckpointError
from tests.conftest import compose

VALUES = ("modes", "high_quality", "modes_kl", "kl")


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "ring"
    builders.run(compose("data=ring", "model.width=8", "schedule.steps=2", "device=cpu", "metrics=none"), folder)
    return folder


def test_points_are_sampled_as_a_map_or_as_arrays(ring: Path, tmp_path: Path) -> None:
    sample.run(sample.Options(run=str(ring), out=str(tmp_path / "map.png")))
    with Image.open(tmp_path / "map.png") as picture:
        assert picture.width > 3 * (picture.height - 30)  # three panels
    sample.run(sample.Options(run=str(ring), n=20, out=str(tmp_path / "points.npz"), rank="log_ratio"))
    with np.load(tmp_path / "points.npz") as arrays:
        assert arrays["points"].shape == (20, 2)
        assert (np.diff(arrays["log_ratio"]) <= 0).all()
        points = load_run(ring).networks.generator(torch.from_numpy(arrays["z"])).detach().numpy()
        np.testing.assert_allclose(arrays["points"], points, rtol=1e-5, atol=1e-6)


def test_options_for_images_are_refused_on_points(ring: Path) -> None:
    for refused in ({"format": "png"}, {"walk": 2.0}, {"interpolate": 4}):
        with pytest.raises(ConfigError, match="needs images, but data=ring consists of points"):
            sample.run(sample.Options(run=str(ring), **refused))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="export needs images"):
        export.run(export.Options(run=str(ring)))


def test_points_are_evaluated_before_and_after_rejection(ring: Path, tmp_path: Path) -> None:
    out = tmp_path / "found.json"
    evaluate.run(evaluate.Options(run=str(ring), seeds=2, samples=500, rejection=True, out=str(out)))
    found = {value["name"]: value for value in json.loads(out.read_text())["metric_values"]}
    assert set(found) == {f"{name}{end}" for name in VALUES for end in ("", "_rejection")}
    trained = load_run(ring)
    for rejection, end in ((False, ""), (True, "_rejection")):
        drawn = [draw_samples(trained, 500, seed, rejection=rejection) for seed in (0, 1)]
        wanted = np.mean([mode_statistics(points, density_of_ring())[1] for _, points in drawn])
        assert found[f"high_quality{end}"]["value"] == pytest.approx(wanted)
        assert ("accepted" in found[f"kl{end}"]["protocol"]) == rejection
    assert all("real" not in value["protocol"] for value in found.values())
    assert found["kl"]["value"] != found["kl_rejection"]["value"]


def test_a_checkpoint_file_given_as_run_folder_is_refused(ring: Path) -> None:
    with pytest.raises(CheckpointError, match="is a file; give the run's folder"):
        load_run(ring / "last.pt")


def test_evaluate_refuses_options_for_images_on_points(ring: Path) -> None:
    for words, said in (
        ({"metrics": ["fid"]}, "metrics=fid cannot be computed on points"),
        ({"reference": "digits"}, "reference=digits is for images"),
        ({"bootstrap": 50}, "bootstrap=50 is for images"),
    ):
        with pytest.raises(ConfigError, match=said):
            evaluate.run(evaluate.Options(run=str(ring), **words))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="rejection=True only applies with run="):
        evaluate.Options(images=str(ring), reference="digits", rejection=True)
    with pytest.raises(ConfigError, match="percentile is only used by rejection"):
        evaluate.Options(run=str(ring), percentile=50.0)
