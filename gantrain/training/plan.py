"""What a run does besides training, how it samples, and what it reaches."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Plan:
    """How long a run is and how often it writes, in generator steps; `measure_every` 0 is the end only."""

    steps: int
    log_every: int
    grids_every: int
    checkpoint_every: int
    measure_every: int


@dataclass(frozen=True, slots=True)
class Sampling:
    """How images are generated for grids and metrics."""

    seed: int
    count: int
    batch_size: int
    networks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Grid:
    """What the sample grids show: the same z over all of training.

    Attributes:
        z: latents (N, latent_dim).
        labels: classes (N,), a class a row, for networks that read them.
        real: training examples, shown once.
        draw: examples and the discriminator's judgment of any -> picture, floats (3, H, W) in [0, 1].
        animated: whether the pictures become an animation at the end.
    """

    z: Tensor
    labels: Tensor | None
    real: Tensor
    draw: Callable[[Tensor, Callable[[Tensor], Tensor]], Tensor]
    animated: bool = False


@dataclass(slots=True)
class Outcome:
    """What a run reached.

    Attributes:
        step: its last.
        figures: the last measurement of each metric.
        best: of the first metric.
        diagnostics_share: of the training time since the run was last started, what went into diagnostics.
        stopped: what the doctor found where it ended the run.
        pruned: why a sweep ended the run before its last step.
        findings: the names of all that it has found since the run began.
    """

    step: int
    metric_values: dict[str, float] = field(default_factory=dict)
    best: dict[str, Any] = field(default_factory=dict)
    diagnostics_share: float | None = None
    stopped: str | None = None
    pruned: str | None = None
    findings: list[str] = field(default_factory=list)
