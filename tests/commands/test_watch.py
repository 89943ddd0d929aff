"""`python -m gantrain watch`: the table, a real terminal, a pipe, and bad input."""

import contextlib
import fcntl
import io
import json
import os
import pty
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from gantrain.commands.watch import Options, table_of, watched_runs
from gantrain.options import ConfigError
from gantrain.run_io.status import STATUS
from tests.conftest import TINY, python_path


def write(folder: Path, *, fid: float | None = None, reason: str = "", **status: Any) -> Path:
    """A run folder with what `watch` reads of it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.yaml").write_text("seed: 0\n")
    if reason:
        (folder / "error.txt").write_text(reason)
    content = {
        **{"state": "running", "step": 100, "steps": 1000, "images": 6400, "seconds": 30.0},
        **{"images_per_second": 640.0, "time": time.time(), "host": socket.gethostname(), "pid": os.getpid()},
    }
    if fid is not None:
        content["metric_values"] = {"fid_ema": fid, "kid_ema": fid / 1000}
        content["best"] = {"name": "fid", "headline": "fid_ema", "value": fid - 5, "step": 50}
    (folder / STATUS).write_text(json.dumps({**content, **status}))
    return folder


def shown(place: Path, width: int = 150, height: int | None = None) -> list[str]:
    console = Console(width=width, record=True, file=io.StringIO())
    console.print(table_of(watched_runs([place]), width, height))
    return [line.rstrip() for line in console.export_text().splitlines()]


def cells(lines: list[str], name: str) -> list[str]:
    (row,) = (line for line in lines if line.startswith(name))
    return re.split(r"\s{2,}", row)


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    """Four jobs: finished, running, failed, and one whose process is gone."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    write(tmp_path / "000-loss.gen=alt", state="finished", step=1000, images=64000, fid=35.0)
    write(tmp_path / "001-loss.gen=kl", fid=75.0, findings=["crushed_generator"])
    write(tmp_path / "002-loss.gen=rkl", state="failed", step=50, reason="step 51: NaN [loss]\nand more")
    write(tmp_path / "003-loss.gen=js", pid=gone.pid, time=time.time() - 300)
    return tmp_path


def test_a_row_shows_state_share_speed_time_left_metric_best_and_reason(sweep: Path) -> None:
    lines = shown(sweep, width=170)
    assert lines[0].startswith("4 runs: 1 finished · 1 running · 1 failed · 1 broken   640 images/s")
    assert re.split(r"\s{2,}", lines[1].strip()) == [
        *("run", "state", "done", "step", "images/s", "left", "FID (EMA)", "best", "reason"),
    ]
    # 64 images per step, 900 steps left, 640 images per second
    assert cells(lines, "001") == [
        *("001-loss.gen=kl", "running", "10 %", "100/1,000", "640", "1 min 30 s", "75", "70 at 50"),
        "crushed generator",
    ]
    assert cells(lines, "000")[1:] == ["finished", "100 %", "1,000/1,000", "35", "30 at 50"]
    assert cells(lines, "002")[-1] == "step 51: NaN [loss]"
    assert re.search(r"process \d+ is gone, last status 5 min 0\d s ago", cells(lines, "003")[-1])


def test_a_narrow_terminal_keeps_state_share_and_metric(sweep: Path) -> None:
    lines = shown(sweep, width=70)
    assert max(map(len, lines)) <= 70
    assert {"run", "state", "done"} <= set(lines[1].split())
    assert "images/s" not in lines[1]


def test_a_small_terminal_hides_the_runs_that_ended_first(tmp_path: Path) -> None:
    for number in range(20):
        write(tmp_path / f"{number:03d}", **({"state": "finished", "time": 1000.0 + number} if number != 7 else {}))
    lines = shown(tmp_path, height=12)
    assert len(lines) <= 12
    names = [line[:3] for line in lines if re.match(r"\d{3} ", line)]
    assert names[0] == "007"
    assert names[-1] == "019"
    assert f"and {20 - len(names)} more that have ended" in lines[-1]


