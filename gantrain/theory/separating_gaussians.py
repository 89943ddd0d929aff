"""Figure 4: two unit Gaussians moving apart: JS saturates and its gradient vanishes, Wasserstein's does not."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gantrain.objectives import DIVERGENCES, Objective, make_objective
from gantrain.theory.figure import Table, TheoryFigure
from gantrain.theory.slopes import generator_slopes, logits_at, slope_of
from gantrain.theory.style import BLACK, BLUE, GREEN, GREY, ORANGE, SKY, VERMILION

FARTHEST = 8.0
POINTS = 801
MARGIN = 12.0
"""The integrals end this many standard deviations beyond the means, where the densities are 1e-32."""

GENERATORS = {
    "minimax": make_objective("gan", "minimax"),
    "alt": make_objective("gan", "alt"),
    "kl poole": make_objective("gan", "kl"),
    "kl exact": make_objective("gan", "kl", rule="exact"),
    "rkl": make_objective("gan", "rkl"),
    "wasserstein": make_objective("wasserstein", "linear"),
}


def jensen_shannon(distance: float) -> float:
    """JS(N(0,1), N(distance,1)) in nats, between 0 and log 2: half of the `js` record's E_p[f(q/p)]."""
    x, _, p = _densities(distance)
    return _integral(p * DIVERGENCES["js"].f(_log_ratio(x, distance)), x) / 2


def wasserstein(distance: float) -> float:
    """W1(N(0,1), N(distance,1)): minus the critic's loss at its optimum v = -x, the distance itself."""
    x, q, p = _densities(distance)
    objective = GENERATORS["wasserstein"]
    v, at_zero = _critic(objective, x, distance), torch.zeros((), dtype=x.dtype)
    # The loss of each single example, to be weighted by its density; the other logit, 0, adds nothing.
    on_real = torch.func.vmap(lambda one: objective.discriminator_loss(one, at_zero))(v)
    on_fake = torch.func.vmap(lambda one: objective.discriminator_loss(at_zero, one))(v)
    return -_integral(q * on_real + p * on_fake, x)


def gradient(objective: Objective, distance: float) -> float:
    """dE[L_G]/d(distance) of the generator distance + ε, ε from N(0,1), with the optimal discriminator held fixed."""
    x, _, p = _densities(distance)
    return _integral(p * _gradient_at(objective, x, distance), x)


def typical_gradient(objective: Objective, distance: float) -> float:
    """What a fake in the middle of the generator's density, ε = 0, contributes to `gradient` per unit of density."""
    middle = torch.tensor([distance], dtype=torch.float64)
    return float(_gradient_at(objective, middle, distance))


def table(distances: list[float]) -> Table:
    """Columns distance, js, js_slope, w1, then expected_GENERATOR and typical_GENERATOR gradients."""
    js = make_objective("js", "minimax")
    found: Table = {
        "distance": np.array(distances),
        "js": np.array([jensen_shannon(d) for d in distances]),
        "js_slope": np.array([gradient(js, d) / 2 for d in distances]),
        "w1": np.array([wasserstein(d) for d in distances]),
    }
    for name, objective in GENERATORS.items():
        key = name.replace(" ", "_")
        found[f"expected_{key}"] = np.array([gradient(objective, d) for d in distances])
        found[f"typical_{key}"] = np.array([typical_gradient(objective, d) for d in distances])
    return found


