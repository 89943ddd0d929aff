"""Length, intervals, sampling and outcome of a run."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor


@dataclass(frozen=True, slots=True)
class Plan:
    """Length of a run and the intervals between logging, grids, checkpoints and evaluations, in generator steps.

    All of these also happen at the last step; `measure_every=0` means only then.
    """

    steps: int
    log_every: int
    grids_every: int
    checkpoint_every: int
    measure_every: int

    def logs(self, step: int) -> bool:
        """Whether scalars are logged after this step."""
        return self._is_due(step, self.log_every)

    def draws(self, step: int) -> bool:
        """Whether a sample grid is drawn after this step."""
        return self._is_due(step, self.grids_every)

    def measures(self, step: int) -> bool:
        """Whether the metrics are evaluated after this step."""
        return self._is_due(step, self.measure_every)

    def saves(self, step: int) -> bool:
        """Whether a checkpoint is due after this step."""
        return self._is_due(step, self.checkpoint_every)

    def _is_due(self, step: int, every: int) -> bool:
        return step == self.steps or (every > 0 and step % every == 0)


@dataclass(frozen=True, slots=True)
class Sampling:
    """How images are generated for grids and metrics: seed, number, batch size, and generators (ema, raw)."""

    seed: int
    count: int
    batch_size: int
    networks: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Grid:
    """What the sample grids show; z is the same during all of training.

    Attributes:
        z: latents (N, latent_dim).
        labels: classes (N,), one per row of the grid, for networks that read labels.
        real: training examples, drawn once.
        draw: (examples, function from examples to D's logits) -> picture, floats (3, H, W) in [0, 1].
        animated: whether the grids become an animation at the end.
    """

    z: Tensor
    labels: Tensor | None
    real: Tensor
    draw: Callable[[Tensor, Callable[[Tensor], Tensor]], Tensor]
    animated: bool = False


@dataclass(slots=True)
class Outcome:
    """The result of a run.

    Attributes:
        step: generator steps done.
        metric_values: latest value of each metric, by name and network.
        best: name, headline, value and step of the best evaluation by the first metric's headline; {} without one.
        diagnostics_share: share of the training time since the last start that diagnostics took; None without them.
        stopped: the doctor's finding that ended the run.
        pruned: why a sweep ended the run early.
        findings: names of all findings since the run began.
    """

    step: int
    metric_values: dict[str, float] = field(default_factory=dict)
    best: dict[str, Any] = field(default_factory=dict)
    diagnostics_share: float | None = None
    stopped: str | None = None
    pruned: str | None = None
    findings: list[str] = field(default_factory=list)
