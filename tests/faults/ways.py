"""Ways of training, and the kinds of faults that befall each in `make faults`."""

import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass

import torch

from gantrain.run_io.run_folder import JOB, SWEEP
from tests.conftest import TINY, find_inception
from tests.faults.damages import delete, flip_bits, truncate

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
DAMAGES = {"flipped": flip_bits, "truncated": truncate, "deleted": delete}


@dataclass(frozen=True)
class Way:
    """A way of training.

    Attributes:
        name: of the table.
        words: beside `base`.
        base: what most ways have in common.
        runs: folders of its runs under the life's own.
        start: where they are put.
        resume: what goes on with them.
        begun: a file that is there once there is something to go on with.
        processes: of torchrun; 1 without.
        faults: kinds that befall it.
        steps: generator steps.
        bits: whether it ends with the undisturbed run's bits.
    """

    name: str
    words: tuple[str, ...] = ()
    base: tuple[str, ...] = WORDS
    runs: tuple[str, ...] = ("run",)
    start: tuple[str, ...] = ("hydra.run.dir=run",)
    resume: tuple[str, ...] = ("resume=run",)
    begun: str = f"run/{JOB}"
    processes: int = 1
    faults: tuple[str, ...] = ()
    steps: int = STEPS
    bits: bool = True


SIGNALS = ("SIGKILL", "SIGKILL before training", "SIGTERM", "SIGINT twice")
FILES = tuple(f"checkpoint {how}" for how in DAMAGES)
DISKS = ("disk full", "folder read-only")
TWO = ("two processes on one run",)
OF_IMAGES = tuple(f"{what} {how}" for what in ("cached statistics", "data file") for how in DAMAGES)
DEVICE = "GPU removed and back"
KINDS = (*SIGNALS, *FILES, *DISKS, *TWO, *OF_IMAGES, "one process of two killed", DEVICE)

EAGER = Way("eager", faults=(*SIGNALS, *FILES, *TWO))
ON_A_SMALL_DISK = Way("eager, small disk", faults=DISKS)
COMPILED = Way("compiled", ("executor=compiled",), faults=(SIGNALS[0], SIGNALS[2], FILES[0]))
SWEEP_OF_TWO = Way(
    "sweep of two runs",
    ("-m", "seed=0,1"),
    runs=("sweep/000-seed=0", "sweep/001-seed=1"),
    start=("hydra.sweep.dir=sweep",),
    resume=("sweep.resume=sweep",),
    begun=f"sweep/{SWEEP}",
    faults=(*SIGNALS, FILES[0]),
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
ON_CPU = (EAGER, ON_A_SMALL_DISK, COMPILED, SWEEP_OF_TWO, TORCHRUN, IMAGES, FID)
GRAPHED = Way(
    "CUDA, the fastest step",
    ("device=cuda", "deterministic=true"),
    faults=(*SIGNALS[:1] * 4, *SIGNALS[1:], *FILES),
)
REMOVED = Way("CUDA, without it, and back", ("device=cuda", "deterministic=true"), faults=(DEVICE,), bits=False)
ON_CUDA = (GRAPHED, REMOVED)


def why_not(kind: str) -> str | None:
    """Why a kind of fault cannot be had on this machine; None where it can."""
    if kind in DISKS and not can_mount():
        return "needs the right to mount a small tmpfs"
    if kind == DEVICE and not torch.cuda.is_available():
        return "PyTorch sees no CUDA device"
    if kind.startswith("cached statistics") and find_inception() is None:
        return "needs the FID Inception's weights (make weights)"
    return None


def can_mount() -> bool:
    """Whether this process may mount a tmpfs."""
    if not sys.platform.startswith("linux") or os.geteuid() != 0 or shutil.which("mount") is None:
        return False
    with tempfile.TemporaryDirectory() as probe:
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", probe], capture_output=True)
        if done.returncode == 0:
            subprocess.run(["umount", probe], check=False)
    return done.returncode == 0
