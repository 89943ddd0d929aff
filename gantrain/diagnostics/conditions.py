"""The failures that the doctor knows: how each shows in the diagnostics, thresholds, and what to change."""

import itertools
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass

ROWS = 5
"""Fewest rows for which a condition must hold."""
STEPS = 200
"""Fewest generator steps between the first and the last of them: a healthy start on digits takes 100."""

BLIND = 0.55
"""Rank accuracy of a discriminator that nearly guesses; a good one stays above 0.7 on digits."""
FAR_APART = 0.1
"""Normalized energy distance of easily distinguished sets: 0.6 for a generator's first images, below 0.05 for those of
a trained generator on digits."""
WINS = 0.9
"""Rank accuracy of a discriminator that wins, which is not a failure on its own."""
CRUSHED_SHARE = 0.5
"""Share of generated examples with a gradient weight below 1e-3; with kl these have v < -9."""
CRUSHED_WEIGHT = 1e-2
"""Mean gradient weight, which stays high if few examples have large weights, as with a normalized ratio."""
EXPLODED = 100.0
"""Medians over steps of E_p[r] and E_q[1/r], both 1 for a calibrated ratio; their means reach thousands in healthy runs
of a batch-norm DCGAN, through single examples."""
EXPLODED_LOG = 40.0
"""|log r|: beyond 44 the square of a ratio, which pearson and neyman use, overflows float32."""
EXPLODED_LOGIT = 1e4
"""|v| of a discriminator without a ratio; Lipschitz critics of images in [-1, 1] stay below a few hundred."""
ALIKE = 0.1
"""Mean or nearest distance between generated images, over that between real images; 0.8 to 1 in healthy runs."""
GROWING = 1.25
"""Growth of these distances from the first to the second half of a window, above which it is not a collapse."""
OVERFIT = 0.5
"""r_v above which D places new real images nearer to generated images than to its training images."""
SURE = 3.0
"""Standard errors of the mean over rows, since r_v is measured on few images."""
SWINGS = 0.15
"""Share of steps at which D is surely right, and share at which it is surely wrong, in the same window."""
TURNS = 2
"""Number of changes between the two, from row to row or within a row; a D that learns changes once."""
OVERSHOOTS = -0.3
"""Mean cosine of successive generator gradients, at which each step reverses the last. Healthy runs on digits stay
above 0.5; generators of points that cover every mode were seen at -0.9."""

READ = (
    "discriminator/rank_accuracy",
    "discriminator/surely_right",
    "discriminator/surely_wrong",
    "similarity/spread",
    "similarity/nearest",
    "similarity/energy",
    "generator_weight/mean",
    "generator_weight/saturated",
    "generator_gradient/cosine",
    "overfitting/logit_trained",
    "overfitting/logit_held_out",
    "overfitting/logit_generated",
    "ratio/typical_E_p[r]",
    "ratio/typical_E_q[1/r]",
    "log_ratio/real",
    "log_ratio/fake",
    "logit/real",
    "logit/fake",
    "logit/generated",
)
"""The diagnostics and scalars that conditions read; each may be absent."""

Row = Mapping[str, float]


class Window:
    """The last rows, oldest first: as few as contain `factor` times `ROWS` rows and `STEPS` steps."""

    def __init__(self, rows: list[Row], *, factor: int = 1) -> None:
        """Takes rows in order and drops the oldest."""
        self.rows = list(rows)
        last = rows[-1]["step"]
        while len(self.rows) > factor * ROWS and self.rows[1]["step"] <= last - factor * STEPS:
            del self.rows[0]
        self.first, self.last = int(self.rows[0]["step"]), int(last)
        self.is_full = len(self.rows) >= factor * ROWS and self.last - self.first >= factor * STEPS

    def all_of(self, name: str) -> list[float]:
        """The value in every row; [] if a row lacks it."""
        values = [row[name] for row in self.rows if name in row]
        return values if len(values) == len(self.rows) else []

    def always(self, name: str, holds: Callable[[float], bool]) -> bool:
        """Whether every row has the value and it satisfies the predicate."""
        values = self.all_of(name)
        return bool(values) and all(map(holds, values))

    def span(self, name: str) -> str:
        """The first and the last value, as text."""
        values = self.all_of(name)
        return f"{values[0]:.3g} to {values[-1]:.3g}"


