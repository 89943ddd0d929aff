"""Sweeps that are taken up again after odd ends: nothing is trained twice, nothing is lost, nothing is stuck."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gantrain import builders
from gantrain.run_io.run_folder import SWEEP
from gantrain.run_io.run_reader import find_runs, read_run
from gantrain.run_io.status import mark, read_status
from gantrain.training.checkpoint import LAST, load_checkpoint
from tests.conftest import TINY, compose, python_path
from tests.same_runs import rows_without_times

TWO = (*TINY, "metrics=none", "seed=0,1", "hydra.sweep.dir=s")
KILLED = """
import os, signal, sys
import gantrain.{module} as place
def killed(*_, **__): os.kill(os.getpid(), signal.SIGKILL)
place.{name} = killed
from gantrain.cli import main
main()
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("attempt", "run"),  # job.json is there, no data yet
        ("builders.runs", "RunFolder"),
        ("run_io.run_folder", "introduce"),  # config.yaml and run.json are there
        ("training.trainer", "save_checkpoint"),
        ("sweeps.job", "from_omegaconf"),  # nothing is there but the lock
        ("run_io.status", "write_status"),
    ],
)
def test_a_job_killed_before_its_first_checkpoint_is_begun_again(
    module: str, name: str, tmp_path: Path, command: Any
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", KILLED.format(module=module, name=name), "-m", *TWO],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": python_path()},
        capture_output=True,
        timeout=120,
    )
    assert done.returncode == -signal.SIGKILL
    folder = tmp_path / "s" / "000-seed=0"
    assert not (folder / LAST).exists()
    code, text = command("sweep.resume=s")
    assert code == 0, text
    assert "2 of 2 jobs: 2 finished" in text
    assert read_status(folder).state == "finished"  # type: ignore[union-attr]
    builders.run(compose(*TINY, "metrics=none", "seed=0"), tmp_path / "alone")
    assert rows_without_times(folder) == rows_without_times(tmp_path / "alone")


def test_a_run_says_that_it_is_under_way_before_its_data_is_read(
    tmp_path: Path, command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def look(config: Any, folder: Path, *_: Any, **__: Any) -> None:
        seen.append(read_run(folder).state)
        raise KeyboardInterrupt

    monkeypatch.setattr("gantrain.attempt.run", look)
    assert command("-m", *TWO)[0] == 130
    assert command(*TINY, "hydra.run.dir=alone")[0] == 130
    assert seen == ["running", "running"]
    assert read_run(tmp_path / "alone").state == "interrupted"


def test_damaged_files_around_a_run(tmp_path: Path, command: Any) -> None:
    assert command("-m", *TWO)[0] == 0
    first, second = (tmp_path / "s" / name for name in ("000-seed=0", "001-seed=1"))
    before = [rows_without_times(folder) for folder in (first, second)]
    asked = (second / "job.json").read_text()
    (first / "status.json").write_text("{")
    (second / "job.json").write_text(asked[:40])
    code, text = command("sweep.resume=s")
    assert code == 1
    assert "001-seed=1/job.json' is damaged" in text
    assert "Traceback" not in text
    assert read_run(first).state == "finished", "only its status was lost"
    (second / "job.json").unlink()
    code, text = command("sweep.resume=s")
    assert code == 1
    assert "001-seed=1' is not empty, and nothing is overwritten" in text
    (second / "job.json").write_text(asked)
    assert command("sweep.resume=s")[0] == 0
    assert [rows_without_times(folder) for folder in (first, second)] == before


def test_more_steps_given_on_resume_hold_from_then_on(tmp_path: Path, command: Any) -> None:
    assert command("-m", *TWO)[0] == 0
    stopped = tmp_path / "s" / "001-seed=1"
    assert command("sweep.resume=s", "schedule.steps=9", "sweep.retry=true", "doctor.stop=true")[0] == 0
    stored = json.loads((tmp_path / "s" / SWEEP).read_text())["words"]
    assert "schedule.steps=9" in stored
    assert "schedule.steps=6" not in stored
    assert not [word for word in stored if word.startswith(("sweep.re", "-m", "--multirun"))]
    for inside in stopped.iterdir():
        if inside.is_file():
            inside.unlink()
    for folder in ("samples", "tensorboard"):
        for inside in (stopped / folder).iterdir():
            inside.unlink()
        (stopped / folder).rmdir()
    assert command("sweep.resume=s")[0] == 0
    assert [load_checkpoint(folder / LAST)["step"] for folder in find_runs([tmp_path / "s"])] == [9, 9]


def test_another_launcher_on_resume_leaves_the_first_ones_keys_behind(tmp_path: Path, command: Any) -> None:
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    assert command("-m", *TWO)[0] == 0
    file = tmp_path / "s" / SWEEP
    content = json.loads(file.read_text())
    content["words"] += ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
    file.write_text(json.dumps(content))
    code, text = command("sweep.resume=s", "hydra/launcher=basic")
    assert code == 0, text
    assert text.count("kept: finished") == 2
    assert "hydra.launcher.n_jobs=2" not in json.loads(file.read_text())["words"]


@pytest.mark.parametrize(("end", "retried"), [("failed", True), ("stopped", True), ("pruned", False)])
def test_retry_takes_up_what_failed_or_was_stopped(end: str, retried: bool, tmp_path: Path, command: Any) -> None:
    assert command("-m", *TWO)[0] == 0
    folder = tmp_path / "s" / "001-seed=1"
    mark(folder, end)
    command("sweep.resume=s")
    assert read_run(folder).state == end
    assert command("sweep.resume=s", "sweep.retry=true")[0] == 0
    assert read_run(folder).state == ("finished" if retried else end)


def test_resume_of_an_empty_folder_leaves_it_there(tmp_path: Path, command: Any) -> None:
    (tmp_path / "mine").mkdir()
    code, text = command("resume=mine")
    assert code == 2
    assert "last.pt' does not exist" in text
    assert (tmp_path / "mine").is_dir()


def test_an_empty_reason_does_not_hide_the_summary(tmp_path: Path, command: Any) -> None:
    assert command("-m", *TWO)[0] == 0
    folder = tmp_path / "s" / "001-seed=1"
    (folder / "error.txt").write_text("")
    mark(folder, "failed")
    code, text = command("sweep.resume=s")
    assert code == 1
    assert "2 of 2 jobs: 1 finished, 1 failed\n  failed: s/001-seed=1: at step 6 of 6" in text
