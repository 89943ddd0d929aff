"""Runs real training processes, injects faults, and compares the result with an undisturbed run.

A trial is one run, or a sweep of two, that suffers several faults at moments drawn from a seed and is resumed after
each. At its end weights, rows, sample grids and TensorBoard's scalars must equal those of an undisturbed run.
"""

import ctypes
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import torch
from PIL import Image

from gantrain.run_io.metrics_jsonl import METRICS, read_rows
from gantrain.run_io.run_reader import read_run
from gantrain.run_io.status import FINISHED
from gantrain.system.atomic_io import PART
from gantrain.training.checkpoint import LAST, PREVIOUS, load_checkpoint
from tests.conftest import python_path
from tests.faults.damages import Damage
from tests.faults.scenarios import DAMAGES, DEVICE, SECOND, SMALL_DISK, WORKER, Scenario
from tests.same_runs import assert_same, rows_without_times, shown

TIMEOUT = 240.0
"""Seconds to wait for a process; one that hangs has not survived."""
DISK = 16 << 20
ANY_CODE = range(-64, 256)
"""torchrun ends with codes of its own."""


@dataclass
class Trial:
    """One run with its faults.

    Attributes:
        scenario: how it trains.
        kinds: the faults, in order.
        seed: of moments and damages.
        observed: for each fault that was injected: its kind, step, and what was seen.
        failure: what was lost; None if nothing was.
        seconds: what it took.
    """

    scenario: Scenario
    kinds: tuple[str, ...]
    seed: int
    observed: list[tuple[str, int, str]] = field(default_factory=list)
    failure: str | None = None
    seconds: float = 0.0


def run_trial(scenario: Scenario, kinds: tuple[str, ...], seed: int, folder: Path, undisturbed: Path) -> Trial:
    """Runs a trial in a new folder, which is kept if something was lost; see `Trial` and `run_undisturbed`."""
    trial, started = Trial(scenario, kinds, seed), time.monotonic()
    folder.mkdir(parents=True)
    try:
        with _small_disk(folder / "run", scenario is SMALL_DISK):
            _Process(scenario, folder, seed).suffer(trial)
            for name in scenario.runs:
                compare_runs(folder / name, undisturbed / name, scenario)
    except Exception as error:  # an error of the harness is a failure too
        trial.failure = f"{type(error).__name__}: {error}"
    trial.seconds = time.monotonic() - started
    if trial.failure is None:
        shutil.rmtree(folder)
    return trial


def run_undisturbed(scenario: Scenario, folder: Path) -> Path:
    """The same training without faults."""
    folder.mkdir(parents=True)
    process = _Process(scenario, folder, seed=0)
    process.start()
    process.wait(0)
    return folder


def compare_runs(run: Path, other: Path, scenario: Scenario) -> None:
    """Compares a finished run, except for measured times, with an undisturbed one.

    Raises:
        AssertionError: something was lost, written twice or changed.
    """
    assert not [path.name for path in run.rglob(f"*{PART}*")], "a half-written file is left"
    assert read_run(run).state == FINISHED, "status.json does not say finished"
    steps = [row["step"] for row in read_rows(run / METRICS) if row["kind"] == "train"]
    assert steps == list(range(1, scenario.steps + 1)), "metrics.jsonl does not have each step once"
    grids, other_grids = (sorted(path.name for path in (r / "samples").glob("*.png")) for r in (run, other))
    assert grids == other_grids, "other sample grids"
    for name in grids:
        with Image.open(run / "samples" / name) as image:
            image.load()
    states = [load_checkpoint(folder / LAST) for folder in (run, other)]
    load_checkpoint(run / PREVIOUS)
    if not scenario.exact:
        return
    for state in states:
        del state["seconds"]
        for key in ("resume", "device", "sweep"):
            state["config"].pop(key, None)
    assert_same(*states)
    assert rows_without_times(run) == rows_without_times(other), "other rows in metrics.jsonl"
    for name in grids:
        assert (run / "samples" / name).read_bytes() == (other / "samples" / name).read_bytes(), f"another {name}"
    assert shown(run) == shown(other), "other scalars in TensorBoard"