def test_a_run_without_a_step_is_starting_and_one_that_stays_silent_is_broken(tmp_path: Path) -> None:
    write(tmp_path / "begins", step=0, images=0)
    for name in ("loads", "never"):
        (write(tmp_path / name) / STATUS).unlink()
    os.utime(tmp_path / "never", (time.time() - 3600,) * 2)
    assert [(run.folder.name, run.state) for run in watched_runs([tmp_path])] == [
        ("begins", "starting"),
        ("loads", "starting"),
        ("never", "broken"),
    ]


def _accept_ctrl_c() -> None:
    """In the child: a process started in the background of a shell ignores SIGINT, and so would its children."""
    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)


class Terminal:
    """A command on a pseudo-terminal of 30 lines and 110 columns."""

    def __init__(self, folder: Path, *words: str) -> None:
        self.output = ""
        self.master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 110, 0, 0))
        environment = {
            name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES", "NO_COLOR")
        }
        self.process = subprocess.Popen(
            [sys.executable, "-m", "gantrain", *words],
            cwd=folder,
            env={**environment, "PYTHONPATH": python_path(), "TERM": "xterm-256color"},
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=_accept_ctrl_c,
        )
        os.close(slave)

    def wait_for(self, words: str, seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while not re.search(words, self.text) and time.monotonic() < end:
            if not self._read():
                break
        assert re.search(words, self.text), self.text

    def exit_code(self, seconds: float = 60) -> int:
        end = time.monotonic() + seconds
        while self._read():
            if time.monotonic() > end:
                self.process.kill()
        return self.process.wait(60)

    @property
    def text(self) -> str:
        return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", self.output)

    def _read(self) -> bool:
        """Whether more may come."""
        ready, _, _ = select.select([self.master], [], [], 0.5)
        if not ready:
            return self.process.poll() is None
        with contextlib.suppress(OSError):  # Linux's way to say that the other end is closed
            part = os.read(self.master, 65536).decode(errors="replace")
            self.output += part
            return bool(part)
        return False


@pytest.mark.slow
def test_a_run_is_followed_from_before_its_start_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    terminal = Terminal(tmp_path, "watch", "run", "every=0.2")
    terminal.wait_for("no run yet")
    words = [*TINY, "schedule.steps=120", "log.every_steps=5", "metrics.every_steps=40", "hydra.run.dir=run"]
    training = subprocess.Popen(
        [sys.executable, "-m", "gantrain", *words],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": python_path()},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    terminal.wait_for("1 run: 1 (starting|running)")
    assert terminal.exit_code() == 0
    assert training.wait(60) == 0
    last = terminal.text[terminal.text.rindex("1 run: ") :]
    assert "1 run: 1 finished" in last
    assert "modes (EMA)" in last
    values = json.loads((tmp_path / "run" / "status.json").read_text())["metric_values"]
    assert re.search(rf"run +finished +100 % +120/120 +{values['modes_ema']:.4g}", last)
    assert terminal.output.rstrip().endswith("\x1b[?25h")  # the cursor is there again


@pytest.mark.slow
def test_ctrl_c_ends_without_an_error(tmp_path: Path) -> None:
    write(tmp_path / "runs" / "000", state="finished", step=1000)
    terminal = Terminal(tmp_path, "watch", "runs", "keep=true", "every=0.2")
    terminal.wait_for("1 run: 1 finished")
    write(tmp_path / "runs" / "001", step=100)
    terminal.wait_for("2 runs: 1 finished · 1 running")
    os.write(terminal.master, b"\x03")
    assert terminal.exit_code() == 0
    assert "Traceback" not in terminal.text
    assert "error" not in terminal.text


@pytest.mark.slow
def test_without_a_terminal_the_table_is_printed_once(
    tmp_path: Path, gantrain: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    write(tmp_path / "runs" / "000")
    done = gantrain("watch", "runs", COLUMNS="100")
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith("1 run: 1 running   640 images/s")
    assert max(map(len, lines)) <= 100
    assert "\x1b" not in done.stdout
    assert sum(line.startswith("000") for line in lines) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"folders": ["none"]}, "'none' is not a folder"),
        ({"every": 0.0}, "every=0.0 must be between"),
        ({"every": float("nan")}, "every=nan must be between"),
    ],
)
def test_bad_input_is_refused(words: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        Options(**{"folders": [str(tmp_path)], **words})  # type: ignore[arg-type]