def _percent(window: Window, name: str) -> str:
    return f"{statistics.fmean(window.all_of(name)):.0%}"


def _dead_discriminator(window: Window) -> str | None:
    rank, energy = "discriminator/rank_accuracy", "similarity/energy"
    if not (window.always(rank, lambda x: x < BLIND) and window.always(energy, lambda x: x > FAR_APART)):
        return None
    return (
        f"D gives a real image the higher score in {_percent(window, rank)} of the pairs, no better than guessing, "
        f"though real and generated images are easy to distinguish (energy distance {window.span(energy)}, at most 1)."
    )


def _crushed_generator(window: Window) -> str | None:
    saturated, mean, rank = "generator_weight/saturated", "generator_weight/mean", "discriminator/rank_accuracy"
    if not (
        window.always(saturated, lambda x: x >= CRUSHED_SHARE)
        and window.always(mean, lambda x: x < CRUSHED_WEIGHT)
        and window.always(rank, lambda x: x > WINS)
    ):
        return None
    at = f" at v = {window.all_of('logit/generated')[-1]:.3g}" if window.all_of("logit/generated") else ""
    return (
        f"D has won and the generator's gradient is gone{at}: {_percent(window, saturated)} of its examples weigh less "
        f"than 1e-3 (mean weight {window.span(mean)})."
    )


def _ratio_explosion(window: Window) -> str | None:
    for name, what in (("ratio/typical_E_p[r]", "E_p[r]"), ("ratio/typical_E_q[1/r]", "E_q[1/r]")):
        if window.always(name, lambda x: x > EXPLODED):
            return f"{what}, 1 for a calibrated ratio, typically went from {window.span(name)}."
    for side in ("real", "fake"):
        for name, what, bound in (
            (f"log_ratio/{side}", "log r", EXPLODED_LOG),
            (f"logit/{side}", "v", EXPLODED_LOGIT),
        ):
            if window.always(name, lambda x, bound=bound: abs(x) > bound):  # type: ignore[misc]
                return f"{what} on {side} images went from {window.span(name)}, beyond ±{bound:g} in every row."
    return None


def _mode_collapse(window: Window) -> str | None:
    weights = window.all_of("generator_weight/mean")
    if weights and statistics.median(weights) < CRUSHED_WEIGHT:
        return None  # it never left its start, so its images are alike
    for name, what in (
        ("similarity/spread", "on average"),
        ("similarity/nearest", "to the nearest of the batch"),
    ):
        if window.always(name, lambda x: x < ALIKE):
            values = window.all_of(name)
            half = len(values) // 2
            if statistics.fmean(values[half:]) <= GROWING * statistics.fmean(values[:half]):
                return (
                    f"generated images are nearly the same: their distance {what} is {window.span(name)} of that "
                    "between real images, and does not grow."
                )
    return None


def _overfit_discriminator(window: Window) -> str | None:
    trained, held_out, generated = (
        window.all_of(f"overfitting/logit_{name}") for name in ("trained", "held_out", "generated")
    )
    if not (trained and held_out and generated):
        return None
    gaps = [t - h for t, h in zip(trained, held_out, strict=True)]
    spread = statistics.fmean(trained) - statistics.fmean(generated)
    error = statistics.stdev(gaps) / len(gaps) ** 0.5
    if spread <= 0 or statistics.fmean(gaps) < max(OVERFIT * spread, SURE * error):
        return None
    return (
        f"D has memorized its training images: v is {statistics.fmean(trained):.3g} on them, "
        f"{statistics.fmean(held_out):.3g} on held-out real images and {statistics.fmean(generated):.3g} on generated "
        f"images (r_v = {statistics.fmean(gaps) / spread:.2f}; 0: no overfitting, 1: held-out images look generated)."
    )


