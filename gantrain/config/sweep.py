"""`sweep.*`: resuming a sweep, the metric it optimizes, and ending runs early."""

from dataclasses import dataclass

from gantrain.options import between, choice, option


@dataclass(slots=True, kw_only=True)
class SweepConfig:
    """Settings of a sweep; see also hydra/launcher and hydra/sweeper."""

    resume: str | None = option(
        None, "folder of a sweep to continue: finished runs are kept, interrupted runs continue from their checkpoints"
    )
    retry: bool = option(False, "on resume, also continue failed and stopped runs from their checkpoints")
    invalid_pairs: str = option(
        "fail", "a pair of objectives that does not exist: fail, or skip (as in experiment=grid_divergences)"
    )
    objective: str = option(
        "auto",
        "metric whose best value over a run an optimizing sweeper reads; auto: the metric that decides the "
        "best checkpoint",
    )
    prune: bool = option(False, "end a run early if its metric falls behind the sweep's finished runs at the same step")
    prune_percentile: float = option(
        50.0, "a run continues while it is among this percentage of the best; 50: the median rule"
    )
    prune_after: int = option(4, "finished runs before any run is pruned")
    prune_from: float = option(0.2, "share of the steps before which no run is pruned")

    def __post_init__(self) -> None:
        """Checks names and ranges."""
        choice("sweep.invalid_pairs", self.invalid_pairs, ("fail", "skip"))
        between("sweep.prune_percentile", self.prune_percentile, 0, 100)
        between("sweep.prune_after", self.prune_after, 1, 10**6)
        between("sweep.prune_from", self.prune_from, 0, 1)
