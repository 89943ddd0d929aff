"""Figure 1: every f and the generator objectives derived from it, over the ratio and over the logit."""

from typing import Any

import torch
from torch import Tensor

from gantrain.objectives import DIVERGENCES, Divergence, Objective, alpha_divergence, make_objective
from gantrain.theory.figure import Table, TheoryFigure, concatenate, from_rows
from gantrain.theory.slopes import generator_losses, generator_slopes, label, slope_of
from gantrain.theory.style import asinh_axis, style

ALPHAS = {label("alpha", order): order for order in (-1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0)}
"""Orders of the power divergence, by their labels."""
REACH = 6.0
"""The largest |log r| of the curves."""
FAR = 12.0
"""The |v| at which D counts as sure, in the table of ends."""
CEILING = 300.0
"""Limit of the drawn values; the tables have all."""


def divergences() -> dict[str, Divergence]:
    """Every divergence, with the power divergence at several orders."""
    return {**DIVERGENCES, **{name: alpha_divergence(order) for name, order in ALPHAS.items()}}


def generators() -> dict[tuple[str, str], Objective]:
    """minimax, alt, and every divergence with both rules, with `disc=gan`, where v = log r; by (name, rule)."""
    found = {(gen, ""): make_objective("gan", gen) for gen in ("minimax", "alt")}
    for rule in ("poole", "exact"):
        for name, record in DIVERGENCES.items():
            if rule == "poole" or record.exact_integrand is not None:
                found[name, rule] = make_objective("gan", name, rule=rule)
        for name, order in ALPHAS.items():
            found[name, rule] = make_objective("gan", "alpha", rule=rule, alpha_gen=order)
    return found


def f_table(log_ratio: Tensor) -> Table:
    """Columns name, r, f, slope: f(r) and df/dr at each log r, for every divergence."""
    blocks = []
    for name, divergence in divergences().items():
        x = log_ratio.detach().clone().requires_grad_()
        f = divergence.f(x)
        blocks.append({"name": name, "r": x.exp(), "f": f, "slope": slope_of(f, x) / x.exp()})
    return concatenate(blocks)


def generator_table(v: Tensor) -> Table:
    """Columns gen, rule, v, loss, slope: L_G(v) and dL_G/dv for every generator objective, with `disc=gan`."""
    return concatenate(
        {"gen": gen, "rule": rule, "v": v, "loss": generator_losses(made, v), "slope": generator_slopes(made, v)}
        for (gen, rule), made in generators().items()
    )


def ends_table() -> Table:
    """Columns gen, rule, slope_fake, verdict_fake, slope_real, verdict_real: dL_G/dv where D is sure.

    The slopes are at v = -12 (D is sure of a fake) and v = 12 (sure of a real example). The verdict compares them with
    the slopes at twice that v: smaller by a factor of two or more `vanishes`, larger `explodes`, otherwise `stays`.
    """
    at = torch.tensor([-2 * FAR, -FAR, FAR, 2 * FAR], dtype=torch.float64)
    rows = []
    for (gen, rule), objective in generators().items():
        far_fake, fake, real, far_real = generator_slopes(objective, at).tolist()
        rows.append((gen, rule, fake, _verdict(fake, far_fake), real, _verdict(real, far_real)))
    return from_rows(("gen", "rule", "slope_fake", "verdict_fake", "slope_real", "verdict_real"), rows)


def figure() -> TheoryFigure:
    """Every f and generator objective with its slope, and which slopes vanish or explode where D is sure."""
    x = torch.linspace(-REACH, REACH, 241, dtype=torch.float64)
    tables = {"f": f_table(x), "generators": generator_table(x), "ends": ends_table()}
    return TheoryFigure(
        name="1-divergences",
        title="Divergences and the generator objectives derived from them",
        caption=_caption(tables["ends"]),
        source="f: Nowozin et al. 2016, Tables 1 and 6; Cressie & Read 1984. Generator objectives: Poole et al. "
        "2016, eq. 8 and Figure 1a; Goodfellow et al. 2014 for minimax and alt. rule=exact: gradient of ∫ p f(q/p) "
        "in p.",
        tables=tables,
        draw=lambda picture: _draw(picture, tables),
        size=(15.0, 9.5),
    )