class _Process:
    """The training process of a trial; there is at most one at a time."""

    def __init__(self, scenario: Scenario, folder: Path, seed: int) -> None:
        self.scenario, self.folder = scenario, folder
        self.run = folder / scenario.runs[0]
        self.log = folder / "log.txt"
        self.random = random.Random(seed)
        self.process: subprocess.Popen[bytes] | None = None
        self.rows_before: tuple[int, int] | None = None
        if "data=folder" in scenario.overrides:
            make_images(folder / "images")

    def suffer(self, trial: Trial) -> None:
        """Starts, injects every fault in order, and trains to the end."""
        self.start()
        for number, kind in enumerate(trial.kinds):
            step = int(self.scenario.steps * (number + 0.2 + 0.7 * self.random.random()) / (len(trial.kinds) + 1))
            try:
                trial.observed.append((kind, step, self.inject(kind, step)))
            except Exception as error:
                raise AssertionError(f"{kind} at step {step}: {error}\n{self.tail()}") from error
            if self.process is None:
                self.start()
        self.wait(0)

    def start(self, *words: str, **environment: str) -> None:
        """Starts training, or resumes it if there is something to resume."""
        steps = f"schedule.steps={self.scenario.steps}"
        command = [sys.executable, "-m"]
        if self.scenario.processes > 1:
            command += ["torch.distributed.run", f"--nproc-per-node={self.scenario.processes}", "-m"]
        command += ["gantrain", *words]
        resumable = (self.folder / self.scenario.resumable).exists()
        command += self.scenario.resume if resumable else (*self.scenario.overrides, steps, *self.scenario.words)
        self.rows_before = _identity(self.run / METRICS)
        with self.log.open("ab") as log:
            log.write(f"\n$ {' '.join(command[2:])}\n".encode())
            log.flush()
            self.process = subprocess.Popen(
                command,
                cwd=self.folder,
                env={
                    **os.environ,
                    "PYTHONPATH": python_path(),
                    "GANTRAIN_CACHE": str(self.folder / "cache"),
                    "TORCHINDUCTOR_CACHE_DIR": str(self.folder.parent / "inductor"),
                    **environment,
                },
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=_drop_root_privileges if self.scenario is SMALL_DISK else _restore_sigint,
            )

    def inject(self, kind: str, step: int) -> str:
        """Injects one fault at about this step; returns what was seen."""
        if kind == "SIGKILL before training":
            self.kill()
            self.start()
            time.sleep(6 * self.random.random())
            return self.kill()
        self.wait_for_step(step)
        time.sleep(0.2 * self.random.random())
        subject, _, how = kind.rpartition(" ")
        if how in DAMAGES:
            self.kill()
            return getattr(self, f"damage_{subject.replace(' ', '_')}")(DAMAGES[how], step)
        injectors = {
            "SIGKILL": self.kill,
            "SIGTERM": lambda: self.send(signal.SIGTERM, 75),
            "SIGINT twice": lambda: self.send(signal.SIGINT, 130, times=2),
            "disk full": self.fill_disk,
            "folder read-only": self.make_read_only,
            SECOND: self.start_a_second,
            WORKER: self.kill_one_worker,
            DEVICE: self.remove_gpu,
        }
        return injectors[kind]()

    def wait_for_step(self, step: int) -> None:
        """Waits until this process has written the row of a step, and two checkpoints exist."""
        deadline = time.monotonic() + TIMEOUT
        while not (
            _identity(self.run / METRICS) != self.rows_before
            and last_step(self.run) >= step
            and (self.run / PREVIOUS).exists()
            and (self.run / LAST).exists()
        ):
            assert self.process is not None
            assert self.process.poll() is None, f"ended with code {self.process.returncode} before step {step}"
            assert time.monotonic() < deadline, f"did not reach step {step} in {TIMEOUT} s"
            time.sleep(0.005)

    def wait(self, *codes: int) -> str:
        """Waits for the end of the process, which must have one of these exit codes and show no traceback."""
        assert self.process is not None
        start = max(0, self.log.read_bytes().rfind(b"\n$ "))
        try:
            code = self.process.wait(TIMEOUT)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            raise AssertionError(f"hangs; expected exit code {codes[0]}\n{self.tail()}") from None
        self.process = None
        assert code in codes, f"exit code {code}, expected {codes[0]}\n{self.tail()}"
        if self.scenario.processes == 1:  # torchrun prints a traceback of its own
            assert b"Traceback" not in self.log.read_bytes()[start:], f"a traceback\n{self.tail()}"
        return f"code {code}"

    def tail(self) -> str:
        return self.log.read_bytes()[-3000:].decode(errors="replace") if self.log.exists() else ""

    def workers(self) -> list[int]:
        """torchrun's processes, which survive it."""
        assert self.process is not None
        if self.scenario.processes == 1:
            return []
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(word) for word in children.read_text().split()]

    def kill(self) -> str:
        assert self.process is not None
        for pid in [self.process.pid, *self.workers()]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        code = self.process.wait()
        self.process = None
        assert code in (-signal.SIGKILL, 0), f"ended with code {code} before it was killed"
        return f"code {code}"

    def send(self, number: signal.Signals, code: int, times: int = 1) -> str:
        assert self.process is not None
        for _ in range(times):
            self.process.send_signal(number)
            time.sleep(0.03 * self.random.random())
        return self.wait(*(ANY_CODE if self.scenario.processes > 1 else (code,)))

    def damage_checkpoint(self, damage: Damage, seed: int) -> str:
        """Training must go on from the checkpoint before."""
        load_checkpoint(self.run / PREVIOUS)
        damage(self.run / LAST, seed)
        start, deadline = self.log.stat().st_size, time.monotonic() + TIMEOUT
        self.start()
        while PREVIOUS not in self.log.read_bytes()[start:].decode(errors="replace"):
            assert time.monotonic() < deadline, f"no message names {PREVIOUS}"
            time.sleep(0.02)
        return PREVIOUS

    def damage_cached_statistics(self, damage: Damage, seed: int) -> str:
        cached = [path for path in (self.folder / "cache").rglob("*.pt*") if path.stat().st_size > 8]
        assert cached, "nothing was cached"
        for path in cached:
            damage(path, seed)
        return f"{len(cached)} files"

    def damage_data_file(self, damage: Damage, seed: int) -> str:
        """Resuming must be refused until the image is back."""
        path = self.random.choice(sorted((self.folder / "images").rglob("*.png")))
        content = path.read_bytes()
        damage(path, seed)
        self.start()
        self.wait(2)
        path.write_bytes(content)
        return f"{path.name} refused"

    def fill_disk(self) -> str:
        filler = self.run / "filler"
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while file.write(bytes(1 << 12)):
                pass
        self.wait(1)
        filler.unlink()
        assert b"No space left" in self.log.read_bytes()[-3000:], "no message names the full disk"
        return "code 1"

    def make_read_only(self) -> str:
        folders = [self.run, *(path for path in self.run.iterdir() if path.is_dir())]
        for folder in folders:
            folder.chmod(0o555)
        try:
            self.wait(1)
            self.start()
            self.wait(2)
        finally:
            for folder in folders:
                folder.chmod(0o755)
        return "code 1, then 2"

    def start_a_second(self) -> str:
        first = self.process
        assert first is not None
        os.killpg(first.pid, signal.SIGSTOP)
        try:
            self.start()
            self.wait(2)
        finally:
            os.killpg(first.pid, signal.SIGCONT)
        assert f"process {first.pid}" in self.tail(), "the refusal does not name the first process"
        self.process = first
        return "refused"

    def kill_one_worker(self) -> str:
        os.kill(self.random.choice(self.workers()), signal.SIGKILL)
        return self.wait(*ANY_CODE)

    def remove_gpu(self) -> str:
        self.kill()
        self.start("device=cpu", CUDA_VISIBLE_DEVICES="")
        self.wait_for_step(min(self.scenario.steps - 50, last_step(self.run) + 40))
        self.kill()
        self.start("device=cuda")
        return "on a CPU and back"


