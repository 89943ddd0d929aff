"""Top-k training of the generator (Sinha et al. 2020, arXiv:2002.06224)."""

from dataclasses import dataclass

from torch import Tensor

from gantrain.options import option, require, unread
from gantrain.training.tricks.base import Decision, Trick, TrickOptions, TrickSetup


@dataclass(slots=True, kw_only=True)
class TopKOptions(TrickOptions):
    """Options of `TopK`."""

    top_k: float = option(1.0, "final share of its fakes that G learns from, those with the largest logits; 1: off")
    top_k_decay: float = option(0.99, "factor on that share per epoch, starting from 1")

    def __post_init__(self) -> None:
        """Checks ranges."""
        require(0 < self.top_k <= 1, "tricks.top_k", self.top_k, "must be in (0, 1]; 1 turns it off")
        require(0 < self.top_k_decay < 1, "tricks.top_k_decay", self.top_k_decay, "must be in (0, 1)")
        if self.top_k == 1:
            unread("tricks.top_k_decay", self.top_k_decay, 0.99, "tricks.top_k below 1")

    def build(self, setup: TrickSetup) -> "TopK | None":
        """See `TrickOptions`."""
        return TopK(self.top_k, self.top_k_decay, setup.batch_size) if self.top_k < 1 else None


class TopK(Trick):
    """The generator learns only from the fakes with the largest logits."""

    def __init__(self, least: float, decay: float, batch_size: int) -> None:
        """Keeps the share max(ν, γ^epoch) of a batch.

        Args:
            least: ν, the share that is always kept.
            decay: γ, factor on the share per epoch.
            batch_size: fakes of a generator step.
        """
        self.least, self.decay, self.batch_size = least, decay, batch_size

    def prepare(self, step: int, epoch: int) -> int:
        """How many fakes are kept in this epoch."""
        return max(1, round(self.batch_size * max(self.least, self.decay**epoch)))

    def select_fakes(
        self, fake_logits: Tensor, real_logits: Tensor | None, decision: Decision
    ) -> tuple[Tensor, Tensor | None]:
        """The largest logits with their graph, and equally many logits of real images."""
        assert isinstance(decision, int)
        kept: Tensor = fake_logits.topk(decision, sorted=False).values
        return kept, None if real_logits is None else real_logits[:decision]
