"""Scalars against hand computation; the files and lines that a run writes."""

import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from gantrain.metrics.metric import MetricValue
from gantrain.objectives import make_objective
from gantrain.run_io import progress as progress_module
from gantrain.run_io.metrics_jsonl import RunFolderError, read_rows
from gantrain.run_io.progress import Progress
from gantrain.run_io.run_folder import RunFolder, read_content
from gantrain.run_io.scalars import pair_scalars

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


def test_scalars_read_other_discriminators_in_their_own_terms() -> None:
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


def test_pearson_logits_without_a_ratio_are_counted_and_left_out_of_means() -> None:
    found = scalars(disc="pearson")
    defined = np.log1p(np.array([-1.0, 0.5, -0.25]) / 2)
    # v = -2 is r = 0: its logarithm is -inf, and stands in the mean as such
    assert found["log_ratio/fake"] == -math.inf
    assert found["ratio/E_p[r]"] == pytest.approx(np.append(np.exp(defined), 0).mean())
    assert found["log_ratio/undefined"] == pytest.approx(1 / 12)  # the generated -3


def test_rows_are_json_and_resuming_drops_what_came_after_the_checkpoint(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run", {"seed": 0}, "cpu")
    folder.scalars(1, {"loss": 1.5, "log": -math.inf})
    folder.measurements(2, "ema", [MetricValue("fid", 12.5, {"samples": 10})])
    folder.scalars(3, {"loss": 3.0})
    folder.close()
    path = tmp_path / "run" / "metrics.jsonl"
    with path.open("a") as file:
        file.write('{"step": 4, "cut o')
    rows = read_rows(path)
    assert rows[0] == {"step": 1, "kind": "train", "loss": 1.5, "log": None}
    assert rows[1]["protocol"] == {"samples": 10, "network": "ema", "step": 2}
    assert len(rows) == 2 + 1
    damaged = tmp_path / "damaged.jsonl"
    damaged.write_text('{"step": 1, "kind": "train"}\n{"st\n{"step": 3, "kind": "train"}\n')
    with pytest.raises(RunFolderError, match="damaged in line 2 of 3"):
        read_rows(damaged)
    resumed = RunFolder(tmp_path / "run", {"seed": 0}, "cpu", resume_step=2)
    resumed.scalars(3, {"loss": 30.0})
    resumed.close()
    assert [(row["step"], row.get("loss")) for row in read_rows(path)] == [(1, 1.5), (2, None), (3, 30.0)]
    starts = json.loads((tmp_path / "run" / "run.json").read_text())
    assert [start["resumed_at_step"] for start in starts] == [None, 2]


@pytest.mark.parametrize(("seconds", "warns"), [(100.0, True), (0.001, False)])
def test_a_slow_run_on_a_cpu_says_so_after_its_first_steps(
    seconds: float, warns: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    clock = [0.0]
    monkeypatch.setattr(progress_module.time, "monotonic", lambda: clock[0])
    with Progress(first=0, steps=1000, images=lambda step: 64 * step, warn_slow=True) as bar:
        for step in range(1, 21):
            clock[0] += seconds
            bar.advance(step)
        assert bar.images_per_second(20) == pytest.approx(64 / seconds)
    text = capsys.readouterr().err
    assert ("27.8 hours on this CPU" in text) == warns
    assert ("experiment=demo" in text) == warns


def test_resuming_drops_what_its_own_killed_writes_left_and_no_other(tmp_path: Path) -> None:
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


def test_an_animation_of_many_pictures_is_thinned_and_ends_with_the_last(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "run", {"seed": 1}, "cpu")
    for step in range(401):
        folder.grid(step, torch.full((3, 4, 4), step / 400), f"{step:07d}")
    path = folder.animate()
    folder.close()
    assert path is not None
    with Image.open(path) as animation:
        assert 100 <= animation.n_frames <= 200  # type: ignore[attr-defined]
        animation.seek(animation.n_frames - 1)  # type: ignore[attr-defined]
        assert animation.convert("L").getpixel((0, 0)) == 255


@pytest.mark.parametrize("text", ["[" * 100_000, "{", "[]", "\0", ""])
def test_json_that_cannot_be_read_is_as_if_it_were_not_there(text: str, tmp_path: Path) -> None:
    (tmp_path / "job.json").write_text(text)
    assert read_content(tmp_path / "job.json") == {}
