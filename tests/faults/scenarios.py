"""Ways of training, and the faults that `make faults` injects into each."""

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

STEPS, CHECKPOINT_EVERY = 600, 10
OVERRIDES = (
    *TINY,
    f"log.checkpoint_every_steps={CHECKPOINT_EVERY}",
    "log.every_steps=1",
    "log.grids_every_steps=50",
    "metrics.every_steps=150",
)
ON_IMAGES = (*(word for word in OVERRIDES if not word.startswith("data=")), "data=folder", "data.root=images")
DAMAGES = {"flipped": flip_bits, "truncated": truncate, "deleted": delete}

SIGNALS = ("SIGKILL", "SIGKILL before training", "SIGTERM", "SIGINT twice")
CHECKPOINTS = tuple(f"checkpoint {how}" for how in DAMAGES)
DISKS = ("disk full", "folder read-only")
STATISTICS = tuple(f"cached statistics {how}" for how in DAMAGES)
IMAGES = tuple(f"data file {how}" for how in DAMAGES)
SECOND = "two processes on one run"
WORKER, DEVICE = "one process of two killed", "GPU removed and back"
KINDS = (*SIGNALS, *CHECKPOINTS, *DISKS, SECOND, *STATISTICS, *IMAGES, WORKER, DEVICE)


@dataclass(frozen=True)
class Scenario:
    """One way of training.

    Attributes:
        name: for the table.
        faults: kinds that are injected.
        overrides: of the run.
        words: more words of the first command.
        runs: folders of the runs, in the trial's folder.
        resume: words of the command that resumes.
        resumable: a file that exists once there is something to resume.
        processes: of torchrun; 1 without torchrun.
        steps: generator steps.
        exact: whether the run must end bit for bit like an undisturbed one.
    """

    name: str
    faults: tuple[str, ...]
    overrides: tuple[str, ...] = OVERRIDES
    words: tuple[str, ...] = ("hydra.run.dir=run",)
    runs: tuple[str, ...] = ("run",)
    resume: tuple[str, ...] = ("resume=run",)
    resumable: str = f"run/{JOB}"
    processes: int = 1
    steps: int = STEPS
    exact: bool = True


EAGER = Scenario("eager", (*SIGNALS, *CHECKPOINTS, SECOND))
SMALL_DISK = Scenario("eager, small disk", DISKS)
COMPILED = Scenario("compiled", ("SIGKILL", "SIGTERM", CHECKPOINTS[0]), (*OVERRIDES, "executor=compiled"))
SWEEP_OF_TWO = Scenario(
    "sweep of two",
    (*SIGNALS, CHECKPOINTS[0]),
    words=("-m", "seed=0,1", "hydra.sweep.dir=sweep"),
    runs=("sweep/000-seed=0", "sweep/001-seed=1"),
    resume=("sweep.resume=sweep",),
    resumable=f"sweep/{SWEEP}",
    steps=300,
)
TORCHRUN = Scenario(
    "torchrun, 2 processes", (WORKER, "SIGKILL", "SIGTERM"), (*OVERRIDES, "metrics=none"), processes=2, steps=300
)
FOLDER = Scenario("folder of images", IMAGES, (*ON_IMAGES, "metrics=none"))
FID = Scenario(
    "FID of a folder",
    STATISTICS,
    (*ON_IMAGES, "metrics.names=[fid]", "metrics.samples=8", "metrics.every_steps=0"),
    steps=120,
)
ON_CPU = (EAGER, SMALL_DISK, COMPILED, SWEEP_OF_TWO, TORCHRUN, FOLDER, FID)

CUDA = (*OVERRIDES, "device=cuda", "deterministic=true")
GRAPH = Scenario("CUDA graph", (*["SIGKILL"] * 4, *SIGNALS[1:], *CHECKPOINTS), CUDA)
REMOVED = Scenario("CUDA, then a CPU, then CUDA", (DEVICE,), CUDA, exact=False)
ON_CUDA = (GRAPH, REMOVED)

SHORT = (
    (EAGER, ("SIGKILL", "checkpoint flipped", "SIGINT twice")),
    (EAGER, ("SIGKILL before training", "SIGTERM", SECOND, "checkpoint deleted")),
    (SMALL_DISK, DISKS),
)
"""The trials of `make faults ARGS=--short`."""


def unavailable(kind: str) -> str | None:
    """Why this machine cannot have a kind of fault; None if it can."""
    if kind in DISKS and not can_mount():
        return "needs the right to mount a small tmpfs"
    if kind == DEVICE and not torch.cuda.is_available():
        return "PyTorch sees no CUDA device"
    if kind in STATISTICS and find_inception() is None:
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
