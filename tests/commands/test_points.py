"""Commands on a run of points."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from gantrain import build
from gantrain.commands import export, sample
from gantrain.commands.trained import load_run
from gantrain.config import ConfigError
from tests.conftest import compose


@pytest.fixture(scope="module")
def ring(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "ring"
    build.run(compose("data=ring", "model.width=8", "schedule.steps=2", "device=cpu", "metrics=none"), folder)
    return folder


def test_samples_of_points(ring: Path, tmp_path: Path) -> None:
    sample.run(sample.Options(run=str(ring), out=str(tmp_path / "map.png")))
    with Image.open(tmp_path / "map.png") as picture:
        assert picture.width > 3 * (picture.height - 30)  # three panels
    sample.run(sample.Options(run=str(ring), n=20, out=str(tmp_path / "points.npz"), rank="log_ratio"))
    with np.load(tmp_path / "points.npz") as arrays:
        assert arrays["points"].shape == (20, 2)
        assert (np.diff(arrays["log_ratio"]) <= 0).all()
        points = load_run(ring).networks.generator(torch.from_numpy(arrays["z"])).detach().numpy()
        np.testing.assert_allclose(arrays["points"], points, rtol=1e-5, atol=1e-6)


def test_what_is_about_images_is_refused(ring: Path) -> None:
    for refused in ({"format": "png"}, {"walk": 2.0}, {"interpolate": 4}):
        with pytest.raises(ConfigError, match="is about images, and data=ring is made of points"):
            sample.run(sample.Options(run=str(ring), **refused))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="export is about images"):
        export.run(export.Options(run=str(ring)))
