"""Trains a tiny model and samples the memory of the process: `long_run FOLDER STEPS LEAKS_FROM DEVICE`."""

import ctypes
import gc
import json
import os
import sys
import threading
import time
from pathlib import Path

import torch

from gantrain import builders
from gantrain.training.train_step import TrainStep
from tests.conftest import TINY, compose

SAMPLES, SAMPLED = 30, "samples.json"
REPLACED = ("model.width", "schedule.steps", "schedule.batch_size", "device")
WORDS = (
    *(word for word in TINY if word.partition("=")[0] not in REPLACED),
    *("model.width=1", "schedule.batch_size=2", "tricks.history=8", "augment=ada"),
)


def words_for(steps: int) -> list[str]:
    """Logging, grids, checkpoints and metrics happen many times in each quarter of the run."""
    often = {"log.every_steps": 100, "log.diagnostics_every_steps": 100, "log.grids_every_steps": 60}
    often |= {"log.checkpoint_every_steps": 40, "metrics.every_steps": 25}
    return [*WORDS, f"schedule.steps={steps}", *(f"{key}={steps // share}" for key, share in often.items())]


class _Mallinfo2(ctypes.Structure):
    _fields_ = [
        (name, ctypes.c_size_t)
        for name in (
            "arena",
            "ordblks",
            "smblks",
            "hblks",
            "hblkhd",
            "usmblks",
            "fsmblks",
            "uordblks",
            "fordblks",
            "keep",
        )
    ]


def allocated() -> int | None:
    """Bytes allocated by the C library, including tensors; None where it has no mallinfo2."""
    try:
        mallinfo2 = ctypes.CDLL(None).mallinfo2
    except AttributeError:
        return None
    mallinfo2.restype = _Mallinfo2
    info = mallinfo2()
    return int(info.uordblks + info.hblkhd)


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def sample(step: int, device: str) -> dict[str, int | None]:
    gc.collect()
    return {
        "step": step,
        "allocated": allocated(),
        "resident": resident(),
        "on the device": torch.cuda.memory_allocated() if device == "cuda" else None,
        "blocks": sys.getallocatedblocks(),
        "objects": len(gc.get_objects()),
        "files": len(os.listdir("/proc/self/fd")),
        "threads": threading.active_count(),
        "system threads": len(os.listdir("/proc/self/task")),
    }


def leak(kept: list[object], step: int, often: int, device: str) -> None:
    """Keeps 1 kB and an object per step, and now and then an open file and a thread."""
    kept += [bytes(1024), [], *([torch.zeros(256, device=device)] if device == "cuda" else [])]
    if step % often == 0:
        kept.append(os.open(os.devnull, os.O_RDONLY))
        threading.Thread(target=time.sleep, args=(999,), daemon=True).start()


def main(folder: Path, steps: int, leaks_from: int, device: str) -> None:
    """Trains; takes samples in the second half, and leaks in each step after `leaks_from`."""
    torch.set_num_threads(1)
    inner = TrainStep.run
    kept: list[object] = []
    samples = []

    def run(self: TrainStep) -> None:
        inner(self)
        if self.step > leaks_from:
            leak(kept, self.step, steps // 60, device)
        if self.step == steps // 2:
            gc.collect()
            gc.freeze()  # objects that exist now are not counted again
        if self.step > steps // 2 and self.step % (steps // 2 // SAMPLES) == 0:
            samples.append(sample(self.step, device))

    TrainStep.run = run  # type: ignore[method-assign]
    builders.run(compose(*words_for(steps), f"device={device}"), folder)
    (folder / SAMPLED).write_text(json.dumps(samples))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
