"""Scalars against hand computation, and the files that a run writes."""

import json
import logging
import math
import shutil
from collections import namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from gantrain import builders
from gantrain.metrics.metric import MetricValue
from gantrain.objectives import make_objective
from gantrain.run_io import progress as progress_module
from gantrain.run_io.metrics_jsonl import METRICS, RunFolderError, read_rows
from gantrain.run_io.progress import Progress
from gantrain.run_io.run_folder import RunFolder, check_free_space, read_content
from gantrain.run_io.scalars import pair_scalars
from tests.conftest import compose

REAL = torch.tensor([[1.0, -0.5], [2.0, 0.25]])
FAKE = torch.tensor([[-1.0, 0.5], [-2.0, -0.25]])
GENERATED = torch.tensor([[-3.0, -1.0], [0.0, 1.0]])
UPDATES = torch.tensor([[[1.0, 10.0], [3.0, 30.0]], [[5.0, 50.0], [7.0, 90.0]], [[-1.0, 2.0], [-3.0, 4.0]]])


def scalars(**options: Any) -> dict[str, float]:
    return pair_scalars(
        make_objective(**options),
        REAL,
        FAKE,
        GENERATED,
        UPDATES,
        d_updates=(len(UPDATES) - 1) * UPDATES.shape[1],
        notes={},
    )


def test_scalars_of_a_gan_discriminator_by_hand() -> None:
    found = scalars(disc="gan", gen="kl")
    real, fake, generated = (x.numpy().astype(np.float64) for x in (REAL, FAKE, GENERATED))

    def sigmoid(x: np.ndarray) -> np.ndarray:
        return 1 / (1 + np.exp(-x))

    wanted = {
        "loss/discriminator": 4.0,
        "loss/generator": -2.0,
        "gradient_norm/discriminator": 45.0,
        "gradient_norm/generator": 3.0,
        "logit/real": real.mean(),
        "logit/fake": fake.mean(),
        "logit/generated": generated.mean(),
        "accuracy": (3 / 4 + 3 / 4) / 2,
        "D/real": sigmoid(real).mean(),
        "D/fake": sigmoid(fake).mean(),
        "D/generated": sigmoid(generated).mean(),
        "log_ratio/real": real.mean(),
        "log_ratio/fake": fake.mean(),
        "log_ratio/real_std": real.std(),
        "log_ratio/fake_std": fake.std(),
        "ratio/E_p[r]": np.exp(fake).mean(),
        "ratio/E_q[1/r]": np.exp(-real).mean(),
    }
    assert found.keys() == wanted.keys()
    for name, value in wanted.items():
        assert found[name] == pytest.approx(value, rel=1e-6), name


def test_scalars_of_other_discriminators() -> None:
    kl = scalars(disc="kl")
    assert kl["log_ratio/real"] == pytest.approx(float(REAL.mean()) - 1)
    assert kl["accuracy"] == pytest.approx((1 / 4 + 4 / 4) / 2)  # the boundary lies at v = 1
    assert scalars(disc="lsgan")["accuracy"] == pytest.approx((2 / 4 + 3 / 4) / 2)
    assert scalars(disc="relativistic")["accuracy"] == pytest.approx(3 / 4)
    assert "accuracy" not in scalars(disc="wasserstein")
    assert "D/real" not in scalars(disc="hinge")
    bounded = scalars(disc="gan", gen="kl", max_log_ratio=0.9)
    assert bounded["log_ratio/clipped"] == pytest.approx(3 / 4)
    assert bounded["log_ratio/real"] == pytest.approx(float(REAL.mean()))  # a bound must not hide the drift


def test_pearson_logits_without_a_ratio_are_counted_and_excluded_from_means() -> None:
    found = scalars(disc="pearson")
    defined = np.log1p(np.array([-1.0, 0.5, -0.25]) / 2)
    # v = -2 is r = 0, whose logarithm is -inf
    assert found["log_ratio/fake"] == -math.inf
    assert found["ratio/E_p[r]"] == pytest.approx(np.append(np.exp(defined), 0).mean())
    assert found["log_ratio/undefined"] == pytest.approx(1 / 12)  # the generated -3


