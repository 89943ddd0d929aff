"""Figure 1: every f and the generator objectives made of it, over the ratio and over the logit."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gantrain.objectives import DIVERGENCES, Divergence, Objective, alpha_divergence, make_objective
from gantrain.theory.lines import decades, look
from gantrain.theory.page import Table, TheoryFigure
from gantrain.theory.slopes import called, generator_losses, generator_slopes, slope_of

ALPHAS = (-1.0, -0.5, 0.0, 0.5, 1.0, 1.5, 2.0, 3.0)
FAR = 12.0
REACH = 6.0
"""log r of the curves' ends."""

CEILING = 300.0
"""The picture's; the tables have it all."""


@dataclass(frozen=True, slots=True)
class Generator:
    """A generator objective on the discriminator of `disc=gan`, where v = log r."""

    name: str
    rule: str
    objective: Objective


def divergences() -> dict[str, Divergence]:
    """Every divergence, the power divergence at some orders of its own."""
    return {**DIVERGENCES, **{called("alpha", order): alpha_divergence(order) for order in ALPHAS}}


def generators() -> list[Generator]:
    """minimax, alt, and every divergence by both rules."""
    found = [Generator(gen, "", make_objective("gan", gen)) for gen in ("minimax", "alt")]
    for rule in ("poole", "exact"):
        for name in DIVERGENCES:
            if (name, rule) != ("tv", "exact"):  # whose integrand has no slope
                found.append(Generator(name, rule, make_objective("gan", name, rule=rule)))
        for order in ALPHAS:
            objective = make_objective("gan", "alpha", rule=rule, alpha_gen=order)
            found.append(Generator(called("alpha", order), rule, objective))
    return found


def f_table(log_ratio: Tensor) -> Table:
    """Columns name, r, f, slope: f(r) and df/dr at each log r, for every divergence."""
    known = divergences()
    f, slopes = [], []
    for divergence in known.values():
        x = log_ratio.detach().clone().requires_grad_()
        f.append(divergence.f(x))
        slopes.append(slope_of(f[-1], x) / x.exp())
    return {
        "name": np.repeat(list(known), len(log_ratio)),
        "r": np.tile(log_ratio.exp().numpy(), len(known)),
        "f": _joined(f),
        "slope": _joined(slopes),
    }


def generator_table(v: Tensor) -> Table:
    """Columns gen, rule, v, loss, slope: L_G(v) and dL_G/dv for every generator objective, with `disc=gan`."""
    chosen = generators()
    return {
        "gen": np.repeat([g.name for g in chosen], len(v)),
        "rule": np.repeat([g.rule for g in chosen], len(v)),
        "v": np.tile(v.numpy(), len(chosen)),
        "loss": _joined([generator_losses(g.objective, v) for g in chosen]),
        "slope": _joined([generator_slopes(g.objective, v) for g in chosen]),
    }


def ends_table() -> Table:
    """Columns gen, rule, slope_fake, verdict_fake, slope_real, verdict_real: dL_G/dv where D is sure.

    The slopes are at v = -12 (D is sure of a fake) and v = 12 (sure of a real example). The verdict compares them with
    the slopes at twice that: `vanishes` and `explodes` are by a factor of two at least, all else `stays`.
    """
    at = torch.tensor([-2 * FAR, -FAR, FAR, 2 * FAR], dtype=torch.float64)
    chosen = generators()
    slopes = [generator_slopes(g.objective, at).tolist() for g in chosen]
    return {
        "gen": np.array([g.name for g in chosen]),
        "rule": np.array([g.rule for g in chosen]),
        "slope_fake": np.array([s[1] for s in slopes]),
        "verdict_fake": np.array([_verdict(s[1], s[0]) for s in slopes]),
        "slope_real": np.array([s[2] for s in slopes]),
        "verdict_real": np.array([_verdict(s[2], s[3]) for s in slopes]),
    }


