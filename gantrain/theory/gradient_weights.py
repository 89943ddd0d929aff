"""Figure 5: how much each real, fake and generated example weighs in the gradient, by how sure D is of it."""

from typing import Any

import numpy as np
import torch
from torch import Tensor

from gantrain.theory.lines import decades, look
from gantrain.theory.page import Table, TheoryFigure
from gantrain.theory.slopes import Pair, all_pairs, discriminator_slopes, generator_slopes, logits_at

CEILING = 30.0
"""The picture's; the table has it all."""
REACH = 7.0

BOUNDED = ("gan", "hinge", "wasserstein", "lsgan", "relativistic", "tv")
"""Discriminators whose examples weigh 1 at most, drawn together."""


def logits_of(pair: Pair, d: Tensor) -> Tensor:
    """The logit at which this discriminator says that an example is real with probability `d`, in (0, 1).

    Where v estimates log r, D = σ(log r) = q/(p+q), the optimal D of disc=gan. lsgan's optimum is that D itself. For
    tv, hinge, wasserstein and relativistic, which have no probability, D = σ(v) is only a way to show all of v.
    """
    return d if pair.disc == "lsgan" else logits_at(pair.objective, torch.logit(d))


def weights(d: Tensor) -> Table:
    """Columns example, disc, gen, rule, d, v, weight.

    The weight of an example is w in the gradient step w·∇v that its loss asks for: -dL/dv of a real and of a generated
    example, dL_D/dv of a fake one, so that it is positive where the loss does what its side is there for. A gen is
    named for generated examples only.
    """
    pairs = list(all_pairs())
    rows = []
    for disc in dict.fromkeys(pair.disc for pair in pairs):
        pair = next(pair for pair in pairs if pair.disc == disc)
        v = logits_of(pair, d)
        real, fake = discriminator_slopes(pair.objective, v)
        rows += [("real", disc, "", "", v, -real), ("fake", disc, "", "", v, fake)]
    for pair in pairs:
        if pair.disc in ("gan", "hinge", "wasserstein", "lsgan", "relativistic"):
            v = logits_of(pair, d)
            rows.append(("generated", pair.disc, pair.gen, pair.rule, v, -generator_slopes(pair.objective, v)))
    found: Table = {
        key: np.repeat([row[k] for row in rows], len(d)) for k, key in enumerate(("example", "disc", "gen", "rule"))
    }
    found["d"] = np.tile(d.numpy(), len(rows))
    found["v"] = torch.cat([row[4] for row in rows]).numpy()
    found["weight"] = torch.cat([row[5] for row in rows]).numpy() + 0.0  # no negative zero
    return found


def figure() -> TheoryFigure:
    """Weights of real, fake and generated examples over D, for every discriminator and generator."""
    numbers = weights(torch.sigmoid(torch.linspace(-REACH, REACH, 281, dtype=torch.float64)))
    return TheoryFigure(
        name="5-gradient-weights",
        title="What an example weighs in the gradient, by the discriminator's opinion D(x) of it",
        caption="An example's loss moves its logit v by w·∇v; shown is w over D(x), from surely fake (0) to surely "
        "real (1): up for real and generated examples, down for fake ones, so that w < 0 is a push the wrong way. "
        "With disc=gan a real example weighs 1 - D, the probability that it is misclassified, and a fake one D; "
        "the generator's minimax weighs D, alt 1 - D. hinge weighs 1 within the margin and 0 beyond; its generator "
        "`linear` weighs 1 everywhere, hinge_ns 1 up to v = 1. Poole's rule turns round where f'(r) = 0 and then "
        "pushes v down: at D = ½, for kl already at D = 0.27, for gan and rkl never. The exact rule never does. "
        "For the f-divergences D = σ(log r) = q/(p+q); lsgan's v is that D itself; for hinge, wasserstein, "
        "relativistic (whose partner has v = 0) and tv D = σ(v) only shows all of v. Bottom middle and right: "
        "generators on disc=gan. Axes that reach 10 go in decades beyond ±1, and end at 30.",
        source="Jackson 2021 (Gradients of GAN objectives); Nowozin et al. 2016, Table 6; Poole et al. 2016, eq. "
        "8; hinge: Lim & Ye 2017, Miyato et al. 2018; lsgan: Mao et al. 2017; relativistic: Jolicoeur-Martineau "
        "2019",
        tables={"": numbers},
        draw=lambda picture: _draw(picture, numbers),
        size=(13.0, 11.0),
    )


def _draw(picture: Any, numbers: Table) -> None:
    grid = picture.add_gridspec(3, 6)
    bounded = [name for name in dict.fromkeys(numbers["disc"].tolist()) if name in BOUNDED]
    others = [name for name in dict.fromkeys(numbers["disc"].tolist()) if name not in BOUNDED]
    for row, example in enumerate(("real", "fake")):
        of_it = numbers["example"] == example
        plain, wide = picture.add_subplot(grid[row, :3]), picture.add_subplot(grid[row, 3:])
        for axis, names in ((plain, bounded), (wide, ["gan", *others])):
            curves = [(name, of_it & (numbers["disc"] == name)) for name in names]
            _panel(axis, numbers, curves, f"{example} examples: {'−' if row == 0 else ''}dL_D/dv")
        wide.set_ylim(0, CEILING)
    of_it = numbers["example"] == "generated"
    rules, poole, exact = (picture.add_subplot(grid[2, k : k + 2]) for k in (0, 2, 4))
    plain_rules = [("gan", "minimax"), ("gan", "alt"), ("hinge", "hinge_ns"), ("wasserstein", "linear")]
    plain_rules += [("lsgan", "lsgan"), ("relativistic", "relativistic")]
    curves = [(gen, of_it & (numbers["disc"] == disc) & (numbers["gen"] == gen)) for disc, gen in plain_rules]
    _panel(rules, numbers, curves, "generated examples: −dL_G/dv")
    for axis, rule in ((poole, "poole"), (exact, "exact")):
        on_gan = of_it & (numbers["disc"] == "gan") & (numbers["rule"] == rule)
        names = list(dict.fromkeys(numbers["gen"][on_gan].tolist()))
        curves = [(name, on_gan & (numbers["gen"] == name)) for name in names]
        _panel(axis, numbers, curves, f"generated, disc=gan, rule={rule}: −dL_G/dv")
    poole.set_ylim(-CEILING, CEILING)
    exact.set_ylim(0, CEILING)
    for axis in picture.axes:
        axis.set_xlabel("D(x)")
        axis.set_xlim(0, 1)


def _panel(axis: Any, numbers: Table, curves: list[tuple[str, Any]], title: str) -> None:
    d = np.unique(numbers["d"])
    apart: list[tuple[list[str], Any]] = []
    for name, chosen in curves:
        weight = numbers["weight"][chosen]
        alike = next((names for names, other in apart if np.allclose(weight, other, rtol=1e-9, atol=1e-12)), None)
        if alike is None:
            apart.append(([name], weight))
        else:
            alike.append(name)
    for names, weight in apart:
        step = "steps-post" if names[0].startswith("hinge") else "default"
        axis.plot(d, weight, **{**look(names[0]), "label": ", ".join(names)}, drawstyle=step)
    if max(weight.max() for _, weight in apart) > 2:
        decades(axis)
    else:
        axis.set_ylim(-0.04, 1.3)
    axis.axhline(0, color="black", linewidth=0.6)
    axis.set_title(title, fontsize=10)
    axis.legend(fontsize=8, ncols=2, loc="best" if len(apart) > 6 else "upper center")
