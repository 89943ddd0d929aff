"""`sweep.*`: many runs, what ends one early, and how a broken sweep goes on."""

from dataclasses import dataclass

from gantrain.options import between, choice, option


@dataclass(slots=True, kw_only=True)
class SweepConfig:
    """What is done with many runs; see also hydra/launcher and hydra/sweeper."""

    resume: str | None = option(None, "a sweep's folder to go on with: finished runs are kept, broken ones taken up")
    retry: bool = option(False, "on resume, take up failed and stopped runs too, from their checkpoints")
    invalid_pairs: str = option("fail", "a pair that does not exist: fail, or skip as experiment=grid_divergences does")
    objective: str = option(
        "auto", "metric value that a sweeper optimizes, a run's best; auto: that which decides the best checkpoint"
    )
    prune: bool = option(False, "end a run whose figure falls behind the sweep's finished runs at the same step")
    prune_percentile: float = option(50.0, "go on among the best so many percent of them; 50 is the median rule")
    prune_after: int = option(4, "finished runs before any is pruned")
    prune_from: float = option(0.2, "share of the steps before which no run is pruned")

    def __post_init__(self) -> None:
        """Checks names and ranges."""
        choice("sweep.invalid_pairs", self.invalid_pairs, ("fail", "skip"))
        between("sweep.prune_percentile", self.prune_percentile, 0, 100)
        between("sweep.prune_after", self.prune_after, 1, 10**6)
        between("sweep.prune_from", self.prune_from, 0, 1)
