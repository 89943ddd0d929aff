"""Pairs of objectives: one for the discriminator, one for the generator.

`make_objective` checks a pair and returns its two losses, for any training loop.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from gantrain.errors import GantrainError
from gantrain.objectives.divergences import Divergence, divergence_names, get_divergence
from gantrain.objectives.numerics import softplus
from gantrain.objectives.other_losses import DISCRIMINATOR_LOSSES, GENERATOR_ALIASES, GENERATOR_LOSSES

RULES = ("poole", "exact")
PARAMS = ("fgan", "log_ratio")
SMOOTHABLE = ("gan", "js")


class ObjectiveError(GantrainError):
    """An objective that does not exist or cannot be computed; the message lists alternatives.

    The message starts with the name of the offending argument.
    """


def discriminator_names() -> tuple[str, ...]:
    """Every value of `disc`."""
    return (*divergence_names(), *DISCRIMINATOR_LOSSES)


def generator_names() -> tuple[str, ...]:
    """Canonical names of the generator objectives."""
    return (*divergence_names(), *GENERATOR_LOSSES)


def generator_choices() -> tuple[str, ...]:
    """Every value of `gen`: `auto`, the names and their aliases."""
    return ("auto", *generator_names(), *GENERATOR_ALIASES)


def generators_for(disc: str) -> tuple[str, ...]:
    """The generator objectives that work with discriminator `disc`; the first is the one that `gen=auto` chooses."""
    if disc in DISCRIMINATOR_LOSSES:
        return DISCRIMINATOR_LOSSES[disc].generators
    return ("alt", "minimax", *(divergence_names() if _estimates_ratio(disc) else ()))


def discriminators_for(gen: str) -> tuple[str, ...]:
    """The discriminators that generator objective `gen` works with."""
    return tuple(disc for disc in discriminator_names() if gen in generators_for(disc))


@dataclass(frozen=True, slots=True)
class Objective:
    """A checked pair of losses; created by `make_objective`, which documents the fields.

    Logits are the discriminator's raw outputs v, floating tensors of any shape. Half precision is converted to
    float32 first, so both losses are float32 or float64 scalars.
    """

    disc: str
    gen: str
    rule: str
    normalize_ratio: bool
    param: str
    alpha_disc: float | None
    alpha_gen: float | None
    label_smoothing: float
    max_log_ratio: float | None

    def __str__(self) -> str:
        """The pair and all arguments that differ from their defaults, e.g. `disc=gan gen=kl rule=exact`."""
        words = [f"disc={self.disc}", f"gen={self.gen}"]
        if self.rule != "poole":
            words.append(f"rule={self.rule}")
        if self.param != "fgan":
            words.append(f"param={self.param}")
        if self.normalize_ratio:
            words.append("normalize_ratio=true")
        for name in ("alpha_disc", "alpha_gen", "max_log_ratio"):
            if getattr(self, name) is not None:
                words.append(f"{name}={getattr(self, name):g}")
        if self.label_smoothing:
            words.append(f"label_smoothing={self.label_smoothing:g}")
        return " ".join(words)

    @property
    def divergence(self) -> Divergence | None:
        """The discriminator's f-divergence; None for a loss outside the f-family."""
        return None if self.disc in DISCRIMINATOR_LOSSES else get_divergence(self.disc, self.alpha_disc)

    @property
    def has_log_ratio(self) -> bool:
        """Whether the discriminator estimates log q/p."""
        return _estimates_ratio(self.disc)

    @property
    def needs_real_logits(self) -> bool:
        """Whether `generator_loss` takes the real logits as well."""
        return self.gen == "relativistic"

    @property
    def boundary(self) -> float | None:
        """The logit above which the discriminator says "real"; None if a single logit does not decide."""
        divergence = self.divergence
        if divergence is None:
            return DISCRIMINATOR_LOSSES[self.disc].boundary
        if divergence.logit_from_log_ratio is None or self.param == "log_ratio":
            return 0.0
        return float(divergence.logit_from_log_ratio(torch.zeros((), dtype=torch.float64)))

    def discriminator_loss(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """The loss that the discriminator minimizes: -E_q[g(v)] + E_p[f*(g(v))] for an f-divergence.

        Args:
            real_logits: v on real images.
            fake_logits: v on generated images; for `disc=relativistic` of the same shape.

        Returns:
            A scalar tensor, the mean over the batch.
        """
        real, fake = _at_least_float32(real_logits), _at_least_float32(fake_logits)
        divergence = self.divergence
        if divergence is None:
            if self.disc == "relativistic":
                _check_pairs(real, fake)
            return DISCRIMINATOR_LOSSES[self.disc].loss(real, fake)
        on_real = -self._activation(divergence, real).mean()
        if self.label_smoothing:
            # One-sided (Salimans et al. 2016): the real target is 1 - α, the fake target stays 0.
            smoothed = self.label_smoothing * self._conjugate(divergence, real).mean()
            on_real = (1 - self.label_smoothing) * on_real + smoothed
        return on_real + self._conjugate(divergence, fake).mean()

    def generator_loss(self, fake_logits: Tensor, real_logits: Tensor | None = None) -> Tensor:
        """The loss that the generator minimizes.

        Args:
            fake_logits: v on generated images, with their graph.
            real_logits: v on real images; required by `gen=relativistic`, ignored by all others.

        Returns:
            A scalar tensor, the mean over the batch.

        Raises:
            ObjectiveError: `gen=relativistic` without `real_logits`, or with logits of another shape.
        """
        v = _at_least_float32(fake_logits)
        if self.gen == "relativistic":
            if real_logits is None:
                raise ObjectiveError("gen='relativistic' compares pairs: generator_loss also needs real_logits=")
            real = _at_least_float32(real_logits)
            _check_pairs(real, v)
            return softplus(real - v).mean()
        if self.gen in ("alt", "minimax"):
            divergence = self.divergence
            assert divergence is not None, "make_objective requires an f-divergence for minimax and alt"
            part = self._activation if self.gen == "alt" else self._conjugate
            return -part(divergence, v).mean()
        loss = GENERATOR_LOSSES[self.gen].loss if self.gen in GENERATOR_LOSSES else None
        if loss is not None:
            return loss(v)
        divergence = get_divergence(self.gen, self.alpha_gen)
        x = self.log_ratio(v)
        if self.normalize_ratio:
            log_mean_ratio = torch.logsumexp(x.detach().flatten(), dim=0) - math.log(x.numel())
            x = x - log_mean_ratio
        integrand = divergence.f if self.rule == "poole" else divergence.exact_integrand
        assert integrand is not None, "make_objective refuses the exact rule of a divergence without f'"
        return integrand(x).mean()

    def log_ratio(self, logits: Tensor) -> Tensor:
        """The discriminator's estimate of log q(x)/p(x), clamped to ±max_log_ratio if that is set.

        With label smoothing α the optimum is D = (1-α)q/(p+q), so the estimate log D/(1-D) is biased. With
        `disc=pearson` logits below -2 correspond to no ratio and give NaN unless `max_log_ratio` is set.

        Raises:
            ObjectiveError: the discriminator estimates no ratio.
        """
        divergence = self.divergence
        if divergence is None or divergence.log_ratio is None:
            raise ObjectiveError(_no_ratio(self.disc))
        v = _at_least_float32(logits)
        bounds = self._logit_bounds(divergence)
        if bounds is not None:
            v = v.clamp(*bounds)
        return v if self.param == "log_ratio" else divergence.log_ratio(v)

    def ratio_is_clipped(self, logits: Tensor) -> Tensor:
        """Boolean tensor of the shape of `logits`: where `max_log_ratio` is active; all False if it is not set."""
        divergence = self.divergence
        bounds = None if divergence is None or divergence.log_ratio is None else self._logit_bounds(divergence)
        if bounds is None:
            return torch.zeros_like(logits, dtype=torch.bool)
        v = _at_least_float32(logits)
        return (v < bounds[0]) | (v > bounds[1])

    def _logit_bounds(self, divergence: Divergence) -> tuple[float, float] | None:
        """The logits at which log r is ∓max_log_ratio; clamping v, not log r, keeps pearson in its domain."""
        if self.max_log_ratio is None:
            return None
        ends = torch.tensor([-self.max_log_ratio, self.max_log_ratio], dtype=torch.float64)
        if self.param == "fgan":
            assert divergence.logit_from_log_ratio is not None, "the inverse of log_ratio"
            ends = divergence.logit_from_log_ratio(ends)
        low, high = ends.tolist()
        return low, high

    def _activation(self, divergence: Divergence, v: Tensor) -> Tensor:
        """T: g(v), or f'(e^v) with `param=log_ratio`."""
        if self.param == "fgan":
            return divergence.activation(v)
        assert divergence.f_prime is not None, "make_objective refuses param=log_ratio without f'"
        return divergence.f_prime(v)

    def _conjugate(self, divergence: Divergence, v: Tensor) -> Tensor:
        """f*(T); with `param=log_ratio` it is e^v f'(e^v) - f(e^v)."""
        if self.param == "fgan":
            return divergence.conjugate(v)
        assert divergence.exact_integrand is not None, "make_objective refuses param=log_ratio without f'"
        return -divergence.exact_integrand(v)


def make_objective(
    disc: str = "gan",
    gen: str = "auto",
    *,
    rule: str = "poole",
    normalize_ratio: bool = False,
    param: str = "fgan",
    alpha_disc: float | None = None,
    alpha_gen: float | None = None,
    label_smoothing: float = 0.0,
    max_log_ratio: float | None = None,
) -> Objective:
    """Checks a pair of objectives and returns its losses.

    Args:
        disc: discriminator's objective, one of `discriminator_names()`.
        gen: generator's objective, one of `generator_names()`, `auto` for the discriminator's own, or `nonsaturating`,
            another name for `alt`.
        rule: if `gen` is a divergence: `poole` minimizes E_p[f(r)] (Poole et al. 2016, eq. 8), `exact`
            E_p[f(r) - r f'(r)], whose gradient is the divergence's own if r is the true ratio.
        normalize_ratio: divide r by its mean over the batch of fakes (E_p[r] = 1 must hold).
        param: how an f-divergence discriminator's logit is read: `fgan`, through the activation of
            Nowozin et al. 2016, or `log_ratio`, as log r itself.
        alpha_disc: order of `disc='alpha'`, any finite number.
        alpha_gen: order of `gen='alpha'`, any finite number.
        label_smoothing: α in [0, 1), one-sided; `disc` gan and js only.
        max_log_ratio: bound on |log r| for divergence generators, > 0; None for no bound.

    Raises:
        ObjectiveError: an unknown name, an impossible pair, or an argument that the pair does not use.
    """
    _check_name("disc", disc, discriminator_names())
    _check_name("gen", gen, generator_choices())
    gen = generators_for(disc)[0] if gen == "auto" else GENERATOR_ALIASES.get(gen, gen)
    _check_name("rule", rule, RULES)
    _check_name("param", param, PARAMS)
    _check_pair(disc, gen)
    _check_order("alpha_disc", alpha_disc, "disc", disc)
    _check_order("alpha_gen", alpha_gen, "gen", gen)
    is_divergence = gen in divergence_names()
    if rule == "exact" and not is_divergence:
        exact = tuple(name for name in generators_for(disc) if name in divergence_names() and _estimates_ratio(name))
        other = f", or choose gen from {_listed(exact)}" if exact else ""
        raise ObjectiveError(f"rule='exact' needs a divergence as gen, not gen={gen!r}: set rule=poole{other}")
    if rule == "exact" and get_divergence(gen, alpha_gen).exact_integrand is None:
        raise ObjectiveError(
            f"rule='exact' has no gradient for gen={gen!r}: f(r) - r f'(r) is constant almost everywhere; "
            "use rule=poole or another divergence"
        )
    if normalize_ratio and not is_divergence:
        raise ObjectiveError(
            f"normalize_ratio=true needs a divergence as gen, but gen={gen!r} uses no ratio: "
            f"leave it false, or choose gen from {_listed(divergence_names())}"
        )
    if param == "log_ratio" and not _estimates_ratio(disc):
        raise ObjectiveError(f"param='log_ratio' needs a discriminator that estimates r: {_no_ratio(disc)}")
    if isinstance(label_smoothing, bool) or not 0 <= label_smoothing < 1:
        raise ObjectiveError(f"label_smoothing={label_smoothing!r} must be in [0, 1); 0 turns it off")
    if label_smoothing and disc not in SMOOTHABLE:
        raise ObjectiveError(
            f"label_smoothing={label_smoothing:g} is defined for disc=gan and disc=js only, not {disc!r}; set it to 0"
        )
    if max_log_ratio is not None:
        if not (math.isfinite(max_log_ratio) and max_log_ratio > 0):
            raise ObjectiveError(
                f"max_log_ratio={max_log_ratio!r} must be a finite number above 0, or null for no bound"
            )
        if not is_divergence:
            raise ObjectiveError(
                f"max_log_ratio={max_log_ratio:g} bounds the ratio in a divergence generator, but "
                f"gen={gen!r} uses no ratio: set it to null"
            )
    return Objective(
        disc=disc,
        gen=gen,
        rule=rule,
        normalize_ratio=normalize_ratio,
        param=param,
        alpha_disc=alpha_disc,
        alpha_gen=alpha_gen,
        label_smoothing=float(label_smoothing),
        max_log_ratio=max_log_ratio,
    )


def _at_least_float32(logits: Tensor) -> Tensor:
    return logits.float() if logits.dtype in (torch.bfloat16, torch.float16) else logits


def _estimates_ratio(disc: str) -> bool:
    return disc not in DISCRIMINATOR_LOSSES and get_divergence(disc).log_ratio is not None


def _listed(names: tuple[str, ...]) -> str:
    return "[" + ", ".join(names) + "]"


def _check_name(argument: str, name: str, known: tuple[str, ...]) -> None:
    if name not in known:
        raise ObjectiveError(f"{argument}={name!r} is unknown; choose one of {_listed(known)}")


def _check_pairs(real: Tensor, fake: Tensor) -> None:
    if real.shape != fake.shape:
        raise ObjectiveError(
            f"real_logits of shape {tuple(real.shape)} and fake_logits of shape {tuple(fake.shape)}: the "
            "relativistic losses compare pairs, so the shapes must be equal"
        )


def _no_ratio(disc: str) -> str:
    with_ratio = tuple(filter(_estimates_ratio, divergence_names()))
    reason = "q/p is not a function of its optimum" if disc in DISCRIMINATOR_LOSSES else "its f' has no inverse"
    return f"disc={disc!r} estimates no ratio q/p ({reason}); these do: {_listed(with_ratio)}"


def _check_pair(disc: str, gen: str) -> None:
    works = generators_for(disc)
    if gen in works:
        return
    if gen in divergence_names():
        why = f"{_no_ratio(disc)}; gen={gen!r} is a function of that ratio"
    else:
        why = f"gen={gen!r} needs {GENERATOR_LOSSES[gen].needs}"
    raise ObjectiveError(
        f"gen={gen!r} does not work with disc={disc!r}: {why}. With disc={disc!r} choose gen from "
        f"{_listed(works)}; gen={gen!r} works with disc in {_listed(discriminators_for(gen))}"
    )


def _check_order(argument: str, order: float | None, side: str, name: str) -> None:
    if name == "alpha":
        if order is None:
            raise ObjectiveError(f"{argument} is not set, but {side}='alpha' needs an order: any number, e.g. 0.5")
        if isinstance(order, bool) or not math.isfinite(order):
            raise ObjectiveError(f"{argument}={order!r} must be a finite number, the order of {side}='alpha'")
    elif order is not None:
        raise ObjectiveError(
            f"{argument}={order!r} is the order of {side}='alpha', but {side}={name!r}: set it to null"
        )