def _oscillation(window: Window) -> str | None:
    rights, wrongs = (window.all_of(f"discriminator/surely_{name}") for name in ("right", "wrong"))
    if rights and wrongs:
        right, wrong = statistics.fmean(rights), statistics.fmean(wrongs)
        within = sum(min(pair) >= SWINGS for pair in zip(rights, wrongs, strict=True))
        sides = [r > w for r, w in zip(rights, wrongs, strict=True) if r != w]
        turns = within + sum(one != other for one, other in itertools.pairwise(sides))
        if min(right, wrong) >= SWINGS and turns >= TURNS:
            return (
                f"the two networks overshoot in turn: D was surely right in {right:.0%} of the steps and surely wrong "
                f"in {wrong:.0%}."
            )
    cosines, energy = window.all_of("generator_gradient/cosine"), "similarity/energy"
    far = window.always(energy, lambda x: x > FAR_APART)  # near the data overshooting is normal
    if far and cosines and statistics.fmean(cosines) <= OVERSHOOTS:
        return (
            f"each step of the generator reverses the last: successive gradients have a cosine of "
            f"{statistics.fmean(cosines):.2f} on average, far from the data (energy distance {window.span(energy)})."
        )
    return None


@dataclass(frozen=True, slots=True)
class Condition:
    """A failure that the doctor recognizes.

    Attributes:
        check: a full window -> the evidence as the rest of a sentence, or None if the condition does not hold.
        advice: what to change.
        patience: multiple of `ROWS` and `STEPS` for which it must hold.
        explained_by: conditions that explain it; it is not reported while one of them holds.
    """

    check: Callable[[Window], str | None]
    advice: str
    patience: int = 1
    explained_by: tuple[str, ...] = ()


CONDITIONS: dict[str, Condition] = {
    "dead discriminator": Condition(
        _dead_discriminator,
        "Let D learn: raise optimizer.lr_d or schedule.d_steps, lower optimizer.lr_g, or relax the constraints on D "
        "(regularizer.clip, regularizer.gp, regularizer.r1, model.d_dropout, tricks.instance_noise).",
    ),
    "crushed generator": Condition(
        _crushed_generator,
        "It does not recover: restart with a loss that keeps its gradient when D wins (loss.gen=alt or rkl, or "
        "loss.rule=exact with loss.normalize_ratio=true), or with a weaker D (model.d_norm=spectral, regularizer.r1, "
        "a lower optimizer.lr_d).",
    ),
    "ratio explosion": Condition(
        _ratio_explosion,
        "Bound D: model.d_norm=spectral, regularizer.gp, regularizer.r1 or regularizer.clip, a lower optimizer.lr_d or "
        "optimizer.grad_clip_norm; loss.max_log_ratio=10 bounds the ratio in the generator's loss.",
    ),
    "mode collapse": Condition(
        _mode_collapse,
        "Resume from an earlier checkpoint or restart with a slower generator (lower optimizer.lr_g, or "
        "raise schedule.d_steps), a mode-covering loss (loss.gen=kl by loss.rule=exact with "
        "loss.normalize_ratio=true), or a larger model.latent_dim.",
        patience=2,  # so that its causes are reported first
        explained_by=("dead discriminator", "crushed generator", "ratio explosion"),
    ),
    "overfit discriminator": Condition(
        _overfit_discriminator,
        "Augment the inputs of D (augment.policy, by augment=ada or diffaugment), use more data, or weaken D "
        "(model.d_width, model.d_dropout, regularizer.r1).",
    ),
    "oscillation": Condition(
        _oscillation,
        "Stabilize training: lower optimizer.lr_g and optimizer.lr_d, less momentum (optimizer.beta1_g=0, "
        "optimizer.beta1_d=0), a damping penalty (regularizer.r1 or regularizer.gp), and sample from the average "
        "(schedule.ema_decay).",
    ),
}
MAX_PATIENCE = max(condition.patience for condition in CONDITIONS.values())
