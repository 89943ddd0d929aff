"""`cond.*`: how the two networks read labels."""

from dataclasses import dataclass

from gantrain.networks.spec import GENERATOR_LABELS, LABELS
from gantrain.options import at_least_0, choice, option, unread


@dataclass(slots=True, kw_only=True)
class CondConfig:
    """Training with class labels."""

    name: str = option("none", "how the discriminator reads labels: none, acgan or projection")
    generator: str = option(
        "batch_norm", "how the generator reads labels: batch_norm (class-conditional) or embedding (with z)"
    )
    weight_d: float = option(1.0, "acgan: weight of the classification loss in the discriminator's loss")
    weight_g: float = option(1.0, "acgan: weight of the classification loss in the generator's loss")

    def __post_init__(self) -> None:
        """Checks names and ranges."""
        choice("cond.name", self.name, LABELS)
        choice("cond.generator", self.generator, GENERATOR_LABELS)
        if self.name == "none":
            unread("cond.generator", self.generator, "batch_norm", "cond=acgan and cond=projection")
        for key in ("weight_d", "weight_g"):
            weight = getattr(self, key)
            at_least_0(f"cond.{key}", weight, "1 is the paper's")
            if self.name != "acgan":
                unread(f"cond.{key}", weight, 1.0, "cond=acgan")
