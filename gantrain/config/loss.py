"""`loss.*` and `regularizer.*`: what each network minimizes, and what the discriminator is held to beside it."""

from dataclasses import dataclass, fields

from gantrain.objectives import GENERATOR_ALIASES, Objective, ObjectiveError, make_objective
from gantrain.options import ConfigError, at_least_0, between, option, unread


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
    label_smoothing: float = option(0.0, "one-sided label smoothing α in [0, 1); disc gan and js only; 0 is off")
    max_log_ratio: float | None = option(None, "bound on |log r| in a divergence generator; null is off")

    def __post_init__(self) -> None:
        """Replaces an alias by its name, and checks the pair by making it."""
        self.gen = GENERATOR_ALIASES.get(self.gen, self.gen)
        self.make()

    def make(self) -> Objective:
        """The objective that these keys name."""
        try:
            return make_objective(**{f.name: getattr(self, f.name) for f in fields(self)})
        except ObjectiveError as error:
            raise ConfigError(f"loss.{error}") from None


@dataclass(slots=True, kw_only=True)
class RegularizerConfig:
    """Constraints on the discriminator beside its loss; spectral norm is model.d_norm=spectral."""

    gp: float = option(0.0, "λ of WGAN-GP's gradient penalty, between real and fake; 10 is the paper's, 0 is off")
    dragan: float = option(0.0, "λ of DRAGAN's gradient penalty, around real images; 10 is the paper's, 0 is off")
    one_sided: bool = option(False, "gp and dragan: leave gradients below 1 alone")
    r1: float = option(0.0, "γ of the zero-centered gradient penalty on real images; 0 is off")
    r2: float = option(0.0, "γ of the zero-centered gradient penalty on fakes; 0 is off")
    interval: int = option(1, "discriminator steps from one r1 and r2 to the next, weighed as many times (lazy)")
    clip: float = option(0.0, "bound of the discriminator's weights after each step; 0.01 is WGAN's, 0 is off")

    def __post_init__(self) -> None:
        """Checks ranges, and which may stand together."""
        for key in ("gp", "dragan", "r1", "r2", "clip"):
            at_least_0(f"regularizer.{key}", getattr(self, key), "0 turns it off")
        between("regularizer.interval", self.interval, 1, 10**6)
        if not (self.r1 or self.r2):
            unread("regularizer.interval", self.interval, 1, "regularizer.r1 and r2")
        if not (self.gp or self.dragan):
            unread("regularizer.one_sided", self.one_sided, False, "regularizer.gp and dragan")
        asked = {"gp": self.gp, "dragan": self.dragan, "clip": self.clip, "r1 or r2": self.r1 or self.r2}
        together = [name for name, strength in asked.items() if strength]
        if len(together) > 1:
            raise ConfigError(
                f"regularizer: {' and '.join(together)} bound the same gradient at different values; choose one of "
                "gp, dragan, clip, or r1 with r2 (model.d_norm=spectral goes with each but clip)"
            )
