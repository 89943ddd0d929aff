"""Figure 2: the best single Gaussian for a mixture under each divergence."""

import math
from itertools import pairwise
from typing import Any

import numpy as np
import torch

from gantrain.objectives import alpha_divergence
from gantrain.theory.best_fit import Fit, best_gaussians
from gantrain.theory.figure import Table, TheoryFigure, from_rows
from gantrain.theory.mixture import DEFAULT_MIXTURE, Mixture, log_normal
from gantrain.theory.names import divergence_named
from gantrain.theory.names import names as all_names

ORDERS = np.round(np.linspace(-1, 2, 61), 10)
NAMED_ORDERS = {-1.0: "neyman", 0.0: "rkl", 0.5: "hellinger", 1.0: "kl", 2.0: "pearson"}
JUMP = 0.15
"""A change by more than this between neighboring orders, in log σ or in μ/s, is a jump to another minimum."""
DASHES: tuple[Any, ...] = ("-", (0, (5, 1.5)), (0, (1.5, 1)))

Fits = tuple[Fit, ...]


def figure(mixture: Mixture = DEFAULT_MIXTURE, names: tuple[str, ...] | None = None) -> TheoryFigure:
    """The mixture with the best Gaussian of each divergence, and μ and σ over the order of the power family.

    Args:
        mixture: the data density q.
        names: of divergences, as in `divergence_named`; None for all but gan, which has the minimum of js.

    Raises:
        DivergenceNameError: an unknown name.
    """
    names = tuple(name for name in all_names() if name != "gan") if names is None else names
    fits = {name: best_gaussians(divergence_named(name), mixture) for name in names}
    curve = _over_orders(mixture)
    jumps = _jumps(curve, mixture)
    jump_text = "".join(f" At α = {order:.3f} σ jumps from {low:.2f} to {high:.2f}." for order, low, high in jumps)
    widest = sorted(names, key=lambda name: -fits[name][0].std)
    caption = (
        f"Left: data q = {mixture.formula} and, for each divergence D_f(q‖p), the Gaussian p = N(μ, σ²) that minimizes "
        "it, from the widest, which covers every component, to the narrowest, which seeks the heaviest. Right: σ and μ "
        "of the minimum of the power divergence of order α; grey dots are other local minima. Where two minima have "
        f"the same value, the best one changes abruptly:{jump_text or ' not here.'} For α ≥ 1 the divergence is "
        "infinite unless p's tails are heavy enough, for α ≤ 0 unless they are light enough; a minimum exists at "
        "every order shown. Computed by the trapezoid rule and Nelder–Mead from the mixture's moments and each "
        "component. gan has the minimum of js."
    )

    def draw(picture: Any) -> None:
        orders = [order for order, _, _ in jumps]
        grid = picture.add_gridspec(2, 2, width_ratios=(1.35, 1))
        _draw_densities(picture.add_subplot(grid[:, 0]), mixture, {name: fits[name][0] for name in widest})
        upper = picture.add_subplot(grid[0, 1])
        lower = picture.add_subplot(grid[1, 1], sharex=upper)
        _draw_orders(upper, curve, orders, lambda fit: fit.std, "σ of the best Gaussian")
        _draw_orders(lower, curve, orders, lambda fit: fit.mean, "μ of the best Gaussian")
        upper.tick_params(labelbottom=False)
        lower.set_xlabel("order α of the power divergence")

    return TheoryFigure(
        name="2-best-gaussians",
        title="The best single Gaussian for a mixture: from covering its components to seeking one",
        caption=caption,
        source="after Poole et al. 2016, Figure 1b; power divergences: Cressie & Read 1984",
        tables={
            "": _table("divergence", {name: fits[name] for name in names}),
            "orders": _table("alpha", curve),
        },
        draw=draw,
        size=(12.0, 6.0),
    )


def _over_orders(mixture: Mixture) -> dict[float, Fits]:
    curve: dict[float, Fits] = {}
    near: Fits = ()
    for order in ORDERS.tolist():
        near = curve[order] = best_gaussians(alpha_divergence(order), mixture, near)
    return curve


