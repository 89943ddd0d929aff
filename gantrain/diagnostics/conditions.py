"""The conditions that the doctor knows: what shows each, from which figure on, and what to change."""

import itertools
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass

ROWS = 5
"""Rows that a condition has to hold for at least."""
STEPS = 200
"""Generator steps that they span at least: a healthy run on the digits leaves its grey start within 100."""

BLIND = 0.55
"""Rank accuracy of a discriminator that as good as guesses; a fair one is above 0.7 even late in the demo."""
FAR_APART = 0.1
"""Energy distance, as a share, of sets that any discriminator could tell apart: 0.6 for a generator's first images,
below 0.05 for a trained one's on the digits."""
WINS = 0.9
"""Rank accuracy of a discriminator that has won for now, which alone is no illness."""
CRUSHED_SHARE = 0.5
"""Share of the generator's examples with a gradient weight under 1e-3: under kl half of them have v < -9."""
CRUSHED_WEIGHT = 1e-2
"""Mean weight, which a few examples of large weight keep up, as a normalized ratio's do."""
EXPLODED = 100.0
"""E_p[r] and E_q[1/r], both 1 for a calibrated ratio, as medians over the steps: single examples take their means to
thousands in healthy runs of a batch-norm DCGAN."""
EXPLODED_LOG = 40.0
"""|log r|: float32 has no square of a ratio beyond 44, and pearson and neyman read that square."""
EXPLODED_LOGIT = 1e4
"""|v| of a discriminator that estimates no ratio; Lipschitz critics of images in [-1, 1] stay below some hundreds."""
ALIKE = 0.1
"""Distances of generated images, on average or to the nearest, over those of real ones; 0.8 to 1 in healthy runs."""
GROWING = 1.25
"""Growth of these distances from a window's first half to its second that promises more: a start, no collapse."""
OVERFIT = 0.5
"""r_v: D places new real images nearer to the generated than to its training images."""
SURE = 3.0
"""Standard errors of the rows' mean, for what is measured on few images."""
SWINGS = 0.15
"""Share of the steps at which D is surely right, and of those at which it is surely wrong, in the same window."""
TURNS = 2
"""Times that this changes, from row to row or within one: a D that was wrong and learns turns once."""
OVERSHOOTS = -0.3
"""Mean cosine of successive generator gradients: each step takes back the last; on the digits healthy ones lie above
0.5, and generators of points that cover every mode have been seen at -0.9."""

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
"""The figures that are read, of `gantrain.training.diagnostics` and of `gantrain.run_io.scalars`; any may be absent."""

Row = Mapping[str, float]


class Window:
    """The last rows of figures, oldest first, as few as make up `ROWS` rows and `STEPS` steps times a factor."""

    def __init__(self, rows: list[Row], *, factor: int = 1) -> None:
        """Takes the rows heard so far, or as many as matter."""
        self.rows = list(rows)
        last = rows[-1]["step"]
        while len(self.rows) > factor * ROWS and self.rows[1]["step"] <= last - factor * STEPS:
            del self.rows[0]
        self.first, self.last = int(self.rows[0]["step"]), int(last)
        self.is_full = len(self.rows) >= factor * ROWS and self.last - self.first >= factor * STEPS

    def all_of(self, name: str) -> list[float]:
        """The figure in every row; [] if a row lacks it."""
        found = [row[name] for row in self.rows if name in row]
        return found if len(found) == len(self.rows) else []

    def always(self, name: str, holds: Callable[[float], bool]) -> bool:
        """Whether every row has the figure, and it holds there."""
        found = self.all_of(name)
        return bool(found) and all(map(holds, found))

    def span(self, name: str) -> str:
        """The figure's first and last value."""
        found = self.all_of(name)
        return f"{found[0]:.3g} to {found[-1]:.3g}"


def _percent(window: Window, name: str) -> str:
    return f"{statistics.fmean(window.all_of(name)):.0%}"


