"""`log.*` and `doctor.*`: how often a run writes and looks at itself, and what a finding does to it."""

import math
from dataclasses import dataclass

from gantrain.options import between, option, require


@dataclass(slots=True, kw_only=True)
class LogConfig:
    """How often a run writes."""

    every_steps: int | None = option(None, "steps between rows of scalars; null: a hundredth of the run, at most 100")
    grids_every_steps: int | None = option(None, "steps between sample grids; null: a twentieth of the run")
    checkpoint_every_steps: int | None = option(None, "steps between checkpoints; null: a tenth of the run")
    diagnostics_every_steps: int | None = option(
        None,
        "steps between looks at how the game stands, rounded up to rows of scalars; null: 250 on CUDA, 50 on a CPU, "
        "500 for points; 0 is never, and no doctor",
    )
    grid_images: int = option(
        64,
        "images in a grid, a square number n²; with labels n of each class, at most ten classes or n",
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
    """What becomes of a run in which something is found that does not mend itself."""

    stop: bool = option(False, "end the run, with its checkpoint, at the doctor's first finding")
