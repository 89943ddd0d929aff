"""Resumed sweeps: nothing is trained twice, nothing is lost, nothing blocks."""

import importlib.util
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gantrain import builders
from gantrain.run_io.run_folder import JOB, SWEEP
from gantrain.run_io.run_reader import find_runs, read_run
from gantrain.run_io.status import mark
from gantrain.training.checkpoint import LAST, PREVIOUS, load_checkpoint
from tests.conftest import TINY, compose, python_path
from tests.same_runs import rows_without_times

TWO = (*TINY, "metrics=none", "seed=0,1", "hydra.sweep.dir=s")
KILLED = """
import os, signal
import gantrain.{module} as place
def killed(*_, **__): os.kill(os.getpid(), signal.SIGKILL)
place.{name} = killed
from gantrain.cli import main
main()
"""


@pytest.fixture
def ended(tmp_path: Path, command: Any) -> tuple[Path, Path]:
    """The folders of a sweep's two finished jobs."""
    assert command("-m", *TWO)[0] == 0
    return tmp_path / "s" / "000-seed=0", tmp_path / "s" / "001-seed=1"


def set_running(folder: Path, step: int) -> None:
    """The status that a killed process leaves."""
    status = json.loads((folder / "status.json").read_text())
    (folder / "status.json").write_text(json.dumps({**status, "state": "running", "pid": 2**22 + 1, "step": step}))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("sweeps.job", "from_omegaconf"),
        ("builders.attempt", "run"),
        ("builders.runs", "RunFolder"),
        ("training.trainer", "save_checkpoint"),
        ("run_io.status", "write_status"),
    ],
)
def test_a_job_killed_before_its_first_checkpoint_starts_over(
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
    builders.run(compose(*TINY, "metrics=none", "seed=0"), tmp_path / "single")
    assert rows_without_times(folder) == rows_without_times(tmp_path / "single")


def test_a_run_is_marked_as_running_before_its_data_is_loaded(
    tmp_path: Path, command: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []

    def look(config: Any, folder: Path, *_: Any, **__: Any) -> None:
        seen.append(read_run(folder).state)
        raise KeyboardInterrupt

    monkeypatch.setattr("gantrain.builders.attempt.run", look)
    assert command("-m", *TWO)[0] == 130
    assert command(*TINY, "hydra.run.dir=single")[0] == 130
    assert seen == ["running", "running"]
    assert read_run(tmp_path / "single").state == "interrupted"


def test_lost_checkpoints_and_logs(ended: tuple[Path, Path], command: Any) -> None:
    first, second = ended
    before = [rows_without_times(folder) for folder in ended]
    for path in second.iterdir():
        if path.name in (LAST, PREVIOUS, "metrics.jsonl"):
            path.unlink()
    set_running(second, 0)
    set_running(first, 4)  # killed after its last checkpoint
    code, text = command("sweep.resume=s")
    assert code == 0, text
    assert [read_run(folder).state for folder in ended] == ["finished", "finished"]
    assert [rows_without_times(folder) for folder in ended] == before
    for name in (LAST, PREVIOUS):
        (second / name).unlink()
    set_running(second, 0)
    code, text = command("sweep.resume=s")
    assert code == 1
    assert "has no last.pt to continue from" in text
    assert rows_without_times(second) == before[1], "rows are not deleted"


def test_damaged_files_of_a_job(ended: tuple[Path, Path], command: Any) -> None:
    first, second = ended
    before = [rows_without_times(folder) for folder in ended]
    job = (second / JOB).read_text()
    (first / "status.json").write_text("{")
    (second / JOB).write_text(job[:40])
    code, text = command("sweep.resume=s")
    assert (code, "Traceback" in text) == (1, False)
    assert "001-seed=1/job.json' is damaged" in text
    assert read_run(first).state == "finished"
    (second / JOB).write_text(job.replace('"seed": 1', '"seed": 5'))
    code, text = command("sweep.resume=s")
    assert code == 1
    assert "001-seed=1' contains a run with other values (seed=5, now 1)" in text
    (second / JOB).unlink()
    code, text = command("sweep.resume=s")
    assert code == 1
    assert "001-seed=1' is not empty and will not be overwritten" in text
    (second / JOB).write_text(job)
    assert command("sweep.resume=s")[0] == 0
    assert [rows_without_times(folder) for folder in ended] == before
    (second / "error.txt").write_text("")
    mark(second, "failed")
    code, text = command("sweep.resume=s")
    assert code == 1
    assert "2 of 2 jobs: 1 finished, 1 failed\n  failed: s/001-seed=1: at step 6 of 6" in text


def test_more_steps_continue_finished_runs_and_are_kept(ended: tuple[Path, Path], command: Any) -> None:
    assert command("sweep.resume=s", "schedule.steps=9", "sweep.retry=true", "doctor.stop=true")[0] == 0
    assert [load_checkpoint(folder / LAST)["step"] for folder in ended] == [9, 9]
    stored = json.loads((ended[0].parent / SWEEP).read_text())["words"]
    assert "schedule.steps=9" in stored
    assert "schedule.steps=6" not in stored
    assert not [word for word in stored if word.startswith(("sweep.re", "-m", "--multirun"))]
    code, text = command("sweep.resume=s")
    assert code == 0
    assert text.count("kept: finished at step 9") == 2
    if importlib.util.find_spec("hydra_plugins.hydra_joblib_launcher") is not None:  # its keys are dropped with it
        file = ended[0].parent / SWEEP
        content = json.loads(file.read_text())
        content["words"] += ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
        file.write_text(json.dumps(content))
        code, text = command("sweep.resume=s", "hydra/launcher=basic")
        assert code == 0, text
        assert "hydra.launcher.n_jobs=2" not in json.loads(file.read_text())["words"]


def test_retry_continues_failed_and_stopped_runs(ended: tuple[Path, Path], command: Any) -> None:
    for end, after in (("failed", "finished"), ("stopped", "finished"), ("pruned", "pruned")):
        mark(ended[1], end)
        command("sweep.resume=s")
        assert read_run(ended[1]).state == end
        assert command("sweep.resume=s", "sweep.retry=true")[0] == 0
        assert read_run(ended[1]).state == after


def test_a_second_process_is_refused(ended: tuple[Path, Path], command: Any) -> None:
    holder = (
        "import sys, time; from filelock import FileLock\n"
        "with FileLock(sys.argv[1]): print('held', flush=True); time.sleep(60)"
    )
    for place, refusal in ((ended[0].parent, "the sweep in 's' is in use"), (ended[0], "is in use by another process")):
        with subprocess.Popen(
            [sys.executable, "-c", holder, str(place / ".lock")], stdout=subprocess.PIPE, text=True
        ) as other:
            assert other.stdout is not None
            assert other.stdout.readline() == "held\n"
            code, text = command("sweep.resume=s", "schedule.steps=8")
            other.kill()
        assert code != 0
        assert refusal in text
    assert read_run(ended[0]).state == "finished", "a locked run is not marked"


def test_changes_that_resume_refuses(ended: tuple[Path, Path], command: Any, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    for words, refusal in (
        (["sweep.resume=s", "loss.gen=kl"], "loss.gen=kl cannot be changed on sweep.resume"),
        (["sweep.resume=nowhere"], "its sweep.json cannot be read"),
        (["-m", *TWO], "contains a sweep and will not be overwritten"),
        (["resume=mine"], "last.pt' does not exist"),
    ):
        code, text = command(*words)
        assert code == 2
        assert refusal in text
    assert (tmp_path / "mine").is_dir()
    assert [read_run(folder).state for folder in find_runs([tmp_path / "s"])] == ["finished", "finished"]


def test_the_overrides_of_a_resumed_run_are_those_of_its_first_start(tmp_path: Path, command: Any) -> None:
    assert command(*TINY, "metrics=none", "seed=3", "hydra.run.dir=r")[0] == 0
    first = (tmp_path / "r" / ".hydra" / "overrides.yaml").read_text()
    assert "- seed=3" in first
    assert command("resume=r", "schedule.steps=8")[0] == 0
    assert (tmp_path / "r" / ".hydra" / "overrides.yaml").read_text() == first
    assert len(read_run(tmp_path / "r").starts) == 2
    assert "8" in (tmp_path / "r" / "train.log").read_text()
