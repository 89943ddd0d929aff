"""Discriminator losses outside the f-family, and generator losses that are not divergences."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from gantrain.objectives.numerics import softplus


@dataclass(frozen=True, slots=True)
class DiscriminatorLoss:
    """A discriminator loss that does not estimate a density ratio."""

    name: str
    title: str
    source: str
    formula: str
    loss: Callable[[Tensor, Tensor], Tensor]
    """(v on real, v on fake) -> the mean over the batch."""
    generators: tuple[str, ...]
    """The generator losses that work with it; the first is the one that `gen=auto` chooses."""
    boundary: float | None
    """The logit above which the discriminator says "real"; None if a single logit does not decide."""


@dataclass(frozen=True, slots=True)
class GeneratorLoss:
    """A generator loss that is not a divergence."""

    name: str
    title: str
    source: str
    formula: str
    needs: str
    """The discriminators that it works with, as text."""
    loss: Callable[[Tensor], Tensor] | None = None
    """v on fake -> the mean over the batch; None for the losses that need more than v, which `Objective` computes."""


def _hinge(real: Tensor, fake: Tensor) -> Tensor:
    return torch.relu(1 - real).mean() + torch.relu(1 + fake).mean()


def _lsgan(real: Tensor, fake: Tensor) -> Tensor:
    return ((real - 1).square().mean() + fake.square().mean()) / 2


DISCRIMINATOR_LOSSES: dict[str, DiscriminatorLoss] = {
    d.name: d
    for d in (
        DiscriminatorLoss(
            name="hinge",
            title="hinge",
            source="Lim & Ye 2017; Miyato et al. 2018",
            formula="max(0, 1-v), max(0, 1+v)",
            loss=_hinge,
            generators=("linear", "hinge_ns"),
            boundary=0.0,
        ),
        DiscriminatorLoss(
            name="wasserstein",
            title="Wasserstein-1 critic; needs a Lipschitz constraint",
            source="Arjovsky et al. 2017",
            formula="-v, v",
            loss=lambda real, fake: fake.mean() - real.mean(),
            generators=("linear",),
            boundary=None,
        ),
        DiscriminatorLoss(
            name="lsgan",
            title="least squares",
            source="Mao et al. 2017",
            formula="½(v-1)², ½v²",
            loss=_lsgan,
            generators=("lsgan",),
            boundary=0.5,
        ),
        DiscriminatorLoss(
            name="relativistic",
            title="relativistic, by pairs",
            source="Jolicoeur-Martineau 2019",
            formula="sp(v_fake - v_real) of each pair",
            loss=lambda real, fake: softplus(fake - real).mean(),
            generators=("relativistic",),
            boundary=None,
        ),
    )
}

GENERATOR_LOSSES: dict[str, GeneratorLoss] = {
    g.name: g
    for g in (
        GeneratorLoss(
            name="minimax",
            title="the zero-sum game; saturates",
            source="Goodfellow et al. 2014; Nowozin et al. 2016",
            formula="-f*(g(v))",
            needs="an f-divergence discriminator",
        ),
        GeneratorLoss(
            name="alt",
            title="the practical rule; with disc=gan the non-saturating loss",
            source="Nowozin et al. 2016, §3.2",
            formula="-g(v)",
            needs="an f-divergence discriminator",
        ),
        GeneratorLoss(
            name="linear",
            title="the critic's score",
            source="Arjovsky et al. 2017",
            formula="-v",
            needs="disc=hinge or wasserstein",
            loss=lambda v: -v.mean(),
        ),
        GeneratorLoss(
            name="hinge_ns",
            title="non-saturating hinge",
            source="Jackson 2021",
            formula="max(0, 1-v)",
            needs="disc=hinge",
            loss=lambda v: torch.relu(1 - v).mean(),
        ),
        GeneratorLoss(
            name="lsgan",
            title="least squares",
            source="Mao et al. 2017",
            formula="½(v-1)²",
            needs="disc=lsgan",
            loss=lambda v: (v - 1).square().mean() / 2,
        ),
        GeneratorLoss(
            name="relativistic",
            title="relativistic, by pairs",
            source="Jolicoeur-Martineau 2019",
            formula="sp(v_real - v_fake) of each pair",
            needs="disc=relativistic",
        ),
    )
}

GENERATOR_ALIASES = {"nonsaturating": "alt"}
"""Aliases of generator losses."""