def _far(one: Fit, other: Fit, mixture: Mixture) -> bool:
    return abs(math.log(one.std / other.std)) > JUMP or abs(one.mean - other.mean) > JUMP * mixture.std


def _jumps(curve: dict[float, Fits], mixture: Mixture) -> list[tuple[float, float, float]]:
    """(order, σ below, σ above) where the best minimum changes abruptly, the order to 5e-4 by bisection."""
    found = []
    for (low, below), (high, above) in pairwise(curve.items()):
        if not _far(below[0], above[0], mixture):
            continue
        while high - low > 1e-3:
            middle = (low + high) / 2
            at = best_gaussians(alpha_divergence(middle), mixture, (below[0], above[0]))
            if _far(at[0], below[0], mixture):
                high, above = middle, at
            else:
                low, below = middle, at
        if _far(below[0], above[0], mixture):  # otherwise a steep curve without a jump
            found.append(((low + high) / 2, below[0].std, above[0].std))
    return found


def _table(head: str, fits: dict[Any, Fits]) -> Table:
    """Every local minimum; rank 1 is the best."""
    rows = [(key, k + 1, fit.mean, fit.std, fit.value) for key, each in fits.items() for k, fit in enumerate(each)]
    return from_rows((head, "rank", "mu", "sigma", "value"), rows)


def _draw_densities(axes: Any, mixture: Mixture, best: dict[str, Fit]) -> None:
    from matplotlib import colormaps

    low = min(m - 4 * s for m, s in zip(mixture.means, mixture.stds, strict=True))
    high = max(m + 4 * s for m, s in zip(mixture.means, mixture.stds, strict=True))
    at = torch.linspace(low, high, 800, dtype=torch.float64)
    axes.fill_between(at, mixture.log_density(at).exp(), color="0.85", label=f"data q = {mixture.formula}")
    for k, (name, fit) in enumerate(best.items()):
        axes.plot(
            at,
            log_normal(at, fit.mean, fit.std).exp(),
            color=colormaps["plasma"](0.85 * k / max(len(best) - 1, 1)),
            linestyle=DASHES[k % len(DASHES)],
            linewidth=1.6,
            label=f"{name:<10} {fit.mean:9.4f} {fit.std:9.4f} {fit.value:9.4f}".replace("-", "−"),
        )
    axes.set_xlabel("x")
    axes.set_ylabel("density")
    axes.set_xlim(low, high)
    axes.set_ylim(0, None)
    handles, labels = axes.get_legend_handles_labels()
    (blank,) = axes.plot([], [], " ")
    handles.insert(1, blank)
    labels.insert(1, f"{'':<10} {'μ':>9} {'σ':>9} {'D_f(q‖p)':>9}")
    axes.legend(handles, labels, loc="best", prop={"family": "monospace", "size": 7.5}, framealpha=0.9)


def _draw_orders(axes: Any, curve: dict[float, Fits], jumps: list[float], of: Any, label: str) -> None:
    orders = np.array(list(curve))
    best = np.array([of(fits[0]) for fits in curve.values()])
    places = np.searchsorted(orders, jumps)  # where the curve is interrupted
    axes.plot(np.insert(orders, places, np.nan), np.insert(best, places, np.nan), color="#0072B2", linewidth=2)
    others = [(order, of(fit)) for order, fits in curve.items() for fit in fits[1:]]
    if others:
        axes.plot(*zip(*others, strict=True), ".", color="0.55", markersize=3, label="local minimum")
    for order in jumps:
        axes.axvline(order, color="0.4", linestyle=":", linewidth=1)
        axes.annotate(
            f"α = {order:.3f}",
            (order, 1),
            xycoords=("data", "axes fraction"),
            xytext=(3, -10),
            textcoords="offset points",
            fontsize=8,
            color="0.3",
        )
    for order, name in NAMED_ORDERS.items():
        value = of(curve[order][0])
        axes.plot([order], [value], "o", color="#D55E00", markersize=5)
        axes.annotate(name, (order, value), xytext=(0, 7), textcoords="offset points", ha="center", fontsize=8)
    axes.set_ylabel(label)
    axes.margins(x=0.09, y=0.15)
    if others:
        axes.legend(loc="best")
