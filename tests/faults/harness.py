"""Real training processes, what befalls them, and whether they end as if nothing had.

A life is a run, or a sweep of two, that suffers several faults one after the other at moments chosen by a seed and goes
on after each; at its end weights, rows, pictures and TensorBoard's scalars are those of an undisturbed run of the same
way of training. `python -m tests.faults` (make faults) lives many and prints a table.
"""

import ctypes
import json
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
from functools import partial
from pathlib import Path

import torch
from PIL import Image

from gantrain.atomic_io import PART
from gantrain.run_io.metrics_jsonl import METRICS, read_rows
from gantrain.run_io.run_reader import read_run
from gantrain.run_io.status import FINISHED
from gantrain.training.checkpoint import LAST, PREVIOUS, CheckpointError, load_checkpoint
from tests.conftest import python_path
from tests.faults.damages import Damage
from tests.faults.ways import DAMAGES, DEVICE, ON_A_SMALL_DISK, Way
from tests.same_runs import assert_same, rows_without_times, shown

PATIENCE = 240.0
"""Seconds within which a process reaches what it is waited for; a hang is a fault that was not survived."""
DISK = 16 << 20


class LostError(AssertionError):
    """What a life has lost."""


@dataclass
class Fault:
    """One that has befallen a life."""

    kind: str
    step: int
    seen: str = ""


@dataclass
class Life:
    """What befell one life, and what it lost.

    Attributes:
        lost: None where it ended as if nothing had happened.
    """

    way: Way
    seed: int
    kinds: tuple[str, ...]
    faults: list[Fault] = field(default_factory=list)
    lost: str | None = None
    seconds: float = 0.0


def live(way: Way, kinds: tuple[str, ...], seed: int, place: Path, undisturbed: Path) -> Life:
    """Lives one life in `place`, which is there afterwards where something was lost.

    Args:
        way: how it trains.
        kinds: the faults in their order.
        seed: of moments and damages.
        place: a folder that is not there yet.
        undisturbed: where an undisturbed life of the same way lies, see `live_undisturbed`.
    """
    life, begun = Life(way, seed, kinds), time.monotonic()
    place.mkdir(parents=True)
    try:
        with _disk(place, way is ON_A_SMALL_DISK):
            _Living(life, place, undisturbed).live()
    except Exception as error:  # a defect of the harness is no survival either
        life.lost = f"{type(error).__name__}: {error}"
    life.seconds = time.monotonic() - begun
    if life.lost is None:
        shutil.rmtree(place)
    return life


def live_undisturbed(way: Way, place: Path) -> Path:
    """The same without faults."""
    place.mkdir(parents=True)
    living = _Living(Life(way, 0, ()), place, place)
    living.start()
    living.ends_with(0)
    return place


