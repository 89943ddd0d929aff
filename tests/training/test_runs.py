"""Complete runs: the files that they write, and exact resume."""

import importlib.metadata
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from gantrain import builders
from gantrain.config import to_dict
from gantrain.run_io.metrics_jsonl import RunFolderError, read_rows
from gantrain.training.checkpoint import load_checkpoint
from gantrain.training.nan_guard import NotFiniteError
from gantrain.training.train_step import TrainStep
from tests.conftest import TINY, compose, python_path
from tests.same_runs import assert_same


def train(folder: Path, *overrides: str) -> Path:
    builders.run(compose(*TINY, *overrides), folder)
    return folder


def resume(folder: Path, **asked: Any) -> Path:
    config, state = builders.resumed_config(folder, {key.replace("__", "."): value for key, value in asked.items()})
    builders.run(config, folder, state)
    return folder


def trained_state(folder: Path) -> dict[str, Any]:
    state = load_checkpoint(folder / "last.pt")
    state["config"] = {k: v for k, v in state["config"].items() if k != "resume"}
    del state["seconds"]  # measured
    return state


FILES = {"config.yaml", "run.json", "metrics.jsonl", "samples", "tensorboard", "status.json"}
CHECKPOINTS = {"last.pt", "previous.pt", "best.pt"}
SCALARS = {
    *("loss/discriminator", "loss/generator", "D/real", "D/fake", "accuracy", "log_ratio/real", "log_ratio/fake_std"),
    *("ratio/E_p[r]", "ratio/E_q[1/r]", "gradient_norm/discriminator", "gradient_norm/generator"),
    *("learning_rate/generator", "images_per_second"),
}


def test_files_of_a_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ("loss.gen=kl", "metrics.networks=[ema,raw]", "metrics.every_steps=3")
    run = train(tmp_path / "run", *words)
    assert {p.name for p in run.iterdir()} == FILES | CHECKPOINTS
    assert yaml.safe_load((run / "config.yaml").read_text()) == to_dict(compose(*TINY, *words))
    start = json.loads((run / "run.json").read_text())[0]
    assert start["versions"]["torch"] == importlib.metadata.version("torch")
    assert start["device"] == "cpu"
    rows = read_rows(run / "metrics.jsonl")
    scalars = [row for row in rows if row["kind"] == "train"]
    assert [row["step"] for row in scalars] == [1, 2, 3, 4, 5, 6]
    assert {name for name, value in scalars[-1].items() if isinstance(value, float)} >= SCALARS
    metrics = [(row["step"], row["name"], row["protocol"]["network"]) for row in rows if row["kind"] == "metric"]
    assert metrics == [(s, n, w) for s in (3, 6) for w in ("ema", "raw") for n in ("modes", "modes_kl")]
    assert rows[-1]["protocol"]["samples"] == 50
    assert {p.name for p in (run / "samples").iterdir()} == {f"{k:07d}.png" for k in range(7)} | {"real.png"}
    with Image.open(run / "samples" / "0000006.png") as grid:
        assert grid.size == (70, 70)  # 2×2 images of 32 with lines of 2
    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    tags = events.Tags()
    assert set(tags["images"]) == {"samples/generated", "samples/real"}
    assert {"loss/generator", "D/real", "metric/modes_ema", "metric/modes_raw"} <= set(tags["scalars"])
    assert [event.step for event in events.Scalars("loss/generator")] == [1, 2, 3, 4, 5, 6]
    assert events.Scalars("loss/generator")[3].value == pytest.approx(scalars[3]["loss/generator"], rel=1e-6)
    assert "_hparams_/session_start_info" in tags["tensors"] + list(events.summary_metadata)
    printed = capsys.readouterr().out
    for text in ("modes_ema", "samples", "tensorboard --logdir", "metrics.jsonl", "last.pt", "peak memory", "GiB"):
        assert text in printed


@pytest.mark.parametrize(
    "overrides",
    [
        ("model.d_norm=spectral", "loss.gen=kl"),
        ("model.d_norm=batch", "schedule.d_steps=2", "loss.disc=hinge"),
        ("model=poole", "model.width=2", "loss.disc=relativistic", "schedule.ema_decay=0", "metrics=none"),
        ("cond=acgan", "augment=ada", "augment.speed_images=200", "tricks.history=20", "tricks.instance_noise=0.1"),
        (
            *("cond=projection", "cond.generator=embedding", "model.g_norm=virtual", "model.d_norm=virtual"),
            *("model.virtual_reference=3", "regularizer=r1", "regularizer.interval=3", "schedule.early_d_steps=2"),
            *("schedule.early_until=3", "data.dequantize=true", "metrics=none"),
        ),
        ("schedule.lr_decay=linear", "precision=bf16", "model.prior=sphere", "loss.disc=jeffreys", "loss.gen=rkl"),
    ],
    ids=["spectral", "batch", "poole", "labels", "virtual", "decay"],
)
def test_a_resumed_run_equals_an_uninterrupted_one(tmp_path: Path, overrides: tuple[str, ...]) -> None:
    every = "log.checkpoint_every_steps=4"
    whole = train(tmp_path / "whole", *overrides, every, "schedule.steps=10")
    interrupt_at(tmp_path / "part", 7, *overrides, every, "schedule.steps=10")
    assert load_checkpoint(tmp_path / "part" / "last.pt")["step"] == 4
    part = resume(tmp_path / "part")
    assert_same(trained_state(part), trained_state(whole))
    steps = [row["step"] for row in read_rows(part / "metrics.jsonl") if row["kind"] == "train"]
    assert steps == list(range(1, 11))  # each step once
    starts = json.loads((part / "run.json").read_text())
    assert [start["resumed_at_step"] for start in starts] == [None, 4]
    for name in ("0000010.png", "0000005.png"):
        assert (part / "samples" / name).read_bytes() == (whole / "samples" / name).read_bytes()


