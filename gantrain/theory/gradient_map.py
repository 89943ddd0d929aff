"""Figure 6: the size of the generator's gradient over log r, for every pair of objectives."""

import math
from typing import Any

import numpy as np
import torch

from gantrain.objectives import DIVERGENCES
from gantrain.theory.figure import Table, TheoryFigure, concatenate
from gantrain.theory.slopes import all_pairs, generator_slopes, logits_at

REACH, POINTS = 12.0, 97
"""The largest |log r|, and the columns of a map."""
DECADES = 5.0
"""The color scale covers powers of ten from minus this to this."""
COLUMNS = 4


def table() -> Table:
    """Columns disc, gen, rule, log_ratio, v, slope: dL_G/dv of every pair at each log r.

    Discriminators that estimate no ratio have log_ratio NaN, and v over the same range.
    """
    x = torch.linspace(-REACH, REACH, POINTS, dtype=torch.float64)
    blocks = []
    for pair in all_pairs():
        v = logits_at(pair.objective, x)
        log_ratio = x if pair.objective.has_log_ratio else x * torch.nan
        names = {"disc": pair.disc, "gen": pair.gen, "rule": pair.rule}
        blocks.append({**names, "log_ratio": log_ratio, "v": v, "slope": generator_slopes(pair.objective, v)})
    return concatenate(blocks)


def figure() -> TheoryFigure:
    """|dL_G/dv| of every pair as heat maps, one for each discriminator."""
    numbers = table()
    formulas: dict[str, list[str]] = {}
    for name, record in DIVERGENCES.items():
        if record.log_ratio is not None:
            formulas.setdefault(record.logit_formula, []).append(name)
    formulas["log r"].append("alpha")
    logits = "; ".join(f"v = {formula} for {', '.join(names)}" for formula, names in formulas.items())
    rows = math.ceil((len(_maps(numbers)) + 1) / COLUMNS)
    return TheoryFigure(
        name="6-gradient-map",
        title="Size of the generator's gradient, |dL_G/dv|, where D is sure of a fake (left) and where it is "
        "fooled (right)",
        caption=f"All {len(numbers['slope']) // POINTS} pairs of objectives and rules: the weight |dL_G/dv| of a "
        "generated example. Each map is a discriminator and each row a generator. The common axis is log r = log(q/p) "
        "as an optimal discriminator estimates it (log_ratio in gantrain.objectives, with loss.param=fgan), not v, "
        f"which has a different meaning for each discriminator: {logits}. The last map is over v itself, since those "
        "discriminators estimate no ratio; relativistic's real example has v = 0. Purple: the gradient vanishes; "
        "white: it has weight 1; orange: it explodes; dark grey: exactly 0. Hatched: the slope is positive, so the "
        "generator's step pushes v down, away from what D takes for real. When D wins, training takes place at the "
        "left ends.",
        source="Goodfellow et al. 2014; Nowozin et al. 2016, §3.2 (minimax, alt); Poole et al. 2016, eq. 8 "
        "(poole); gradient of ∫ p f(q/p) in p (exact); Jackson 2021 (hinge_ns)",
        tables={"": numbers},
        draw=lambda picture: _draw(picture, numbers, rows),
        size=(15.0, 3.8 * rows),
    )


def _maps(numbers: Table) -> list[tuple[str, Any]]:
    """Title and selected rows of every map."""
    no_ratio = np.isnan(numbers["log_ratio"])
    discs = dict.fromkeys(numbers["disc"][~no_ratio].tolist())
    return [(f"disc={disc}", numbers["disc"] == disc) for disc in discs] + [("no ratio: over v", no_ratio)]


def _draw(picture: Any, numbers: Table, rows: int) -> None:
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    colors = ScalarMappable(Normalize(-DECADES, DECADES), colormaps["PuOr_r"].with_extremes(bad="#404040"))
    maps = _maps(numbers)
    axes = list(picture.subplots(rows, COLUMNS).flat)
    for axis in axes[len(maps) :]:
        axis.set_axis_off()
    for place, (axis, (title, chosen)) in enumerate(zip(axes, maps, strict=False)):
        slopes, disc, gen, rule = (numbers[key][chosen].reshape(-1, POINTS) for key in ("slope", "disc", "gen", "rule"))
        _draw_map(axis, slopes, colors)
        for above in np.flatnonzero(rule[1:, 0] != rule[:-1, 0]):
            axis.axhline(above + 0.5, color="black", linewidth=0.8)
        names = [f"{g} {r}".strip() for g, r in zip(gen[:, 0], rule[:, 0], strict=True)]
        axis.set_yticks(range(len(names)), names if place % COLUMNS == 0 else [], fontsize=7.5)
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("log r")
    # The last map has several discriminators; its rows are named inside it.
    axis.set_xlabel("v")
    axis.set_yticks([])
    background = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}
    for row, text in enumerate(f"{d}: {name}" for d, name in zip(disc[:, 0], names, strict=True)):
        height = (len(names) - row - 0.5) / len(names)
        axis.text(0.02, height, text, transform=axis.transAxes, va="center", bbox=background)
    legend = axes[len(maps)]
    bar = picture.colorbar(
        colors, cax=legend.inset_axes((0.05, 0.75, 0.9, 0.08)), orientation="horizontal", extend="both"
    )
    bar.set_label("log₁₀ |dL_G/dv|")
    text = (
        "purple: vanishes\nwhite: weight 1\norange: explodes\ndark grey: exactly 0\n"
        "hatched: dL_G/dv > 0,\nthe step pushes v down"
    )
    legend.text(0.05, 0.3, text, transform=legend.transAxes, va="center", fontsize=10)


def _draw_map(axis: Any, slopes: Any, colors: Any) -> None:
    """One heat map with a row for each row of `slopes`, hatched where they are positive."""
    from matplotlib.patches import Rectangle

    with np.errstate(divide="ignore"):
        size = np.ma.masked_invalid(np.log10(np.abs(slopes)))
    half = REACH / (POINTS - 1)  # half a column
    axis.imshow(
        size,
        cmap=colors.cmap,
        norm=colors.norm,
        aspect="auto",
        extent=(-REACH - half, REACH + half, len(slopes) - 0.5, -0.5),
        interpolation="nearest",
    )
    for row, positive in enumerate(slopes > 0):
        if positive.any():  # from the first positive point to the right end, for every loss
            first = -REACH + 2 * half * int(positive.argmax()) - half
            box = Rectangle((first, row - 0.5), REACH + half - first, 1, fill=False, linewidth=0, hatch="////")
            axis.add_patch(box)
    axis.axvline(0, color="black", linewidth=0.6, linestyle=":")
    axis.grid(False)
