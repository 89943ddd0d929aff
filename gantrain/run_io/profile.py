"""A profiler trace of a few steps, for Perfetto and TensorBoard's profiler."""

import time
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile, schedule

FOLDER = "profile"
PROFILED, WARM_UP, BEFORE = 10, 2, 20
"""Numbers of steps in the trace, of the profiler's warm-up, and before it, in which graphs are captured and kernels
compiled."""


class Profile:
    """Writes RUN/profile/iterations.pt.trace.json once; does not change results.

    Attributes:
        path: of the trace; None until it is written.
        seconds: duration of the profiled steps, including writing.
    """

    def __init__(self, folder: Path, device: torch.device, *, steps: int) -> None:
        """Starts the profiler; with few `steps` the trace begins immediately."""
        self.path: Path | None = None
        self._folder = folder / FOLDER
        before = BEFORE if steps >= 2 * (BEFORE + WARM_UP + PROFILED) else 0
        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if device.type == "cuda" else [])]
        plan = schedule(wait=before, warmup=WARM_UP, active=max(1, min(PROFILED, steps - WARM_UP)), repeat=1)
        self._profiler = profile(activities=activities, schedule=plan, on_trace_ready=self._write)
        self._profiler.start()
        self._open = True
        self._left = before
        self._since = time.monotonic()
        self.seconds = 0.0

    def step(self) -> None:
        """Marks the end of a step."""
        if self._open:
            self._profiler.step()
            self._left -= 1
            if self._left == 0:
                self._since = time.monotonic()
            if self.path is not None:
                self.close()

    def close(self) -> None:
        """Stops the profiler, and writes the trace if it has begun."""
        if self._open:
            self._open = False
            self._profiler.stop()

    def _write(self, found: profile) -> None:
        if self.path is not None:
            return
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / "iterations.pt.trace.json"  # the suffix that TensorBoard's plugin expects
        part = path.with_name(f".{path.name}.part")
        found.export_chrome_trace(str(part))
        part.replace(path)
        self.path = path
        self.seconds = time.monotonic() - self._since
