"""Whole sweeps: what they leave, what goes wrong in them, and that nothing runs twice."""

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
from gantrain.training.checkpoint import LAST, PREVIOUS, load_checkpoint
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
def test_a_sweep_killed_twice_ends_with_every_run_once_and_as_if_alone(tmp_path: Path) -> None:
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
        alone = tmp_path / "alone" / folder.name
        gen, seed = (part.partition("=")[2] for part in folder.name[4:].split(","))
        builders.run(compose(*words, f"loss.gen={gen}", f"seed={seed}"), alone)
        assert rows_without_times(folder) == rows_without_times(alone)
    starts_of_sweep = json.loads((tmp_path / "moved" / "sweep.json").read_text())["starts"]
    assert len(starts_of_sweep) == 3


@pytest.mark.slow
def test_impossible_pairs_and_a_run_that_is_not_finite_leave_the_rest_alone(tmp_path: Path) -> None:
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
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 9 GiB"), ("memory does not suffice", "9 GiB")),
        # a defect of ours keeps its traceback
        (ZeroDivisionError("of the test"), ("ZeroDivisionError: of the test", "in fails_once")),
    ],
)
def test_memory_that_does_not_suffice_and_defects_end_their_job_alone(
    error: Exception, words: tuple[str, ...], tmp_path: Path, command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = builders.run

    def fails_once(config: Any, folder: Path, *rest: Any, **more: Any) -> Any:
        if config.seed == 0:
            raise error
        return run(config, folder, *rest, **more)

    monkeypatch.setattr("gantrain.attempt.run", fails_once)
    code, text = command("-m", *TINY, "metrics=none", "seed=0,1", "hydra.sweep.dir=s")
    assert code == 1
    first, second = (read_run(folder) for folder in find_runs([tmp_path / "s"]))
    assert (first.state, second.state) == ("failed", "finished")
    for word in words:
        assert word in (first.reason or "")
    assert "1 finished, 1 failed" in text


def test_a_job_begun_and_killed_before_its_first_checkpoint_starts_anew(tmp_path: Path, command: Any) -> None:
    words = [*TINY, "metrics=none", "seed=0,1", "hydra.sweep.dir=s"]
    assert command("-m", *words)[0] == 0
    folder = tmp_path / "s" / "001-seed=1"
    before = rows_without_times(folder)
    for inside in folder.iterdir():
        if inside.name in (LAST, PREVIOUS, METRICS):
            inside.unlink()
    status = json.loads((folder / "status.json").read_text())
    (folder / "status.json").write_text(json.dumps({**status, "state": "running", "pid": 2**22 + 1, "step": 0}))
    code, text = command("sweep.resume=s")
    assert code == 0, text
    assert rows_without_times(folder) == before
    assert len(read_run(folder).starts) == 1
    for name in (LAST, PREVIOUS):
        (folder / name).unlink()
    (folder / "status.json").write_text(json.dumps({**status, "state": "running", "pid": 2**22 + 1, "step": 0}))
    code, text = command("sweep.resume=s")
    assert code == 1
    assert "has no last.pt to go on from" in text
    assert rows_without_times(folder) == before, "rows are never thrown away"


def test_a_run_killed_after_its_last_checkpoint_is_only_finished(tmp_path: Path, command: Any) -> None:
    assert command("-m", *TINY, "seed=0,1", "hydra.sweep.dir=s")[0] == 0
    folder = tmp_path / "s" / "000-seed=0"
    before = rows_without_times(folder)
    status = json.loads((folder / "status.json").read_text())
    (folder / "status.json").write_text(json.dumps({**status, "state": "running", "pid": 2**22 + 1, "step": 4}))
    code, text = command("sweep.resume=s")
    assert code == 0, text
    assert read_run(folder).state == "finished"
    assert rows_without_times(folder) == before


def test_more_steps_take_finished_runs_further(tmp_path: Path, command: Any) -> None:
    assert command("-m", *TINY, "metrics=none", "seed=0,1", "hydra.sweep.dir=s")[0] == 0
    assert command("sweep.resume=s", "schedule.steps=9")[0] == 0
    assert [load_checkpoint(folder / LAST)["step"] for folder in find_runs([tmp_path / "s"])] == [9, 9]
    code, text = command("sweep.resume=s")
    assert code == 0
    assert text.count("kept: finished at step 9") == 2


def test_a_second_process_is_kept_out(tmp_path: Path, command: Any) -> None:
    assert command("-m", *TINY, "metrics=none", "seed=0,1", "hydra.sweep.dir=s")[0] == 0
    holder = (
        "import sys, time; from filelock import FileLock\n"
        "with FileLock(sys.argv[1]): print('held', flush=True); time.sleep(60)"
    )
    for place, refusal in (("s", "the sweep in 's' is in use"), ("s/000-seed=0", "is in use by another process")):
        with subprocess.Popen(
            [sys.executable, "-c", holder, str(tmp_path / place / ".lock")], stdout=subprocess.PIPE, text=True
        ) as other:
            assert other.stdout is not None
            assert other.stdout.readline() == "held\n"
            code, text = command("sweep.resume=s", "schedule.steps=8")
            other.kill()
        assert code != 0
        assert refusal in text
    assert read_run(tmp_path / "s" / "000-seed=0").state == "finished", "what another process holds is not marked"


def test_what_a_resumed_sweep_may_not_change(tmp_path: Path, command: Any) -> None:
    assert command("-m", *TINY, "metrics=none", "seed=0,1", "hydra.sweep.dir=s")[0] == 0
    code, text = command("sweep.resume=s", "loss.gen=kl")
    assert code == 2
    assert "loss.gen=kl cannot be changed on sweep.resume" in text
    code, text = command("sweep.resume=nowhere")
    assert code == 2
    assert "sweep.json cannot be read there" in text
    code, text = command("-m", *TINY, "seed=0,1", "hydra.sweep.dir=s")
    assert code == 2
    assert "holds a sweep, and nothing is overwritten" in text
    code, text = command("-m", *TINY, "model=dcgan,sngn", "hydra.sweep.dir=t")
    assert code == 2
    assert "sngn" in text
    assert not (tmp_path / "t").exists()


def test_nothing_leaks_from_job_to_job(tmp_path: Path, command: Any) -> None:
    words = [*TINY, "model.d_dropout=0.3", "tricks.instance_noise=0.1", "metrics.every_steps=3"]
    assert command("-m", *words, "model.g_norm=batch,virtual", "seed=3", "hydra.sweep.dir=s")[0] == 0
    builders.run(compose(*words, "model.g_norm=virtual", "seed=3"), tmp_path / "alone")
    together = tmp_path / "s" / "001-model.g_norm=virtual"
    assert rows_without_times(together) == rows_without_times(tmp_path / "alone")
    one, other = (load_checkpoint(folder / LAST) for folder in (together, tmp_path / "alone"))
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


def test_pairs_that_do_not_exist_are_skipped_where_that_is_asked_for(tmp_path: Path, command: Any) -> None:
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
