"""`loss.*`: what each network minimizes."""

from dataclasses import dataclass, fields

from gantrain.objectives import GENERATOR_ALIASES, Objective, ObjectiveError, make_objective
from gantrain.options import ConfigError, option


@dataclass(slots=True, kw_only=True)
class LossConfig:
    """The pair of objectives, checked; `make_objective` documents the keys."""

    disc: str = option("gan", "discriminator's objective")
    gen: str = option("auto", "generator's objective; auto is the discriminator's own, nonsaturating is alt")
    rule: str = option("poole", "divergence generators: poole minimizes E_p[f(r)], exact the divergence itself")
    normalize_ratio: bool = option(False, "divergence generators: divide r by its mean over the fakes")
    param: str = option("fgan", "an f-divergence discriminator's logit: fgan (through g) or log_ratio (v is log r)")
    alpha_disc: float | None = option(None, "order of disc=alpha, any number")
    alpha_gen: float | None = option(None, "order of gen=alpha, any number")
    label_smoothing: float = option(0.0, "one-sided label smoothing α in [0, 1); disc gan and js only; 0: off")
    max_log_ratio: float | None = option(None, "bound on |log r| in a divergence generator; null: off")

    def __post_init__(self) -> None:
        """Resolves aliases, and checks the pair by constructing it."""
        self.gen = GENERATOR_ALIASES.get(self.gen, self.gen)
        self.make()

    def make(self) -> Objective:
        """The objective that these keys select."""
        try:
            return make_objective(**{f.name: getattr(self, f.name) for f in fields(self)})
        except ObjectiveError as error:
            raise ConfigError(f"loss.{error}") from None