def test_rows_are_json_and_resuming_drops_those_after_the_checkpoint(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run", {"seed": 0}, "cpu")
    folder.scalars(1, {"loss": 1.5, "log": -math.inf})
    folder.measurements(2, "ema", [MetricValue("fid", 12.5, {"samples": 10})])
    folder.scalars(3, {"loss": 3.0})
    folder.close()
    path = tmp_path / "run" / METRICS
    rows = read_rows(path)
    assert len(rows) == 3
    assert rows[0] == {"step": 1, "kind": "train", "loss": 1.5, "log": None}
    assert rows[1]["protocol"] == {"samples": 10, "network": "ema", "step": 2}
    resumed = RunFolder(tmp_path / "run", {"seed": 0}, "cpu", resume_step=2)
    resumed.scalars(3, {"loss": 30.0})
    resumed.close()
    assert [(row["step"], row.get("loss")) for row in read_rows(path)] == [(1, 1.5), (2, None), (3, 30.0)]
    starts = json.loads((tmp_path / "run" / "run.json").read_text())
    assert [start["resumed_at_step"] for start in starts] == [None, 2]


def test_resuming_removes_temporary_files_of_the_run_only(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run", {"seed": 1}, "cpu")
    folder.close()
    own = [folder.path / ".last.pt.x.part", folder.path / ".config.yaml.part", folder.samples / ".training.part.gif"]
    others = [folder.path / ".evaluation-step6.json.part", folder.path / ".export-ema.x.part"]
    for path in (*own, others[0]):
        path.write_text("half")
    others[1].mkdir()
    RunFolder(tmp_path / "run", {"seed": 1}, "cpu", resume_step=0).close()
    assert not any(path.exists() for path in own)
    assert all(path.exists() for path in others)


Usage = namedtuple("Usage", "total used free")


def test_too_little_disk_space_for_checkpoints_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage, asked = Usage(10**12, 0, 4_000_000), []

    def disk_usage(path: Path) -> Usage:
        asked.append(path)
        return usage

    monkeypatch.setattr(shutil, "disk_usage", disk_usage)
    check_free_space(tmp_path / "a" / "b", 1_000_000, 4)
    with pytest.raises(RunFolderError, match=r"checkpoints take 8 MB.* has 4 MB free; make room, .*hydra\.run\.dir"):
        check_free_space(tmp_path / "a" / "b", 2_000_000, 4)
    assert asked == [tmp_path, tmp_path], "the folder itself does not exist yet"
    usage = Usage(0, 0, 0)  # a file system that reports no size
    check_free_space(tmp_path, 10**15, 4)


def test_a_run_without_disk_space_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**12, 10**12, 1000))
    words = ("data=ring", "model=mlp", "model.width=8", "metrics=none", "schedule.steps=2", "device=cpu")
    with pytest.raises(RunFolderError, match="0 MB free"):
        builders.run(compose(*words), tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("seconds", "warns"), [(100.0, True), (0.001, False)])
def test_a_slow_run_on_a_cpu_warns_after_its_first_steps(
    seconds: float, warns: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    clock = [0.0]
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: clock[0])
    with caplog.at_level(logging.INFO), Progress(first=0, steps=40, images=lambda s: 64 * s, warn_slow=True) as bar:
        for step in range(1, 21):
            clock[0] += 100 * seconds
            bar.advance(step)
            with bar.paused():
                clock[0] += 7
        assert bar.training_seconds() == pytest.approx(20 * 100 * seconds)
        assert bar.images_per_second(20) == pytest.approx(64 / (100 * seconds))
    assert ("this CPU; try a smaller run: experiment=demo" in caplog.text) == warns
    assert ("step 20/40  " in caplog.text) == warns, "a line every 15 seconds without a terminal"


def test_an_animation_of_many_grids_is_thinned_and_ends_with_the_last(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run", {"seed": 1}, "cpu")
    for step in range(401):
        Image.new("L", (4, 4), round(255 * step / 400)).save(folder.samples / f"{step:07d}.png")
    path = folder.animate()
    folder.close()
    assert path is not None
    with Image.open(path) as animation:
        assert 100 <= animation.n_frames <= 200  # type: ignore[attr-defined]
        animation.seek(animation.n_frames - 1)  # type: ignore[attr-defined]
        assert animation.convert("L").getpixel((0, 0)) == 255


@pytest.mark.parametrize("text", ["[" * 100_000, "{", "[]", "\0", ""])
def test_damaged_json_is_read_as_empty(text: str, tmp_path: Path) -> None:
    (tmp_path / "job.json").write_text(text)
    assert read_content(tmp_path / "job.json") == {}
