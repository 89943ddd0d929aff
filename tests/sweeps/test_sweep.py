"""Complete sweeps: their results, failing jobs, and that no job runs twice."""

import gc
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.tensorboard import SummaryWriter

from gantrain import builders
from gantrain.run_io.metrics_jsonl import METRICS
from gantrain.run_io.run_reader import find_runs, read_run
from gantrain.training.checkpoint import LAST, load_checkpoint
from tests.conftest import TINY, compose, python_path
from tests.same_runs import rows_without_times


def sweep(cwd: Path, *words: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "gantrain", *words],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": python_path(), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def outcome(process: subprocess.Popen[str]) -> tuple[int, str]:
    text, _ = process.communicate(timeout=300)
    return process.returncode, text


def wait_for_rows(folder: Path, count: int, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if (folder / METRICS).is_file() and (folder / METRICS).read_text().count("\n") >= count:
            return
        time.sleep(0.02)
    pytest.fail(f"{folder} never had {count} rows")


@pytest.mark.slow
def test_a_sweep_killed_twice_gives_the_same_runs(tmp_path: Path) -> None:
    words = [*TINY, "schedule.steps=60", "log.every_steps=1", "log.checkpoint_every_steps=7", "metrics.every_steps=30"]
    swept = ["loss.gen=alt,rkl", "seed=0,1"]
    names = [
        f"{n:03d}-loss.gen={gen},seed={seed}"
        for n, (gen, seed) in enumerate((g, s) for g in ("alt", "rkl") for s in (0, 1))
    ]
    first = sweep(tmp_path, "-m", *words, *swept, "hydra.sweep.dir=s")
    wait_for_rows(tmp_path / "s" / names[1], 12, first)
    first.kill()
    first.communicate()
    finished = (tmp_path / "s" / names[0] / LAST).stat().st_mtime_ns
    assert read_run(tmp_path / "s" / names[1]).state == "broken"
    (tmp_path / "s").rename(tmp_path / "moved")
    second = sweep(tmp_path, "sweep.resume=moved")
    wait_for_rows(tmp_path / "moved" / names[2], 10, second)
    second.kill()
    second.communicate()
    code, text = outcome(sweep(tmp_path, "sweep.resume=moved"))
    assert code == 0, text
    assert "4 of 4 jobs: 4 finished" in text
    folders = find_runs([tmp_path / "moved"])
    assert [folder.name for folder in folders] == names
    assert (folders[0] / LAST).stat().st_mtime_ns == finished
    starts = [[start["resumed_at_step"] for start in read_run(folder).starts] for folder in folders]
    assert starts[0] == starts[3] == [None]
    for of_one in starts[1:3]:
        assert len(of_one) == 2
        assert of_one[0] is None
        assert of_one[1] % 7 == 0
    for folder in folders:
        single = tmp_path / "single" / folder.name
        gen, seed = (part.partition("=")[2] for part in folder.name[4:].split(","))
        builders.run(compose(*words, f"loss.gen={gen}", f"seed={seed}"), single)
        assert rows_without_times(folder) == rows_without_times(single)
    starts_of_sweep = json.loads((tmp_path / "moved" / "sweep.json").read_text())["starts"]
    assert len(starts_of_sweep) == 3


@pytest.mark.slow
def test_invalid_pairs_and_a_loss_that_is_not_finite_fail_only_their_jobs(tmp_path: Path) -> None:
    words = [*TINY, "metrics=none", "schedule.steps=40", "optimizer.lr_d=0.3", "hydra.sweep.dir=s"]
    code, text = outcome(sweep(tmp_path, "-m", *words, "loss.disc=gan,pearson,hinge", "loss.gen=alt,neyman"))
    runs = {run.name: run for run in map(read_run, find_runs([tmp_path / "s"]))}
    states = {name: run.state for name, run in runs.items()}
    assert states == {
        "000-loss.disc=gan,loss.gen=alt": "finished",
        "001-loss.disc=gan,loss.gen=neyman": states["001-loss.disc=gan,loss.gen=neyman"],
        "002-loss.disc=pearson,loss.gen=alt": "finished",
        "003-loss.disc=pearson,loss.gen=neyman": "failed",
        "004-loss.disc=hinge,loss.gen=alt": "failed",
        "005-loss.disc=hinge,loss.gen=neyman": "failed",
    }
    assert code == 1
    assert "Traceback" not in text
    last = text[text.index("6 of 6 jobs:") :]
    for name, words_of_it in (
        ("003-loss.disc=pearson,loss.gen=neyman", "is not finite with disc=pearson gen=neyman"),
        ("004-loss.disc=hinge,loss.gen=alt", "gen='alt' does not work with disc='hinge'"),
        ("005-loss.disc=hinge,loss.gen=neyman", "gen='neyman' does not work with disc='hinge'"),
    ):
        assert words_of_it in (runs[name].reason or "")
        line = next(line for line in last.splitlines() if name in line)
        assert words_of_it in line
    assert runs["005-loss.disc=hinge,loss.gen=neyman"].config["loss.gen"] == "neyman"
    again, text = outcome(sweep(tmp_path, "sweep.resume=s", "sweep.retry=true"))
    assert again == 1
    assert "step 4" in text or "is not finite" in text
    assert len(read_run(tmp_path / "s" / "003-loss.disc=pearson,loss.gen=neyman").starts) == 2
    assert len(read_run(tmp_path / "s" / "000-loss.disc=gan,loss.gen=alt").starts) == 1


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB"), ("out of memory", "9 GiB")),
        # a defect of ours keeps its traceback
        (ZeroDivisionError("of the test"), ("ZeroDivisionError: of the test", "in fails_once")),
    ],
)
def test_running_out_of_memory_and_bugs_fail_only_their_job(
    error: Exception, words: tuple[str, ...], tmp_path: Path, command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = builders.run

    def fails_once(config: Any, folder: Path, *rest: Any, **more: Any) -> Any:
        if config.seed == 0:
            raise error
        return run(config, folder, *rest, **more)

    monkeypatch.setattr("gantrain.builders.attempt.run", fails_once)
    code, text = command("-m", *TINY, "metrics=none", "seed=0,1", "hydra.sweep.dir=s")
    assert code == 1
    first, second = (read_run(folder) for folder in find_runs([tmp_path / "s"]))
    assert (first.state, second.state) == ("failed", "finished")
    for word in words:
        assert word in (first.reason or "")
    assert "1 finished, 1 failed" in text


def test_nothing_leaks_from_job_to_job(tmp_path: Path, command: Any) -> None:
    words = [*TINY, "model.d_dropout=0.3", "tricks.instance_noise=0.1", "metrics.every_steps=3"]
    assert command("-m", *words, "model.g_norm=batch,virtual", "seed=3", "hydra.sweep.dir=s")[0] == 0
    builders.run(compose(*words, "model.g_norm=virtual", "seed=3"), tmp_path / "single")
    together = tmp_path / "s" / "001-model.g_norm=virtual"
    assert rows_without_times(together) == rows_without_times(tmp_path / "single")
    one, other = (load_checkpoint(folder / LAST) for folder in (together, tmp_path / "single"))
    for network in ("generator", "discriminator", "ema"):
        assert all(torch.equal(value, other[network][name]) for name, value in one[network].items())
    assert one["seconds"] < 60

    gc.collect()
    assert not [thing for thing in gc.get_objects() if type(thing) is SummaryWriter and thing.file_writer is not None]


def test_an_experiment_that_is_a_sweep(tmp_path: Path, command: Any) -> None:
    words = [*TINY, "metrics=none", "schedule.steps=1", "seed=4,2", "hydra.sweep.dir=s"]
    code, text = command("experiment=[poole2016/rkl,seeds]", *words)
    assert code == 0, text
    runs = [read_run(folder) for folder in find_runs([tmp_path / "s"])]
    assert [(run.name, run.config["seed"], run.config["loss.gen"]) for run in runs] == [
        ("000-seed=4", 4, "rkl"),
        ("001-seed=2", 2, "rkl"),
    ]


def test_invalid_pairs_are_skipped_on_request(tmp_path: Path, command: Any) -> None:
    words = [*TINY, "metrics=none", "schedule.steps=1", "hydra.sweep.dir=s"]
    code, text = command("experiment=grid_divergences", *words, "loss.disc=hinge,gan", "loss.gen=linear,kl")
    assert code == 0, text
    states = {p.name: read_run(p).state for p in sorted((tmp_path / "s").iterdir()) if p.is_dir()}
    assert states == {
        "000-loss.disc=hinge,loss.gen=linear": "finished",
        "001-loss.disc=hinge,loss.gen=kl": "skipped",
        "002-loss.disc=gan,loss.gen=linear": "skipped",
        "003-loss.disc=gan,loss.gen=kl": "finished",
    }
    assert "4 of 4 jobs: 2 finished, 2 skipped" in text