def figure() -> TheoryFigure:
    """JS and W1 over the distance, their gradients, and the gradient of a typical fake."""
    numbers = table(np.linspace(0, FARTHEST, 81).tolist())
    return TheoryFigure(
        name="4-vanishing-gradient",
        title="Two unit Gaussians moving apart: data q = N(0, 1), generator p = N(d, 1)",
        caption="Left: the Jensen–Shannon divergence JS(q, p) goes to log 2, Wasserstein-1 grows with the "
        "distance. Middle: the expected gradient of generator losses in d with an optimal discriminator (the true "
        "ratio; for Wasserstein the optimal 1-Lipschitz critic v = -x). minimax has the gradient of 2 JS, which "
        "vanishes about as e^(-d²/8); Wasserstein's is 1; those of exact kl and rkl are d, since both KL are d²/2; "
        "alt's approaches d. Poole's kl, -d(1 + d²/2), is the gradient of no divergence: it has the opposite sign and "
        "pushes the generator away from the data (thin line: magnitude of a negative value). Right: the gradient of a "
        "typical fake at x = d. kl's gradient comes from fakes so rare that a batch contains none: the typical one "
        "has a weight of e^(-d²/2). alt, rkl and Wasserstein reach every fake.",
        source="Arjovsky & Bottou 2017 (arXiv:1701.04862), Theorem 2.4; Arjovsky et al. 2017 (arXiv:1701.07875), "
        "Example 1; Goodfellow et al. 2014 for minimax and alt",
        tables={"": numbers},
        draw=lambda picture: _draw(picture, numbers),
        size=(13.0, 4.6),
    )


def _draw(picture: Any, numbers: Table) -> None:
    d = numbers["distance"]
    values, expected, typical = picture.subplots(1, 3)
    values.plot(d, numbers["w1"], color=GREEN, label="Wasserstein-1")
    values.plot(d, numbers["js"], color=BLUE, label="JS")
    values.axhline(math.log(2), color=GREY, linestyle=":", label="log 2")
    values.set_ylim(0, 3)
    values.set_title("divergence", fontsize=10)
    values.legend()
    styles = {
        "wasserstein": ("Wasserstein", GREEN, "-", 1.5),
        "rkl": ("rkl", SKY, "-", 4.0),
        "alt": ("alt", BLACK, "-", 1.5),
        "kl exact": ("kl, exact", VERMILION, "--", 1.5),
        "kl poole": ("kl, Poole", ORANGE, "-", 2.0),
        "minimax": ("minimax (2 JS)", BLUE, "-", 1.5),
    }
    for axis, kind in ((expected, "expected"), (typical, "typical")):
        for name, (label, color, style, width) in styles.items():
            curve = numbers[f"{kind}_{name.replace(' ', '_')}"]
            axis.plot(d, np.where(curve > 0, curve, np.nan), color=color, linestyle=style, linewidth=width, label=label)
            axis.plot(d, np.where(curve < 0, -curve, np.nan), color=color, linestyle=style, linewidth=width / 3)
        axis.set_yscale("log")
        axis.set_ylim(1e-5, 30)
    expected.set_title("expected gradient of L_G in d, D optimal", fontsize=10)
    typical.set_title("gradient of the typical fake, x = d", fontsize=10)
    expected.legend(loc="lower left")
    for axis in (values, expected, typical):
        axis.set_xlabel("distance d of the means, in standard deviations")


def _densities(distance: float) -> tuple[Tensor, Tensor, Tensor]:
    """The nodes of the integrals, and both densities there."""
    x = torch.linspace(-MARGIN, distance + MARGIN, POINTS, dtype=torch.float64)
    q, p = (torch.exp(-((x - mean) ** 2) / 2) / math.sqrt(2 * math.pi) for mean in (0.0, distance))
    return x, q, p


def _log_ratio(x: Tensor, distance: float) -> Tensor:
    return distance * (distance / 2 - x)


def _critic(objective: Objective, x: Tensor, distance: float) -> Tensor:
    """The optimal discriminator's logit: from the true ratio, or the optimal critic."""
    return logits_at(objective, _log_ratio(x, distance)) if objective.has_log_ratio else -x


def _gradient_at(objective: Objective, x: Tensor, distance: float) -> Tensor:
    """dL_G/dv · dv/dx of a fake at x, which moves with the mean."""
    leaf = x.detach().clone().requires_grad_()
    v = _critic(objective, leaf, distance)
    return generator_slopes(objective, v) * slope_of(v, leaf)


def _integral(values: Tensor, x: Tensor) -> float:
    """The trapezoidal rule, exact to rounding for smooth functions that vanish at both ends."""
    return float(torch.trapezoid(values.detach(), x))