def figure() -> TheoryFigure:
    """Every f and generator objective with its slope, and who vanishes or explodes where D is sure."""
    x = torch.linspace(-REACH, REACH, 241, dtype=torch.float64)
    tables = {"f": f_table(x), "generators": generator_table(x), "ends": ends_table()}
    return TheoryFigure(
        name="1-divergences",
        title="Divergences and the generator objectives made of them",
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
    f, generated = tables["f"], tables["generators"]
    for axis in axes.flat:
        axis.axhline(0, color="black", linewidth=0.6)
        decades(axis)
    for row, rule in enumerate(("", "poole", "exact")):
        named = ["alt", "minimax"] if rule else []
        for column, names in ((0, [*DIVERGENCES, *named]), (2, [called("alpha", order) for order in ALPHAS])):
            for name in names:
                if rule:
                    own = "" if name in named else rule
                    chosen = (generated["gen"] == name) & (generated["rule"] == own)
                    over, curves = generated["v"], (generated["loss"], generated["slope"])
                else:
                    chosen = f["name"] == name
                    over, curves = f["r"], (f["f"], f["slope"])
                for axis, curve in zip(axes[row, column : column + 2], curves, strict=True):
                    axis.plot(over[chosen], curve[chosen], **_look(name))
    titles = (
        ("divergence: f(r)", "df/dr"),
        ("rule=poole: L_G = f(r)", "dL_G/dv"),
        ("rule=exact: L_G = h(r)", "dL_G/dv"),
    )
    for row, (value, slope) in zip(axes, titles, strict=True):
        for axis, title in zip(row, (value, slope, f"{value}, powers", f"{slope}, powers"), strict=True):
            axis.set_title(title, fontsize=10)
            low, high = axis.get_ylim()
            axis.set_ylim(max(low, -CEILING), min(high, CEILING))
    for axis in axes[0]:
        axis.set_xscale("log")
        axis.set_xlabel("density ratio r = q/p")
    for axis in axes[1:].flat:
        axis.set_xlabel("logit v = log r      (fake ← D sure → real)")
    handles, labels = axes[1, 0].get_legend_handles_labels()
    powers = axes[1, 2].get_legend_handles_labels()
    picture.legend(handles + powers[0], labels + powers[1], loc="outside right center", fontsize=8)


def _look(name: str) -> dict[str, Any]:
    from matplotlib import colormaps

    if not name.startswith("alpha"):
        return look(name)
    place = [called("alpha", order) for order in ALPHAS].index(name) / (len(ALPHAS) - 1)
    return {"color": colormaps["viridis"](0.92 * place), "linewidth": 1.4, "label": name}


def _caption(ends: Table) -> str:
    def who(rule: str, side: str, verdict: str) -> str:
        chosen = (ends["rule"] == rule) & (ends[f"verdict_{side}"] == verdict)
        names = [str(name) for name in ends["gen"][chosen] if not str(name).startswith("alpha")]
        return ", ".join(names) or "none"

    return (
        "Top: f of every divergence D_f(q‖p) = E_p[f(r)] over the density ratio r = q/p, and its slope. Below: "
        "what a generator minimizes with the discriminator of disc=gan, whose logit is v = log r: by Poole's rule "
        "f(r), by the exact rule h(r) = f(r) - r f'(r), with the slope in v, which is the weight of an example's "
        "gradient; negative slopes push v up. Left the named divergences with minimax and alt, right the power "
        "divergence by its order (½ is twice hellinger, 2 half pearson, -1 half neyman; 0 is rkl and 1 kl up to a "
        "multiple of r - 1, which Poole's rule sees and the exact rule does not). The axes go in decades beyond "
        "±1, and end at 300. Where D is sure of a fake (v → -∞) the slope vanishes for minimax; by Poole's rule "
        f"for {who('poole', 'fake', 'vanishes')}; by the exact rule for {who('exact', 'fake', 'vanishes')}. It "
        f"stays for alt; by Poole's rule for {who('poole', 'fake', 'stays')}; by the exact rule for "
        f"{who('exact', 'fake', 'stays')}; and explodes by either rule for {who('poole', 'fake', 'explodes')}. "
        "Where D takes a fake for real (v → ∞) it vanishes for alt; it explodes by Poole's rule for "
        f"{who('poole', 'real', 'explodes')}; by the exact rule for {who('exact', 'real', 'explodes')}."
    )


def _verdict(near: float, far: float) -> str:
    if abs(far) <= abs(near) / 2:
        return "vanishes"
    return "explodes" if abs(far) >= 2 * abs(near) else "stays"


def _joined(parts: list[Tensor]) -> Any:
    return torch.cat([part.detach() for part in parts]).numpy()
