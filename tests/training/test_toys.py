"""Runs on points: what they leave, that they resume exactly, and that a generator learns a density."""

from pathlib import Path

import pytest
import torch
from PIL import Image

from gantrain import builders
from gantrain.run_io.metrics_jsonl import read_rows
from gantrain.training.checkpoint import load_checkpoint
from tests.conftest import compose

SMALL = ("device=cpu", "model.width=8", "schedule.batch_size=16", "metrics.samples=100")
CONSTANT = ("schedule.lr_decay=constant", "schedule.lr_decay_from=0")  # or the run's length would change its steps


def train(folder: Path, *words: str) -> Path:
    builders.run(compose(*SMALL, *words), folder)
    return folder


def test_files_of_a_run_on_points(tmp_path: Path) -> None:
    run = train(tmp_path / "run", "data=ring", "schedule.steps=4", "log.grids_every_steps=2", "metrics.every_steps=2")
    figures = {row["name"] for row in read_rows(run / "metrics.jsonl") if row["kind"] == "metric"}
    assert figures == {"modes", "high_quality", "modes_kl", "kl"}
    pictures = {path.name for path in (run / "samples").iterdir()}
    assert pictures == {"real.png", "0000000.png", "0000002.png", "0000004.png", "training.gif"}
    with Image.open(run / "samples" / "training.gif") as animation:
        assert animation.n_frames == 3  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "words",
    [
        ("data=moons", "loss=hinge", "regularizer=gp"),
        ("data=grid", "loss=exact", "model.d_norm=spectral"),
        ("data=mixture", "loss=relativistic", "tricks.history=20"),
        ("data=ring", "loss=wasserstein", "regularizer=r1", "tricks.top_k=0.5"),
        ("data=ring", "loss.disc=hellinger", "loss.gen=tv", "regularizer=dragan", "precision=bf16"),
    ],
)
def test_techniques_independent_of_images_work_on_points_and_resume(tmp_path: Path, words: tuple[str, ...]) -> None:
    complete = train(tmp_path / "complete", *words, *CONSTANT, "schedule.steps=4")
    part = train(tmp_path / "part", *words, *CONSTANT, "schedule.steps=2")
    config, state = builders.resumed_config(part, {"schedule.steps": 4})
    builders.run(config, part, state)
    one, other = load_checkpoint(complete / "last.pt"), load_checkpoint(part / "last.pt")
    for network in ("generator", "discriminator", "ema"):
        for name, value in one[network].items():
            assert torch.equal(value, other[network][name]), name


@pytest.mark.slow
def test_a_generator_learns_a_mixture(tmp_path: Path) -> None:
    """Two Gaussians of unequal weight: the mean, the spread and the shares of the samples are those of the mixture."""
    words = (
        "data=mixture",
        "data.means=[[-1,0],[1,0]]",
        "schedule.steps=1500",
        "schedule.batch_size=64",
        "metrics.samples=4000",
    )
    run = train(tmp_path / "run", *words)
    last = {row["name"]: row["value"] for row in read_rows(run / "metrics.jsonl") if row["kind"] == "metric"}
    first = next(row["value"] for row in read_rows(run / "metrics.jsonl") if row.get("name") == "kl")
    assert last["modes"] == 2
    assert last["high_quality"] > 0.9
    assert last["modes_kl"] < 0.05
    assert last["kl"] < min(0.5, first)
