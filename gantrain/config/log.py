"""`log.*` and `doctor.*`: how often a run writes and checks itself, and whether a finding ends it."""

import math
from dataclasses import dataclass

from gantrain.options import between, option, require


@dataclass(slots=True, kw_only=True)
class LogConfig:
    """How often a run writes."""

    every_steps: int | None = option(None, "steps between logged scalars; null: a hundredth of the run, at most 100")
    grids_every_steps: int | None = option(None, "steps between sample grids; null: a twentieth of the run")
    checkpoint_every_steps: int | None = option(None, "steps between checkpoints; null: a tenth of the run")
    diagnostics_every_steps: int | None = option(
        None,
        "steps between diagnostics, rounded up to a multiple of log.every_steps; null: 250 on CUDA, 50 on a "
        "CPU, 500 for points; 0: never, and no doctor",
    )
    grid_images: int = option(
        64,
        "images in a grid, a square number n²; with labels, n images of each class, for at most max(n, 10) classes",
    )

    def __post_init__(self) -> None:
        """Checks ranges."""
        for key in ("every_steps", "grids_every_steps", "checkpoint_every_steps"):
            between(f"log.{key}", getattr(self, key), 1, 10**9)
        between("log.diagnostics_every_steps", self.diagnostics_every_steps, 0, 10**9)
        between("log.grid_images", self.grid_images, 1, 1024)
        square = math.isqrt(self.grid_images) ** 2 == self.grid_images
        require(square, "log.grid_images", self.grid_images, "must be a square number, e.g. 64")


@dataclass(slots=True, kw_only=True)
class DoctorConfig:
    """What the doctor's findings do to the run."""

    stop: bool = option(False, "end the run, with a checkpoint, at the doctor's first finding")
