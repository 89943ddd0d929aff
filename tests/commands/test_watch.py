"""`python -m gantrain watch`, as a user gives it: on a terminal over a real run, into a pipe, and wrongly."""

import contextlib
import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gantrain.commands.watch import Options, _is_over
from gantrain.config import ConfigError
from gantrain.report.live import LiveRuns
from tests.conftest import TINY, python_path
from tests.report.test_live import write


def _heed_ctrl_c() -> None:
    """In the new process; what a shell has begun in the background ignores it, and so would all that it begins."""
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
            preexec_fn=_heed_ctrl_c,
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
def test_a_live_run_is_followed_from_before_it_begins_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    terminal = Terminal(tmp_path, "watch", "run", "every=0.2")
    terminal.wait_for("no run yet in run")
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
    figures = json.loads((tmp_path / "run" / "status.json").read_text())["metric_values"]
    assert re.search(rf"run +finished +━+ 100 % +120/120 +{figures['modes_ema']:.4g} [↓↑→]", last)
    assert terminal.output.rstrip().endswith("\x1b[?25h")  # the cursor is there again


@pytest.mark.slow
def test_ctrl_c_leaves_quietly(tmp_path: Path) -> None:
    write(tmp_path / "runs" / "000", state="finished", step=1000)
    terminal = Terminal(tmp_path, "watch", "runs", "keep=true", "every=0.2")
    terminal.wait_for("1 run: 1 finished")
    write(tmp_path / "runs" / "001", seed=1)
    terminal.wait_for("2 runs: 1 running · 1 finished")
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
    assert lines[0].startswith("1 run: 1 running   640 images/s   about 1 min 30 s left")
    assert max(map(len, lines)) <= 100
    assert "\x1b" not in done.stdout
    assert sum(line.startswith("000") for line in lines) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"folders": ["none"]}, "'none' is no folder"),
        ({"every": 0.0}, "every=0 must lie between"),
        ({"every": float("nan")}, "every=nan must lie between"),
    ],
)
def test_bad_input_is_refused(words: dict[str, object], message: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)):
        Options(**{"folders": [str(tmp_path)], **words})  # type: ignore[arg-type]


def over(*places: Path) -> bool:
    options = Options(folders=[str(place) for place in places])
    return _is_over(*LiveRuns(places).look(), options)


def test_watching_ends_with_the_last_run_that_can_be_expected(tmp_path: Path) -> None:
    assert not over(tmp_path)
    ended = {"state": "finished", "step": 1000}
    run = write(tmp_path / "000", **ended)
    assert over(run)  # nothing else can come there
    assert not over(tmp_path)  # another may follow at once
    write(tmp_path / "000", **ended, time=time.time() - 60)
    assert over(tmp_path)
    sweep = tmp_path / "sweep.json"
    sweep.write_text(json.dumps({"words": [], "jobs": 2}))
    assert not over(tmp_path)
    write(tmp_path / "000", **ended, time=time.time() - 3600)
    assert over(tmp_path)  # its sweep must have gone
    write(tmp_path / "001", seed=1)
    assert not over(tmp_path)
    write(tmp_path / "001", seed=1, **ended)
    assert over(tmp_path)  # two of two