def _dead_discriminator(window: Window) -> str | None:
    rank, energy = "discriminator/rank_accuracy", "similarity/energy"
    if not (window.always(rank, lambda x: x < BLIND) and window.always(energy, lambda x: x > FAR_APART)):
        return None
    return (
        f"D gives a real image the higher score in {_percent(window, rank)} of the pairs, no better than guessing, "
        f"though real and generated images are easily told apart (energy distance {window.span(energy)} of at most 1)."
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
                return f"{what} on {side} images went from {window.span(name)}, beyond ±{bound:g} all the time."
    return None


def _mode_collapse(window: Window) -> str | None:
    weights = window.all_of("generator_weight/mean")
    if weights and statistics.median(weights) < CRUSHED_WEIGHT:
        return None  # it hardly moves: images are alike since it never left its start
    for name, what in (
        ("similarity/spread", "on average"),
        ("similarity/nearest", "to the nearest of the batch"),
    ):
        if window.always(name, lambda x: x < ALIKE):
            found = window.all_of(name)
            half = len(found) // 2
            if statistics.fmean(found[half:]) <= GROWING * statistics.fmean(found[:half]):
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
    whole = statistics.fmean(trained) - statistics.fmean(generated)
    error = statistics.stdev(gaps) / len(gaps) ** 0.5
    if whole <= 0 or statistics.fmean(gaps) < max(OVERFIT * whole, SURE * error):
        return None
    return (
        f"D knows its training images by heart: v is {statistics.fmean(trained):.3g} on them, "
        f"{statistics.fmean(held_out):.3g} on held-out real images and {statistics.fmean(generated):.3g} on generated "
        f"ones (r_v = {statistics.fmean(gaps) / whole:.2f}; 0 is none, 1 is held-out taken for generated)."
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
                f"the players overrun each other: D was surely right in {right:.0%} of the steps and surely wrong "
                f"in {wrong:.0%}, by turns."
            )
    cosines, energy = window.all_of("generator_gradient/cosine"), "similarity/energy"
    far = window.always(energy, lambda x: x > FAR_APART)  # close to the data a step may well overshoot
    if far and cosines and statistics.fmean(cosines) <= OVERSHOOTS:
        return (
            f"each step of the generator takes back the last: successive gradients have a cosine of "
            f"{statistics.fmean(cosines):.2f} on average, far from the data (energy distance {window.span(energy)})."
        )
    return None


@dataclass(frozen=True, slots=True)
class Condition:
    """What the doctor knows.

    Attributes:
        look_for: a full window -> the evidence as the rest of a sentence, None where the condition does not hold.
        advice: what to change.
        patience: how many times `ROWS` and `STEPS` it has to hold.
        explained_by: conditions of which it is a mere consequence while they hold.
    """

    look_for: Callable[[Window], str | None]
    advice: str
    patience: int = 1
    explained_by: tuple[str, ...] = ()


CONDITIONS: dict[str, Condition] = {
    "dead discriminator": Condition(
        _dead_discriminator,
        "Let D learn: raise optimizer.lr_d or schedule.d_steps, lower optimizer.lr_g, or loosen what binds D "
        "(regularizer.clip, regularizer.gp, regularizer.r1, model.d_dropout, tricks.instance_noise).",
    ),
    "crushed generator": Condition(
        _crushed_generator,
        "Nothing brings it back: start anew with a loss that keeps its gradient when D wins (loss.gen=alt or rkl, or "
        "loss.rule=exact with loss.normalize_ratio=true), or with a weaker D (model.d_norm=spectral, regularizer.r1, "
        "a lower optimizer.lr_d).",
    ),
    "ratio explosion": Condition(
        _ratio_explosion,
        "Bound D: model.d_norm=spectral, regularizer.gp, regularizer.r1 or regularizer.clip, a lower optimizer.lr_d or "
        "optimizer.grad_clip_norm; loss.max_log_ratio=10 bounds what a divergence generator reads of it.",
    ),
    "mode collapse": Condition(
        _mode_collapse,
        "Go on from a checkpoint before it or start anew with a slower generator (lower optimizer.lr_g, or "
        "raise schedule.d_steps), a mode-covering loss (loss.gen=kl by loss.rule=exact with "
        "loss.normalize_ratio=true), or a larger model.latent_dim if that is small.",
        patience=2,  # those that explain it are told first
        explained_by=("dead discriminator", "crushed generator", "ratio explosion"),
    ),
    "overfit discriminator": Condition(
        _overfit_discriminator,
        "Augment what D sees (augment.policy, by augment=ada or diffaugment), use more data, or weaken D "
        "(model.d_width, model.d_dropout, regularizer.r1).",
    ),
    "oscillation": Condition(
        _oscillation,
        "Calm the game: lower optimizer.lr_g and optimizer.lr_d, less momentum (optimizer.beta1_g=0, "
        "optimizer.beta1_d=0), a damping penalty (regularizer.r1 or regularizer.gp), and sample from the average "
        "(schedule.ema_decay).",
    ),
}
LONGEST = max(condition.patience for condition in CONDITIONS.values())
