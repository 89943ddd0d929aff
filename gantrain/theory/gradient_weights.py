"""Figure 5: the weight of each real, fake and generated example in the gradient, over the discriminator's D(x)."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from gantrain.theory.figure import Table, TheoryFigure, concatenate
from gantrain.theory.slopes import Pair, all_pairs, discriminator_slopes, generator_slopes, logits_at
from gantrain.theory.style import asinh_axis, style

REACH = 7.0
"""The largest |log r|."""
CEILING = 30.0
"""Limit of the drawn weights; the table has all values."""
BOUNDED = 1.3
"""Discriminators with weights up to this are drawn together."""


def logits_of(pair: Pair, d: Tensor) -> Tensor:
    """The logit at which this discriminator says that an example is real with probability `d`, in (0, 1).

    If v estimates log r, D = σ(log r) = q/(p+q), the optimal D of disc=gan. lsgan's optimal v is that D itself. tv,
    hinge, wasserstein and relativistic have no probability; for them D = σ(v) only covers the full range of v.
    """
    return d if pair.disc == "lsgan" else logits_at(pair.objective, torch.logit(d))


def weights(d: Tensor) -> Table:
    """Columns example, disc, gen, rule, d, v, weight.

    The weight of an example is w in the gradient step w·∇v of its loss: -dL/dv of a real and of a generated example,
    dL_D/dv of a fake one, so that it is positive if the step goes in the intended direction. Real and fake examples
    have no gen. Generated examples are given for disc=gan and the discriminators outside the f-family.
    """
    pairs = {pair.disc: pair for pair in all_pairs()}
    blocks = []

    def add(example: str, disc: str, gen: str, rule: str, v: Tensor, weight: Tensor) -> None:
        names = {"example": example, "disc": disc, "gen": gen, "rule": rule}
        blocks.append({**names, "d": d, "v": v, "weight": weight})

    for disc, pair in pairs.items():
        v = logits_of(pair, d)
        real, fake = discriminator_slopes(pair.objective, v)
        add("real", disc, "", "", v, -real)
        add("fake", disc, "", "", v, fake)
    for pair in all_pairs():
        if pair.disc == "gan" or pair.objective.divergence is None:
            v = logits_of(pair, d)
            add("generated", pair.disc, pair.gen, pair.rule, v, -generator_slopes(pair.objective, v))
    return concatenate(blocks)


def figure() -> TheoryFigure:
    """Weights of real, fake and generated examples over D, for every discriminator and generator."""
    numbers = weights(torch.sigmoid(torch.linspace(-REACH, REACH, 281, dtype=torch.float64)))
    return TheoryFigure(
        name="5-gradient-weights",
        title="Weight of an example in the gradient, by the discriminator's D(x)",
        caption="An example's loss moves its logit v by w·∇v; shown is w over D(x), from surely fake (0) to surely "
        "real (1): up for real and generated examples, down for fake ones, so that w < 0 is a push the wrong way. "
        "With disc=gan a real example weighs 1 - D, the probability that it is misclassified, and a fake one D; "
        "the generator's minimax weighs D, alt 1 - D. hinge weighs 1 within the margin and 0 beyond; its generator "
        "`linear` weighs 1 everywhere, hinge_ns 1 up to v = 1. Poole's rule changes sign where f'(r) = 0 and then "
        "pushes v down: at D = ½, for kl already at D = 0.27, for gan and rkl never. The exact rule never does. "
        "For the f-divergences D = σ(log r) = q/(p+q); lsgan's v is that D itself; for hinge, wasserstein, "
        "relativistic (whose other example has v = 0) and tv, D = σ(v) only covers the range of v. Top: on the left "
        "the discriminators whose weights are bounded by 1, on the right the others and gan. Bottom middle and right: "
        "generators with disc=gan. Axes that reach 10 are in decades beyond ±1 and end at 30.",
        source="Jackson 2021 (Gradients of GAN objectives); Nowozin et al. 2016, Table 6; Poole et al. 2016, eq. "
        "8; hinge: Lim & Ye 2017, Miyato et al. 2018; lsgan: Mao et al. 2017; relativistic: Jolicoeur-Martineau "
        "2019",
        tables={"": numbers},
        draw=lambda picture: _draw(picture, numbers),
        size=(13.0, 11.0),
    )


def _draw(picture: Any, numbers: Table) -> None:
    grid = picture.add_gridspec(3, 6)
    example, disc, gen, rule = (numbers[key] for key in ("example", "disc", "gen", "rule"))
    of_discriminator = example != "generated"
    largest = {
        name: numbers["weight"][of_discriminator & (disc == name)].max()
        for name in dict.fromkeys(disc[of_discriminator].tolist())
    }
    bounded = [name for name, weight in largest.items() if weight <= BOUNDED]
    others = ["gan", *(name for name in largest if name not in bounded)]
    for row, kind in enumerate(("real", "fake")):
        for column, names in ((0, bounded), (3, others)):
            axis = picture.add_subplot(grid[row, column : column + 3])
            curves = {name: (example == kind) & (disc == name) for name in names}
            _draw_panel(axis, numbers, curves, f"{kind} examples: {'−' if kind == 'real' else ''}dL_D/dv")
            if names is others:
                axis.set_ylim(0, CEILING)
    for column, wanted in ((0, ""), (2, "poole"), (4, "exact")):
        chosen = (example == "generated") & (rule == wanted)
        # `linear` has the same weights with each of its discriminators: only the last one is drawn.
        curves = {name: chosen & (gen == name) for name in dict.fromkeys(gen[chosen].tolist())}
        curves = {name: rows & (disc == disc[rows][-1]) for name, rows in curves.items()}
        title = f"generated, disc=gan, rule={wanted}: −dL_G/dv" if wanted else "generated examples: −dL_G/dv"
        axis = picture.add_subplot(grid[2, column : column + 2])
        _draw_panel(axis, numbers, curves, title)
        if wanted:
            axis.set_ylim(-CEILING if wanted == "poole" else 0, CEILING)
    for axis in picture.axes:
        axis.set_xlabel("D(x)")
        axis.set_xlim(0, 1)


def _draw_panel(axis: Any, numbers: Table, curves: dict[str, Any], title: str) -> None:
    """One line for each distinct curve, labelled with all objectives that share it."""
    d = np.unique(numbers["d"])
    distinct: list[tuple[list[str], Any]] = []
    for name, chosen in curves.items():
        weight = numbers["weight"][chosen]
        equal = next((names for names, other in distinct if np.allclose(weight, other, rtol=1e-9, atol=1e-12)), None)
        if equal is None:
            distinct.append(([name], weight))
        else:
            equal.append(name)
    for names, weight in distinct:
        step = "steps-post" if names[0].startswith("hinge") else "default"
        axis.plot(d, weight, **{**style(names[0]), "label": ", ".join(names)}, drawstyle=step)
    if max(weight.max() for _, weight in distinct) > 2:
        asinh_axis(axis)
    else:
        axis.set_ylim(-0.04, 1.3)
    axis.axhline(0, color="black", linewidth=0.6)
    axis.set_title(title, fontsize=10)
    axis.legend(fontsize=8, ncols=2, loc="best" if len(distinct) > 6 else "upper center")