class _Living:
    """A life under way."""

    def __init__(self, life: Life, place: Path, undisturbed: Path) -> None:
        self.life, self.way, self.place, self.undisturbed = life, life.way, place, undisturbed
        self.random = random.Random(life.seed)
        self.log = place / "log.txt"
        self.process: subprocess.Popen[bytes] | None = None
        self.more: dict[str, str] = {}
        self.before: tuple[int, int] | None = None
        if "data=folder" in self.way.words and not (place / "images").exists():
            make_images(place / "images")

    @property
    def runs(self) -> list[Path]:
        return [self.place / run for run in self.way.runs]

    def live(self) -> None:
        self.start()
        count = len(self.life.kinds)
        for number, kind in enumerate(self.life.kinds):
            target = int(self.way.steps * (number + 0.2 + 0.7 * self.random.random()) / (count + 1))
            fault = Fault(kind, target)
            self.life.faults.append(fault)
            if self.process is None:
                self.start()
            try:
                fault.seen = self.befall(kind, target)
            except (AssertionError, CheckpointError, OSError, ValueError) as error:
                raise LostError(f"{kind} at step {target}: {error}\n{self.tail()}") from None
        if self.process is None:
            self.start()
        self.ends_with(0)
        self.compare()

    def start(self) -> None:
        """Begins, or goes on with what is there; a run that had not yet written down what it is begins again."""
        words = (*self.way.base, *self.way.words, f"schedule.steps={self.way.steps}", *self.way.start)
        self.launch(*(self.way.resume if (self.place / self.way.begun).exists() else words))

    def launch(self, *words: str) -> None:
        """Starts a process of these words, and of those that wait to be given."""
        given = [*words, *self.more.pop("words", "").split()]
        python = [sys.executable, "-m"]
        if self.way.processes > 1:
            python += ["torch.distributed.run", f"--nproc-per-node={self.way.processes}", "-m"]
        environment = {
            **os.environ,
            "PYTHONPATH": python_path(),
            "GANTRAIN_CACHE": str(self.place / "cache"),
            "TORCHINDUCTOR_CACHE_DIR": str(self.place.parent / "inductor"),
            **self.more,
        }
        self.more = {}
        self.before = _identity(self.runs[0] / METRICS)
        with self.log.open("ab") as log:
            log.write(f"\n$ {' '.join(given)}\n".encode())
            log.flush()
            self.process = subprocess.Popen(
                [*python, "gantrain", *given],
                cwd=self.place,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
                preexec_fn=partial(_become, a_user=self.way is ON_A_SMALL_DISK),
            )

    def befall(self, kind: str, target: int) -> str:
        """One fault; what was seen of it."""
        if kind == "SIGKILL before training":
            self.kill(at_once=True)
            self.start()
            time.sleep(6 * self.random.random())
            return self.kill(at_once=True)
        self.wait_for(target)
        for what in ("checkpoint", "cached statistics", "data file"):
            if kind.startswith(f"{what} "):
                return self.damage(what, DAMAGES[kind[len(what) + 1 :]], target)
        return {
            "SIGKILL": lambda: self.kill(),
            "SIGTERM": lambda: self.ask(signal.SIGTERM, 75),
            "SIGINT twice": lambda: self.ask(signal.SIGINT, 130, twice=True),
            "disk full": self.fill_disk,
            "folder read-only": self.make_read_only,
            "two processes on one run": self.start_a_second,
            "one process of two killed": self.kill_one_of_two,
            DEVICE: self.remove_gpu,
        }[kind]()

    def wait_for(self, target: int) -> None:
        """Until this process has written that row of the first run, and there are two checkpoints to fall back on."""
        deadline = time.monotonic() + PATIENCE
        run = self.runs[0]
        while (
            _identity(run / METRICS) == self.before
            or last_step(run) < target
            or not (run / PREVIOUS).exists()
            or not (run / LAST).exists()
        ):
            if self.process is None or self.process.poll() is not None:
                raise LostError(f"ended before step {target}, code {self.process and self.process.returncode}")
            if time.monotonic() > deadline:
                raise LostError(f"did not reach step {target} in {PATIENCE} s")
            time.sleep(0.005)

    def kill(self, *, at_once: bool = False) -> str:
        assert self.process is not None
        if not at_once:
            time.sleep(0.2 * self.random.random())
        for pid in [self.process.pid, *self.workers()]:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        code = self.process.wait()
        self.process = None
        if code not in (-signal.SIGKILL, 0):
            raise LostError(f"ended with {code} before it was killed")
        return f"code {code}"

    def ask(self, number: signal.Signals, code: int, *, twice: bool = False) -> str:
        assert self.process is not None
        time.sleep(0.1 * self.random.random())
        self.process.send_signal(number)
        if twice:
            time.sleep(0.03 * self.random.random())
            self.process.send_signal(number)
        if self.way.processes > 1:  # torchrun's own code
            self.ends_with(*range(-64, 256))
            return "ended"
        self.ends_with(code)
        return f"code {code}"

    def damage(self, what: str, damage: Damage, target: int) -> str:
        """Kills, damages, and goes on; what was damaged is the newest of its kind."""
        self.kill()
        run = self.runs[0]
        if what == "checkpoint":
            load_checkpoint(run / PREVIOUS)
            damage(run / LAST, target)
            self.begins_with("Resuming from previous.pt")
        elif what == "cached statistics":
            cached = [path for path in (self.place / "cache").rglob("*.pt*") if path.stat().st_size > 8]
            if not cached:
                raise LostError("nothing was cached")
            for path in cached:
                damage(path, target)
        else:
            path = self.random.choice(sorted((self.place / "images").rglob("*.png")))
            whole = path.read_bytes()
            damage(path, target)
            self.start()
            self.ends_with(2)
            path.write_bytes(whole)
            return f"{path.name}, refused"
        return what

    def begins_with(self, words: str) -> None:
        place = self.log.stat().st_size
        self.start()
        deadline = time.monotonic() + PATIENCE
        while words not in self.log.read_bytes()[place:].decode(errors="replace"):
            if time.monotonic() > deadline:
                raise LostError(f"does not say {words!r}")
            time.sleep(0.02)

    def fill_disk(self) -> str:
        filler = self.place / "run" / "filler"
        with filler.open("wb", buffering=0) as file, suppress(OSError):
            while file.write(bytes(1 << 12)):
                pass
        self.ends_with(1)
        filler.unlink()
        if b"No space left" not in self.log.read_bytes()[-3000:]:
            raise LostError("the full disk is not told")
        return "code 1"

    def make_read_only(self) -> str:
        folders = [self.place / "run", *(p for p in (self.place / "run").iterdir() if p.is_dir())]
        for folder in folders:
            folder.chmod(0o555)
        try:
            self.ends_with(1)
            self.start()
            self.ends_with(2)
        finally:
            for folder in folders:
                folder.chmod(0o755)
        return "code 1, then refused"

    def start_a_second(self) -> str:
        first = self.process
        assert first is not None
        os.killpg(first.pid, signal.SIGSTOP)
        try:
            self.launch(*self.way.resume)
            self.ends_with(2)
        finally:
            os.killpg(first.pid, signal.SIGCONT)
        if f"in use by process {first.pid}".encode() not in self.log.read_bytes()[-2000:]:
            raise LostError("the refusal does not name the first process")
        self.process = first
        return "refused by name"

    def workers(self) -> list[int]:
        """What torchrun has started, which outlives it."""
        if self.process is None or self.way.processes == 1:
            return []
        pid = self.process.pid
        with suppress(OSError):
            return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        return []

    def kill_one_of_two(self) -> str:
        assert self.process is not None
        os.kill(self.random.choice(self.workers()), signal.SIGKILL)
        self.ends_with(*range(-64, 256))
        return "ended"

    def remove_gpu(self) -> str:
        self.kill()
        self.more = {"CUDA_VISIBLE_DEVICES": "", "words": "device=cpu"}
        self.start()
        self.wait_for(min(self.way.steps - 50, last_step(self.runs[0]) + 40))
        self.kill()
        self.more = {"words": "device=cuda"}
        self.start()
        return "on a CPU and back"

    def ends_with(self, *codes: int) -> None:
        """Waits for the process; it must not hang, end otherwise, or show a traceback."""
        assert self.process is not None
        place = max(0, self.log.read_bytes().rfind(b"\n$ "))
        try:
            code = self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            raise LostError(f"hangs; {codes[0]} was to come\n{self.tail()}") from None
        self.process = None
        text = self.log.read_bytes()[place:]
        if code not in codes:
            raise LostError(f"ended with {code}, not {codes[0]}\n{self.tail()}")
        if b"Traceback" in text and self.way.processes == 1:  # torchrun shows its own
            raise LostError(f"a traceback\n{self.tail()}")

    def tail(self) -> str:
        return self.log.read_bytes()[-3000:].decode(errors="replace") if self.log.exists() else ""

    def compare(self) -> None:
        """With the undisturbed life."""
        for name in self.way.runs:
            compare_runs(self.place / name, self.undisturbed / name, self.way)


