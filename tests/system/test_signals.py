"""Signals stop a run with a checkpoint of the current step and an exit code for schedulers."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from gantrain.run_io.metrics_jsonl import read_rows
from gantrain.run_io.run_reader import find_runs, read_run
from gantrain.system.signals import INTERRUPTED, RESTART
from gantrain.training.checkpoint import LAST, load_checkpoint
from tests.conftest import TINY, python_path
from tests.same_runs import rows_without_times
from tests.sweeps.test_sweep import outcome, sweep, wait_for_rows

STEPS = 150
EVERY = ("metrics.every_steps=50", "log.every_steps=1", "log.checkpoint_every_steps=100")
WORDS = (*TINY, *EVERY, f"schedule.steps={STEPS}")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed")
    code, text = outcome(sweep(folder, *WORDS, "hydra.run.dir=run"))
    assert code == 0, text
    return folder / "run"


def assert_equals_undisturbed(run: Path, undisturbed: Path) -> None:
    assert rows_without_times(run) == rows_without_times(undisturbed)
    states = [load_checkpoint(folder / LAST) for folder in (run, undisturbed)]
    for network in ("generator", "discriminator", "ema"):
        assert all(torch.equal(value, states[1][network][key]) for key, value in states[0][network].items())


def last_row(run: Path) -> int:
    return max(int(row["step"]) for row in read_rows(run / "metrics.jsonl"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGTERM, RESTART),
        pytest.param(signal.SIGUSR1, RESTART, marks=pytest.mark.exhaustive),
        pytest.param(signal.SIGINT, INTERRUPTED, marks=pytest.mark.exhaustive),
    ],
)
def test_a_signal_saves_the_step_and_the_run_resumes_exactly(
    number: signal.Signals, code: int, undisturbed: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    process = sweep(tmp_path, *WORDS, "hydra.run.dir=run")
    wait_for_rows(run, 20, process)
    process.send_signal(number)
    ended, text = outcome(process)
    assert ended == code, text
    assert f"{number.name}: stopping after this step, with a checkpoint" in text
    assert "saved and ended; continue from the last checkpoint with resume=" in text
    assert "Traceback" not in text
    step = load_checkpoint(run / LAST)["step"]
    assert 20 <= step < STEPS
    assert step == last_row(run), "no step is lost"
    assert step % 100, "no checkpoint was due at this step"
    assert read_run(run).state == "interrupted"
    code_again, text = outcome(sweep(tmp_path, "resume=run"))
    assert code_again == 0, text
    assert_equals_undisturbed(run, undisturbed)


@pytest.mark.exhaustive
@pytest.mark.slow
def test_a_second_ctrl_c_stops_at_once_and_keeps_the_checkpoint(undisturbed: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    process = sweep(tmp_path, *WORDS, "hydra.run.dir=run")
    wait_for_rows(run, 20, process)
    process.send_signal(signal.SIGINT)
    time.sleep(0.001)
    process.send_signal(signal.SIGINT)
    code, text = outcome(process)
    assert code == INTERRUPTED, text
    assert "Traceback" not in text
    load_checkpoint(run / LAST)
    assert outcome(sweep(tmp_path, "resume=run"))[0] == 0
    assert_equals_undisturbed(run, undisturbed)


@pytest.mark.exhaustive
@pytest.mark.slow
def test_a_signal_stops_a_sweep_which_can_be_resumed(undisturbed: Path, tmp_path: Path) -> None:
    process = sweep(tmp_path, "-m", *WORDS, "seed=0,1", "hydra.sweep.dir=s")
    wait_for_rows(tmp_path / "s" / "000-seed=0", 20, process)
    process.send_signal(signal.SIGTERM)
    code, text = outcome(process)
    assert code == RESTART, text
    for run in find_runs([tmp_path / "s"]):
        assert load_checkpoint(run / LAST)["step"] == last_row(run)
    code, text = outcome(sweep(tmp_path, "sweep.resume=s"))
    assert code == 0, text
    assert_equals_undisturbed(tmp_path / "s" / "000-seed=0", undisturbed)


def test_a_signal_before_training_ends_the_process(tmp_path: Path) -> None:
    process = sweep(tmp_path, *WORDS, "hydra.run.dir=run")
    process.send_signal(signal.SIGTERM)
    assert outcome(process)[0] == -signal.SIGTERM
    assert not (tmp_path / "run" / LAST).exists()


def test_a_late_ctrl_c_prints_no_traceback(tmp_path: Path) -> None:
    """Functions registered with atexit, such as torch's, would print a KeyboardInterrupt."""
    code = (
        "import atexit, os, signal\n"
        "atexit.register(os.kill, os.getpid(), signal.SIGINT)\n"
        "from gantrain.system.signals import ignore_late_interrupts\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
    )
    for more, shown in (("", True), ("ignore_late_interrupts()\n", False)):
        done = subprocess.run(
            [sys.executable, "-c", code + more],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": python_path()},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == 0
        assert ("KeyboardInterrupt" in done.stderr) == shown
