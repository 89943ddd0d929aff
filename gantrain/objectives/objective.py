"""Divergence pairs: one objective for the discriminator, one for the generator.

`make_objective` is the public door. It needs nothing else of gantrain, so it serves any training loop.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from gantrain.errors import GantrainError
from gantrain.objectives.divergences import DIVERGENCE_NAMES, Divergence, get_divergence
from gantrain.objectives.numerics import softplus
from gantrain.objectives.other_losses import GENERATOR_RULES, MARGIN_DISCRIMINATORS

RULES = ("poole", "exact")
PARAMS = ("fgan", "log_ratio")
SMOOTHABLE = ("gan", "js")


class ObjectiveError(GantrainError):
    """An objective that does not exist or cannot be computed, with the way out.

    The message starts with the name of the argument it is about.
    """


DISCRIMINATOR_NAMES = (*DIVERGENCE_NAMES, *MARGIN_DISCRIMINATORS)
GENERATOR_NAMES = (*DIVERGENCE_NAMES, *GENERATOR_RULES)


def generators_for(disc: str) -> tuple[str, ...]:
    """The generator objectives that work with discriminator `disc`, its own (`gen=auto`) first."""
    if disc in MARGIN_DISCRIMINATORS:
        return MARGIN_DISCRIMINATORS[disc].generators
    rules = ("alt", "minimax")
    return rules if disc == "tv" else (*rules, *DIVERGENCE_NAMES)


def discriminators_for(gen: str) -> tuple[str, ...]:
    """The discriminators that generator objective `gen` works with."""
    return tuple(disc for disc in DISCRIMINATOR_NAMES if gen in generators_for(disc))


@dataclass(frozen=True, slots=True)
class Objective:
    """A checked pair of losses; make one with `make_objective`.

    Logits are the discriminator's raw outputs v, floating tensors of any shape; half-precision ones are
    taken to float32 first, so that both losses are float32 or float64 scalars.
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
        """The pair as its non-default arguments, e.g. `disc=gan gen=kl rule=exact`."""
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
        """The discriminator's f-divergence; None for hinge, wasserstein, lsgan and relativistic."""
        if self.disc in MARGIN_DISCRIMINATORS:
            return None
        return get_divergence(self.disc, self.alpha_disc)

    @property
    def has_log_ratio(self) -> bool:
        """Whether the discriminator estimates log q/p."""
        return self.divergence is not None and self.divergence.log_ratio is not None

    @property
    def needs_real_logits(self) -> bool:
        """Whether `generator_loss` takes the real logits as well."""
        return self.gen == "relativistic"

    @property
    def boundary(self) -> float | None:
        """The logit above which the discriminator says "real"; None where a single logit does not say."""
        divergence = self.divergence
        if divergence is None:
            return MARGIN_DISCRIMINATORS[self.disc].boundary
        if divergence.logit_from_log_ratio is None or self.param == "log_ratio":
            return 0.0
        return float(divergence.logit_from_log_ratio(torch.zeros((), dtype=torch.float64)))

    def discriminator_loss(self, real_logits: Tensor, fake_logits: Tensor) -> Tensor:
        """The loss that the discriminator minimizes.

        Args:
            real_logits: v on real images; the same shape as `fake_logits` for `disc=relativistic`.
            fake_logits: v on generated images.

        Returns:
            A scalar tensor, the mean over the batch.
        """
        real, fake = _at_least_float32(real_logits), _at_least_float32(fake_logits)
        divergence = self.divergence
        if divergence is None:
            if self.disc == "relativistic":
                _check_pairs(real, fake)
            return MARGIN_DISCRIMINATORS[self.disc].loss(real, fake)
        on_real = -self._activation(divergence, real).mean()
        if self.label_smoothing:
            # One-sided (Salimans et al. 2016): the real target is 1 - α, the fake target stays 0.
            on_real = (1 - self.label_smoothing) * on_real + self.label_smoothing * self._conjugate(
                divergence, real
            ).mean()
        return on_real + self._conjugate(divergence, fake).mean()

    def generator_loss(self, fake_logits: Tensor, real_logits: Tensor | None = None) -> Tensor:
        """The loss that the generator minimizes.

        Args:
            fake_logits: v on generated images, with their graph.
            real_logits: v on real images; only `gen=relativistic` reads it, and needs it.

        Returns:
            A scalar tensor, the mean over the batch.

        Raises:
            ObjectiveError: `gen=relativistic` without `real_logits`, or with another number of them.
        """
        v = _at_least_float32(fake_logits)
        if self.gen == "relativistic":
            if real_logits is None:
                raise ObjectiveError("gen='relativistic' compares pairs: generator_loss needs real_logits= as well")
            real = _at_least_float32(real_logits)
            _check_pairs(real, v)
            return softplus(real - v).mean()
        if self.gen in GENERATOR_RULES:
            return self._rule_loss(v)
        divergence = get_divergence(self.gen, self.alpha_gen)
        x = self.log_ratio(v)
        if self.normalize_ratio:
            log_mean_ratio = torch.logsumexp(x.detach().flatten(), dim=0) - math.log(x.numel())
            x = x - log_mean_ratio
        integrand = divergence.f if self.rule == "poole" else divergence.exact_integrand
        assert integrand is not None, "make_objective refuses the exact rule of a divergence without h"
        return integrand(x).mean()

    def log_ratio(self, logits: Tensor) -> Tensor:
        """The discriminator's estimate of log q(x)/p(x), within ±max_log_ratio if that is set.

        With label smoothing α the estimate is of log of D/(1-D) for the optimum D = (1-α)q/(p+q), which
        is biased. With `disc=pearson` logits below -2 stand for no ratio and give NaN, unless
        `max_log_ratio` bounds them.

        Raises:
            ObjectiveError: the discriminator estimates no ratio.
        """
        divergence = self.divergence
        if divergence is None or divergence.log_ratio is None or divergence.logit_from_log_ratio is None:
            raise ObjectiveError(_no_ratio(self.disc))
        v = _at_least_float32(logits)
        bounds = self._logit_bounds(divergence)
        if bounds is not None:
            v = v.clamp(*bounds)
        return v if self.param == "log_ratio" else divergence.log_ratio(v)

    def ratio_is_clipped(self, logits: Tensor) -> Tensor:
        """Boolean tensor: where `max_log_ratio` binds. All False when it is not set."""
        divergence = self.divergence
        bounds = (
            None if divergence is None or divergence.logit_from_log_ratio is None else self._logit_bounds(divergence)
        )
        if bounds is None:
            return torch.zeros_like(logits, dtype=torch.bool)
        v = _at_least_float32(logits)
        return (v < bounds[0]) | (v > bounds[1])

    def _logit_bounds(self, divergence: Divergence) -> tuple[float, float] | None:
        """The logits at which log r is ∓max_log_ratio; clamping v rather than log r keeps pearson in its domain."""
        if self.max_log_ratio is None:
            return None
        ends = torch.tensor([-self.max_log_ratio, self.max_log_ratio], dtype=torch.float64)
        if self.param == "fgan":
            assert divergence.logit_from_log_ratio is not None, "has_log_ratio implies logit_from_log_ratio"
            ends = divergence.logit_from_log_ratio(ends)
        low, high = ends.tolist()
        return low, high

    def _activation(self, divergence: Divergence, v: Tensor) -> Tensor:
        """T, the variational function, in the chosen parametrization of v."""
        if self.param == "fgan":
            return divergence.activation(v)
        assert divergence.f_prime is not None, "make_objective refuses param=log_ratio without f'"
        return divergence.f_prime(v)

    def _conjugate(self, divergence: Divergence, v: Tensor) -> Tensor:
        """f*(T), in the chosen parametrization of v."""
        if self.param == "fgan":
            return divergence.conjugate(v)
        assert divergence.exact_integrand is not None, "make_objective refuses param=log_ratio without f'"
        return -divergence.exact_integrand(v)

    def _rule_loss(self, v: Tensor) -> Tensor:
        if self.gen == "linear":
            return -v.mean()
        if self.gen == "hinge_ns":
            return torch.relu(1 - v).mean()
        if self.gen == "lsgan":
            return (v - 1).square().mean() / 2
        divergence = self.divergence
        assert divergence is not None, "make_objective gives minimax and alt an f-divergence"
        if self.gen == "minimax":
            return -self._conjugate(divergence, v).mean()
        return -self._activation(divergence, v).mean()


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
    """Checks a divergence pair and returns its losses.

    Args:
        disc: discriminator's objective, one of `DISCRIMINATOR_NAMES`.
        gen: generator's objective, one of `GENERATOR_NAMES`, or `auto` for the discriminator's own.
        rule: for a divergence as `gen`: `poole` minimizes E_p[f(r)] (Poole et al. 2016, eq. 8), `exact`
            E_p[f(r) - r f'(r)], whose gradient is that of the divergence itself when r is true.
        normalize_ratio: divide r by its mean over the batch of fakes (E_p[r] = 1 must hold).
        param: how an f-divergence discriminator's logit is read: `fgan`, through the activation of
            Nowozin et al. 2016, or `log_ratio`, as log r itself.
        alpha_disc: order of `disc='alpha'`, any finite number.
        alpha_gen: order of `gen='alpha'`, any finite number.
        label_smoothing: α in [0, 1), one-sided; `disc` gan and js only.
        max_log_ratio: bound on |log r| for divergence generators, > 0; None for none.

    Raises:
        ObjectiveError: an unknown name, an impossible pair, or an argument that the pair does not read.
    """
    _check_name("disc", disc, DISCRIMINATOR_NAMES)
    if gen == "auto":
        gen = generators_for(disc)[0]
    _check_name("gen", gen, GENERATOR_NAMES, extra=("auto",))
    _check_name("rule", rule, RULES)
    _check_name("param", param, PARAMS)
    _check_pair(disc, gen)
    _check_order("alpha_disc", alpha_disc, "disc", disc)
    _check_order("alpha_gen", alpha_gen, "gen", gen)
    by_ratio = gen in DIVERGENCE_NAMES
    if rule == "exact" and not by_ratio:
        with_rule = tuple(name for name in generators_for(disc) if name in DIVERGENCE_NAMES and name != "tv")
        other = f", or choose gen from {_listed(with_rule)}" if with_rule else ""
        raise ObjectiveError(
            f"rule='exact' concerns divergences as generators, and gen={gen!r} is none: set rule=poole{other}"
        )
    if rule == "exact" and gen == "tv":
        raise ObjectiveError(
            "rule='exact' has no gradient for gen='tv': f(r) - r f'(r) is -½ sign(r - 1), constant almost "
            "everywhere; use rule=poole or another divergence"
        )
    if normalize_ratio and not by_ratio:
        raise ObjectiveError(
            f"normalize_ratio=true concerns divergences as generators, and gen={gen!r} reads no ratio: "
            f"leave it false, or choose gen from {_listed(DIVERGENCE_NAMES)}"
        )
    if param == "log_ratio" and (disc in MARGIN_DISCRIMINATORS or disc == "tv"):
        raise ObjectiveError(f"param='log_ratio' needs a discriminator that estimates r: {_no_ratio(disc)}")
    if isinstance(label_smoothing, bool) or not 0 <= label_smoothing < 1:
        raise ObjectiveError(f"label_smoothing={label_smoothing!r} must lie in [0, 1); 0 turns it off")
    if label_smoothing and disc not in SMOOTHABLE:
        raise ObjectiveError(
            f"label_smoothing={label_smoothing:g} is defined for disc=gan and disc=js only, not {disc!r}; set it to 0"
        )
    if max_log_ratio is not None:
        if not (math.isfinite(max_log_ratio) and max_log_ratio > 0):
            raise ObjectiveError(f"max_log_ratio={max_log_ratio!r} must be a finite number above 0, or null for none")
        if not by_ratio:
            raise ObjectiveError(
                f"max_log_ratio={max_log_ratio:g} bounds the ratio that a divergence generator reads, and "
                f"gen={gen!r} reads none: set it to null"
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


def _listed(names: tuple[str, ...]) -> str:
    return "[" + ", ".join(names) + "]"


def _check_name(argument: str, name: str, known: tuple[str, ...], extra: tuple[str, ...] = ()) -> None:
    if name not in known:
        raise ObjectiveError(f"{argument}={name!r} is not known; choose one of {_listed((*extra, *known))}")


def _check_pairs(real: Tensor, fake: Tensor) -> None:
    if real.shape != fake.shape:
        raise ObjectiveError(
            f"real_logits of shape {tuple(real.shape)} and fake_logits of shape {tuple(fake.shape)}: the "
            "relativistic losses compare pairs, so the shapes must be equal"
        )


def _no_ratio(disc: str) -> str:
    with_ratio = tuple(d for d in DIVERGENCE_NAMES if d != "tv")
    reason = "its f' has no inverse" if disc == "tv" else "its optimum does not give q/p back"
    return f"disc={disc!r} estimates no ratio q/p ({reason}); those that do: {_listed(with_ratio)}"


def _check_pair(disc: str, gen: str) -> None:
    works = generators_for(disc)
    if gen in works:
        return
    if gen in DIVERGENCE_NAMES:
        why = _no_ratio(disc) + f", and gen={gen!r} is a function of it"
    else:
        why = f"gen={gen!r} needs {GENERATOR_RULES[gen].needs}"
    raise ObjectiveError(
        f"gen={gen!r} does not work with disc={disc!r}: {why}. With disc={disc!r} choose gen from "
        f"{_listed(works)}; gen={gen!r} works with disc in {_listed(discriminators_for(gen))}"
    )


def _check_order(argument: str, order: float | None, side: str, name: str) -> None:
    if name == "alpha":
        if order is None:
            raise ObjectiveError(f"{argument} is not set, and {side}='alpha' needs its order: any number, e.g. 0.5")
        if isinstance(order, bool) or not math.isfinite(order):
            raise ObjectiveError(f"{argument}={order!r} must be a finite number, the order of {side}='alpha'")
    elif order is not None:
        raise ObjectiveError(
            f"{argument}={order!r} is the order of {side}='alpha', and {side}={name!r}: set it to null"
        )
