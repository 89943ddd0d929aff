"""Locks name the process that holds them; a killed process holds none."""

import json
import os
import signal
import socket
import sys
from pathlib import Path

import pytest

from gantrain.system.atomic_io import UnusableFolderError
from gantrain.system.locks import BusyError, hold_lock, owner_file
from gantrain.training.checkpoint import LAST, load_checkpoint
from tests.conftest import TINY
from tests.same_runs import rows_without_times
from tests.sweeps.test_sweep import outcome, sweep, wait_for_rows

WORDS = (*TINY, "metrics=none", "log.every_steps=1", "schedule.steps=200", "log.checkpoint_every_steps=20")


def test_the_error_names_the_process_that_holds_the_lock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["gantrain", "loss.gen=kl"])
    with hold_lock(tmp_path / ".lock", "the run in 'x'"):
        with pytest.raises(BusyError) as refused, hold_lock(tmp_path / ".lock", "the run in 'x'"):
            pytest.fail("held twice")
        words = str(refused.value)
        assert words.startswith(f"the run in 'x' is in use by process {os.getpid()} on {socket.gethostname()} since ")
        assert "('gantrain loss.gen=kl')" in words
        owner_file(tmp_path / ".lock").write_text("[half")
        with pytest.raises(BusyError, match="in use by another process; wait"), hold_lock(tmp_path / ".lock", "it"):
            pytest.fail("held twice")
    assert [path.name for path in tmp_path.iterdir()] in ([".lock"], [])
    with hold_lock(tmp_path / ".lock", "it"):
        pass


def test_a_lock_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    lock = tmp_path / ("x" * 300)
    refused = pytest.raises(UnusableFolderError, match=r"it cannot be written .*make its folder writable")
    with refused, hold_lock(lock, "it"):
        pytest.fail("held")


@pytest.mark.slow
def test_two_processes_on_one_run(tmp_path: Path) -> None:
    """The second is refused and names the first; after that is killed, it can resume."""
    run = tmp_path / "run"
    first = sweep(tmp_path, *WORDS, "hydra.run.dir=run")
    wait_for_rows(run, 30, first)
    first.send_signal(signal.SIGSTOP)  # otherwise it would be done before the second has imported PyTorch
    code, text = outcome(sweep(tmp_path, "resume=run"))
    assert code == 2, text
    assert f"is in use by process {first.pid} on {socket.gethostname()}" in text
    assert "Traceback" not in text
    first.kill()
    first.communicate()
    assert json.loads(owner_file(run / ".lock").read_text())["pid"] == first.pid
    code, text = outcome(sweep(tmp_path, "resume=run"))
    assert code == 0, text
    assert load_checkpoint(run / LAST)["step"] == 200
    assert [row["step"] for row in rows_without_times(run) if row["kind"] == "train"] == list(range(1, 201))
    assert not owner_file(run / ".lock").exists()


@pytest.mark.slow
def test_a_run_killed_before_its_first_checkpoint_starts_again(tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert outcome(sweep(tmp_path, *WORDS[:-2], "schedule.steps=30", "hydra.run.dir=run"))[0] == 0
    complete = rows_without_times(run)
    for inside in ("last.pt", "previous.pt", "metrics.jsonl"):
        (run / inside).unlink(missing_ok=True)
    code, text = outcome(sweep(tmp_path, "resume=run", "loss.gen=kl"))
    assert code == 2, text
    assert "these keys differ: loss.gen" in text
    code, text = outcome(sweep(tmp_path, "resume=run"))
    assert code == 0, text
    assert "the run ended before its first checkpoint; it starts over" in text
    assert rows_without_times(run) == complete
    code, text = outcome(sweep(tmp_path, "resume=run", "schedule.steps=32"))
    assert code == 0, text
    for inside in ("last.pt", "previous.pt"):
        (run / inside).unlink()
    code, text = outcome(sweep(tmp_path, "resume=run"))
    assert code == 2, "rows are not thrown away"
    assert "has no last.pt to continue from, and starting over would delete rows in metrics.jsonl" in text
