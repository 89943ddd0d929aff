"""Figure 6: where the generator's gradient goes when D wins, for every pair."""

from typing import Any

import numpy as np
import torch

from gantrain.theory.page import Table, TheoryFigure
from gantrain.theory.slopes import all_pairs, generator_slopes, logits_at

REACH, POINTS = 12.0, 97
DECADES = 5.0
"""Where the colors end."""
PAPER = {"facecolor": "white", "edgecolor": "none", "pad": 1.5}


def table() -> Table:
    """Columns disc, gen, rule, log_ratio, v, slope: dL_G/dv of every pair at each log r.

    Discriminators that estimate no ratio have log_ratio NaN, and v over the same range.
    """
    x = torch.linspace(-REACH, REACH, POINTS, dtype=torch.float64)
    pairs = list(all_pairs())
    logits = [logits_at(pair.objective, x) for pair in pairs]
    slopes = [generator_slopes(pair.objective, v) for pair, v in zip(pairs, logits, strict=True)]
    return {
        "disc": np.repeat([pair.disc for pair in pairs], POINTS),
        "gen": np.repeat([pair.gen for pair in pairs], POINTS),
        "rule": np.repeat([pair.rule for pair in pairs], POINTS),
        "log_ratio": torch.cat([x if pair.objective.has_log_ratio else x * torch.nan for pair in pairs]).numpy(),
        "v": torch.cat(logits).numpy(),
        "slope": torch.cat(slopes).numpy() + 0.0,  # no negative zero
    }


def figure() -> TheoryFigure:
    """|dL_G/dv| of every pair as heat maps, one a discriminator."""
    numbers = table()
    count = len(numbers["slope"]) // POINTS
    return TheoryFigure(
        name="6-gradient-map",
        title="Size of the generator's gradient, |dL_G/dv|, where D is sure of a fake (left) and where it is "
        "fooled (right)",
        caption=f"All {count} pairs of objectives and rules: the weight |dL_G/dv| of a "
        "generated example. Each map is a discriminator and each row a generator; the common axis is log r = "
        "log(q/p) as an optimal discriminator gives it back (log_ratio in gantrain.objectives, read with "
        "loss.param=fgan), not v, which means something else for each discriminator: v = log r for gan, js, rkl "
        "and alpha, log r + 1 for kl, ½ log r for hellinger, 2 log r for neyman, 2(r - 1) for pearson, log r + 1 - "
        "1/r for jeffreys. The last map has v itself, as those discriminators estimate no ratio; relativistic's "
        "partner has v = 0. Purple: the gradient vanishes; white: it has weight 1; orange: it explodes; dark grey: "
        "exactly 0. Hatched: the slope is positive, so that the generator's step pushes v down, away from what D "
        "takes for real. Training in which D wins lives at the left ends.",
        source="Goodfellow et al. 2014; Nowozin et al. 2016, §3.2 (minimax, alt); Poole et al. 2016, eq. 8 "
        "(poole); gradient of ∫ p f(q/p) in p (exact); Jackson 2021 (hinge_ns)",
        tables={"": numbers},
        draw=lambda picture: _draw(picture, numbers),
        size=(15.0, 11.5),
    )


def _draw(picture: Any, numbers: Table) -> None:
    from matplotlib import colormaps
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import Normalize

    colors = ScalarMappable(Normalize(-DECADES, DECADES), colormaps["PuOr_r"].with_extremes(bad="#404040"))
    without = np.isnan(numbers["log_ratio"])
    discs = dict.fromkeys(numbers["disc"][~without].tolist())
    panels = [(f"disc={disc}", numbers["disc"] == disc) for disc in discs] + [("no ratio: over v", without)]
    axes = list(picture.subplots(3, 4).flat)
    for place, (axis, (title, chosen)) in enumerate(zip(axes, panels, strict=False)):
        slopes, disc, gen, rule = (numbers[key][chosen].reshape(-1, POINTS) for key in ("slope", "disc", "gen", "rule"))
        _map(axis, slopes, colors)
        for above in np.flatnonzero(rule[1:, 0] != rule[:-1, 0]):
            axis.axhline(above + 0.5, color="black", linewidth=0.8)
        names = [f"{g} {r}".strip() for g, r in zip(gen[:, 0], rule[:, 0], strict=True)]
        axis.set_yticks(range(len(names)), names if place % 4 == 0 else [], fontsize=7.5)
        axis.set_title(title, fontsize=10)
        axis.set_xlabel("log r")
    axis.set_xlabel("v")  # of the last map, which has room for its names
    axis.set_yticks([])
    for row, words in enumerate(f"{d}: {name}" for d, name in zip(disc[:, 0], names, strict=True)):
        axis.text(0.02, (len(names) - row - 0.5) / len(names), words, transform=axis.transAxes, va="center", bbox=PAPER)
    last = axes[-1]
    last.set_axis_off()
    bar = picture.colorbar(
        colors, cax=last.inset_axes((0.05, 0.75, 0.9, 0.08)), orientation="horizontal", extend="both"
    )
    bar.set_label("log₁₀ |dL_G/dv|")
    legend = (
        "purple: vanishes\nwhite: weight 1\norange: explodes\ndark grey: exactly 0\n"
        "hatched: dL_G/dv > 0,\nthe step pushes v down"
    )
    last.text(0.05, 0.3, legend, transform=last.transAxes, va="center", fontsize=10)


def _map(axis: Any, slopes: Any, colors: Any) -> None:
    """A row of the picture a row of `slopes`; hatched where they are positive."""
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
        if positive.any():  # a run up to the right end: no loss pushes v down where D is surer of a fake
            first = -REACH + 2 * half * int(positive.argmax()) - half
            box = Rectangle((first, row - 0.5), REACH + half - first, 1, fill=False, linewidth=0, hatch="////")
            axis.add_patch(box)
    axis.axvline(0, color="black", linewidth=0.6, linestyle=":")
    axis.grid(False)