def last_step(run: Path) -> int:
    """Step of the last complete row; 0 without any."""
    with suppress(OSError), (run / METRICS).open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 20_000))
        for line in reversed(file.read().split(b"\n")[:-1]):
            _, found, rest = line.partition(b'"step": ')
            if found:
                return int(rest.partition(b",")[0])
    return 0


def _identity(path: Path) -> tuple[int, int] | None:
    with suppress(OSError):
        return path.stat().st_ino, path.stat().st_mtime_ns
    return None


def make_images(folder: Path, count: int = 24) -> None:
    """Images of noise."""
    folder.mkdir()
    source = torch.Generator().manual_seed(1)
    for number in range(count):
        pixels = torch.randint(0, 256, (32, 32, 3), dtype=torch.uint8, generator=source)
        Image.fromarray(pixels.numpy()).save(folder / f"{number:03d}.png")


@contextmanager
def _small_disk(folder: Path, wanted: bool) -> Iterator[None]:
    """Mounts a file system of a few megabytes at `folder`, if wanted."""
    if not wanted:
        yield
        return
    folder.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False)


def _restore_sigint() -> None:
    """Shells ignore Ctrl-C in background jobs; the new process must not."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def _drop_root_privileges() -> None:
    """Makes file permissions apply to root too: drops CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH from the new process."""
    _restore_sigint()
    if os.geteuid() == 0:
        for capability in (1, 2):
            ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP
