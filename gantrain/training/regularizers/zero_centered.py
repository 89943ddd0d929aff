"""R1 and R2: penalties on the norm of the discriminator's input gradient (Mescheder et al. 2018, arXiv:1801.04406)."""

from dataclasses import dataclass

from torch import Tensor

from gantrain.options import at_least_0, between, option, unread
from gantrain.training.regularizers.base import DiscriminatorBatch, Regularizer, input_gradient


@dataclass(slots=True, kw_only=True)
class ZeroCenteredPenalty(Regularizer):
    """γ/2 ‖∇v‖² on real images (R1) and on fakes (R2), in every step or lazily.

    With an interval, the penalties are computed only at every `interval`-th discriminator step, with `interval` times
    the weight (lazy regularization, Karras et al. 2020, §3.1 of arXiv:1912.04958).
    """

    alternatives = ("r1", "r2", "r1 with r2")

    r1: float = option(0.0, "γ of the zero-centered gradient penalty on real images; 0: off")
    r2: float = option(0.0, "γ of the zero-centered gradient penalty on fakes; 0: off")
    interval: int = option(
        1, "compute r1 and r2 at every interval-th discriminator step, with that many times the weight (lazy)"
    )

    def __post_init__(self) -> None:
        """Checks ranges."""
        at_least_0("regularizer.r1", self.r1, "0 turns it off")
        at_least_0("regularizer.r2", self.r2, "0 turns it off")
        between("regularizer.interval", self.interval, 1, 10**6)
        if not self.active():
            unread("regularizer.interval", self.interval, 1, "regularizer.r1 and r2")

    @property
    def differentiated_inputs(self) -> tuple[str, ...]:
        """See `Regularizer`."""
        return ("real",) * bool(self.r1) + ("fake",) * bool(self.r2)

    def active(self) -> tuple[str, ...]:
        """See `Regularizer`."""
        on = [name for name in ("r1", "r2") if getattr(self, name)]
        return (" with ".join(on),) if on else ()

    def is_due(self, d_update: int) -> bool:
        """See `Regularizer`."""
        return d_update % self.interval == 0

    def penalties(self, batch: DiscriminatorBatch) -> dict[str, Tensor]:
        """See `Regularizer`."""
        found = {}
        if self.r1:
            found["r1"] = self.r1 * self.interval * zero_centered_penalty(batch.real_logits, batch.real)
        if self.r2:
            found["r2"] = self.r2 * self.interval * zero_centered_penalty(batch.fake_logits, batch.fake)
        return found


def zero_centered_penalty(logits: Tensor, images: Tensor) -> Tensor:
    """½ E‖∇v‖² on these images (eq. 9 and 10 of the paper); `logits` must have been computed from `images`."""
    return input_gradient(logits, images).square().sum(dim=1).mean() / 2