def _draw(picture: Any, tables: dict[str, Table]) -> None:
    axes = picture.subplots(3, 4, sharex="row")
    for axis in axes.flat:
        axis.axhline(0, color="black", linewidth=0.6)
        asinh_axis(axis)
    rows = (
        (tables["f"], None, "divergence: f(r)", "df/dr"),
        (tables["generators"], "poole", "rule=poole: L_G = f(r)", "dL_G/dv"),
        (tables["generators"], "exact", "rule=exact: L_G = f(r) − r f'(r)", "dL_G/dv"),
    )
    for row, (table, rule, value_title, slope_title) in zip(axes, rows, strict=True):
        named = [*DIVERGENCES, *(("alt", "minimax") if rule else ())]
        for pair, names, note in ((row[:2], named, ""), (row[2:], list(ALPHAS), ", powers")):
            for name in names:
                if rule is None:
                    chosen = table["name"] == name
                    x, value = table["r"][chosen], table["f"][chosen]
                else:
                    chosen = (table["gen"] == name) & ((table["rule"] == rule) | (table["rule"] == ""))
                    x, value = table["v"][chosen], table["loss"][chosen]
                pair[0].plot(x, value, **_style(name))
                pair[1].plot(x, table["slope"][chosen], **_style(name))
            for axis, title in zip(pair, (value_title, slope_title), strict=True):
                axis.set_title(title + note, fontsize=10)
                low, high = axis.get_ylim()
                axis.set_ylim(max(low, -CEILING), min(high, CEILING))
                axis.set_xlabel("logit v = log r      (fake ← D sure → real)" if rule else "density ratio r = q/p")
    axes[0, 0].set_xscale("log")
    handles, labels = (
        named + powers
        for named, powers in zip(
            axes[1, 0].get_legend_handles_labels(), axes[1, 2].get_legend_handles_labels(), strict=True
        )
    )
    picture.legend(handles, labels, loc="outside right center", fontsize=8)


def _style(name: str) -> dict[str, Any]:
    from matplotlib import colormaps

    if name not in ALPHAS:
        return style(name)
    place = list(ALPHAS).index(name) / (len(ALPHAS) - 1)
    return {"color": colormaps["viridis"](0.92 * place), "linewidth": 1.4, "label": name}


def _caption(ends: Table) -> str:
    def those(rule: str, side: str, verdict: str) -> str:
        chosen = (ends["rule"] == rule) & (ends[f"verdict_{side}"] == verdict)
        return ", ".join(name for name in ends["gen"][chosen] if name not in ALPHAS) or "no divergence"

    return (
        "Top: f of every divergence D_f(q‖p) = E_p[f(r)] over the density ratio r = q/p, and its slope. Below: the "
        "generator's loss with the discriminator of disc=gan, whose logit is v = log r: by Poole's rule f(r), by the "
        "exact rule f(r) - r f'(r), with the slope in v, which is the weight of an example's gradient; negative slopes "
        "push v up. Left the named divergences with minimax and alt, right the power divergence by its order (½ is "
        "twice hellinger, 2 half pearson, -1 half neyman; 0 is rkl and 1 kl up to a multiple of r - 1, which changes "
        "Poole's rule but not the exact rule). The axes are in decades beyond ±1 and end at 300. Where D is sure of a "
        "fake (v → -∞) the slope vanishes for minimax; "
        f"by Poole's rule for {those('poole', 'fake', 'vanishes')}; by the exact rule for "
        f"{those('exact', 'fake', 'vanishes')}. It stays for alt; by Poole's rule for "
        f"{those('poole', 'fake', 'stays')}; by the exact rule for {those('exact', 'fake', 'stays')}; and explodes by "
        f"either rule for {those('poole', 'fake', 'explodes')}. Where D takes a fake for real (v → ∞) it vanishes for "
        f"alt; it explodes by Poole's rule for {those('poole', 'real', 'explodes')}; by the exact rule for "
        f"{those('exact', 'real', 'explodes')}."
    )


def _verdict(near: float, far: float) -> str:
    if abs(far) <= abs(near) / 2:
        return "vanishes"
    return "explodes" if abs(far) >= 2 * abs(near) else "stays"