def interrupt_at(folder: Path, step: int, *overrides: str) -> None:
    """A run in this process whose `step`th iteration raises, like a Ctrl-C."""
    original, count = TrainStep.run, 0

    def run(self: TrainStep) -> None:
        nonlocal count
        count += 1
        if count == step:
            raise KeyboardInterrupt
        original(self)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TrainStep, "run", run)
        with pytest.raises(KeyboardInterrupt):
            train(folder, *overrides)


@pytest.mark.slow
def test_a_killed_run_resumes_bit_for_bit(tmp_path: Path) -> None:
    """SIGKILL of a real process at an arbitrary step, resumed by the command line."""
    words = (*TINY, "schedule.steps=100", "log.checkpoint_every_steps=7", "metrics=none", "log.grids_every_steps=50")

    def start(*extra: str) -> subprocess.Popen[bytes]:
        with (tmp_path / "log.txt").open("ab") as log:
            command = [sys.executable, "-m", "gantrain", *extra]
            environment = {**os.environ, "PYTHONPATH": python_path()}
            return subprocess.Popen(command, cwd=tmp_path, env=environment, stdout=log, stderr=log)

    whole = start(*words, "hydra.run.dir=whole")
    assert whole.wait(timeout=300) == 0, (tmp_path / "log.txt").read_text()
    killed = start(*words, "hydra.run.dir=killed")
    log = tmp_path / "killed" / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while not (log.is_file() and len(log.read_text().splitlines()) > 20) and time.monotonic() < deadline:
        time.sleep(0.01)
    killed.kill()
    assert killed.wait() == -signal.SIGKILL
    assert 0 < load_checkpoint(tmp_path / "killed" / "last.pt")["step"] < 100
    assert start("resume=killed").wait(timeout=300) == 0, (tmp_path / "log.txt").read_text()
    states = [trained_state(tmp_path / name) for name in ("whole", "killed")]
    assert_same(*states)
    assert states[0]["step"] == 100


def test_a_finished_run_can_be_resumed_with_more_steps(tmp_path: Path) -> None:
    whole = train(tmp_path / "whole", "schedule.steps=9")
    short = train(tmp_path / "short", "schedule.steps=5")
    resume(short, schedule__steps=9)
    assert yaml.safe_load((short / "config.yaml").read_text())["schedule"]["steps"] == 9
    for part in ("generator", "discriminator", "ema", "optimizer_g", "batches", "train_step", "rng_cpu"):
        assert_same(trained_state(short)[part], trained_state(whole)[part], part)


def test_nothing_of_another_run_is_overwritten(tmp_path: Path) -> None:
    run = train(tmp_path / "run")
    before = {p: p.read_bytes() for p in run.rglob("*") if p.is_file()}
    with pytest.raises(RunFolderError, match="is not empty and will not be overwritten"):
        train(run, "seed=1")
    assert {p: p.read_bytes() for p in run.rglob("*") if p.is_file()} == before


def test_the_seed_determines_the_weights(tmp_path: Path) -> None:
    runs = (train(tmp_path / name, f"seed={seed}") for name, seed in (("a", 1), ("b", 1), ("c", 2)))
    first, same, other = (trained_state(run)["generator"] for run in runs)
    assert_same(first, same)
    assert not torch.equal(first["4.weight"], other["4.weight"])


def test_a_non_finite_loss_is_reported_with_step_side_and_objective(tmp_path: Path) -> None:
    words = ("loss.disc=pearson", "loss.gen=kl", "optimizer.lr_d=0.05", "metrics=none")
    message = r"^step \d+: the generator's loss is not finite with disc=pearson gen=kl.*last.pt contains step.*"
    with pytest.raises(NotFiniteError, match=message + r"loss\.max_log_ratio=10"):
        train(tmp_path / "run", *words, "schedule.steps=300")
    state = load_checkpoint(tmp_path / "run" / "last.pt")
    assert all(bool(value.isfinite().all()) for value in state["generator"].values())
    bounded = train(tmp_path / "bounded", *words, "loss.max_log_ratio=0.5", "schedule.steps=60")
    rows = [row for row in read_rows(bounded / "metrics.jsonl") if row["kind"] == "train"]
    assert len(rows) == 60
    assert 0 < max(row["log_ratio/clipped"] for row in rows) <= 1


def test_profiling_changes_no_result_and_writes_a_trace(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain = train(tmp_path / "plain", "schedule.steps=14", "metrics=none")
    profiled = train(tmp_path / "profiled", "schedule.steps=14", "metrics=none", "profile=true")
    (trace,) = (profiled / "profile").iterdir()
    assert f"trace        {trace}" in capsys.readouterr().out
    names = {event.get("name", "") for event in json.loads(trace.read_text())["traceEvents"]}
    assert len({name for name in names if name.startswith("ProfilerStep#")}) == 10
    assert any("convolution" in name for name in names)
    one, other = trained_state(plain), trained_state(profiled)
    assert one["config"].pop("profile") is not other["config"].pop("profile")
    assert_same(other, one)