def compare_runs(run: Path, other: Path, way: Way) -> None:
    """Whether a run has lost, doubled or changed nothing that the clock does not decide.

    Raises:
        AssertionError: it has.
    """
    left = [str(path.relative_to(run)) for path in run.rglob(f"*{PART}*")]
    assert not left, f"half written: {left}"
    assert read_run(run).state == FINISHED, "status.json does not say finished"
    steps = [row["step"] for row in read_rows(run / METRICS) if row["kind"] == "train"]
    assert steps == list(range(1, way.steps + 1)), "a step stands not once in metrics.jsonl"
    pictures = [sorted(path.name for path in (folder / "samples").glob("*.png")) for folder in (run, other)]
    assert pictures[0] == pictures[1], "other pictures"
    for name in pictures[0]:
        with Image.open(run / "samples" / name) as picture:
            picture.load()
    states = [load_checkpoint(folder / LAST) for folder in (run, other)]
    load_checkpoint(run / PREVIOUS)
    if not way.bits:
        return
    for state in states:
        del state["seconds"]
        for key in ("resume", "device", "sweep"):
            state["config"].pop(key, None)
    assert_same(*states)
    assert rows_without_times(run) == rows_without_times(other), "other rows"
    for name in pictures[0]:
        whole = [(folder / "samples" / name).read_bytes() for folder in (run, other)]
        assert whole[0] == whole[1], f"another picture {name}"
    assert shown(run) == shown(other), "TensorBoard shows something else"


def last_step(run: Path) -> int:
    """Of the last whole row; 0 without any."""
    with suppress(OSError), (run / METRICS).open("rb") as file:
        file.seek(max(0, file.seek(0, os.SEEK_END) - 20_000))
        for line in reversed(file.read().split(b"\n")[:-1]):
            with suppress(ValueError, TypeError, LookupError):
                return int(json.loads(line)["step"])
    return 0


def _identity(path: Path) -> tuple[int, int] | None:
    with suppress(OSError):
        found = path.stat()
        return found.st_ino, found.st_mtime_ns
    return None


def make_images(folder: Path, count: int = 24) -> None:
    """Small pictures of noise."""
    folder.mkdir()
    source = torch.Generator().manual_seed(1)
    for number in range(count):
        pixels = torch.randint(0, 256, (32, 32, 3), dtype=torch.uint8, generator=source)
        Image.fromarray(pixels.numpy()).save(folder / f"{number:03d}.png")


@contextmanager
def _disk(place: Path, small: bool) -> Iterator[None]:
    """The run's folder on a file system of few megabytes, if asked for."""
    if not small:
        yield
        return
    (place / "run").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(place / "run")], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(place / "run")], check=False)


def _become(*, a_user: bool) -> None:
    """In the new process: Ctrl-C is heeded, which a shell's background switches off, and permissions hold for root."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    if a_user and os.geteuid() == 0:
        for capability in (1, 2):  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH; gone from the exec on
            ctypes.CDLL(None).prctl(24, capability, 0, 0, 0)  # PR_CAPBSET_DROP
