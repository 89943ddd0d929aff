"""Discriminators outside the f-family, and the generator objectives that are no divergence."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from gantrain.objectives.numerics import softplus


@dataclass(frozen=True, slots=True)
class MarginDiscriminator:
    """A discriminator outside the f-family: its loss, and the score above which it says "real"."""

    name: str
    title: str
    source: str
    formula: str
    loss: Callable[[Tensor, Tensor], Tensor]
    own_generator: str
    generators: tuple[str, ...]
    boundary: float | None


@dataclass(frozen=True, slots=True)
class GeneratorRule:
    """A generator objective that is no divergence: its name, formula and where it comes from."""

    name: str
    title: str
    source: str
    formula: str
    needs: str


def _hinge(real: Tensor, fake: Tensor) -> Tensor:
    return torch.relu(1 - real).mean() + torch.relu(1 + fake).mean()


def _wasserstein(real: Tensor, fake: Tensor) -> Tensor:
    return fake.mean() - real.mean()


def _lsgan(real: Tensor, fake: Tensor) -> Tensor:
    return ((real - 1).square().mean() + fake.square().mean()) / 2


def _relativistic(real: Tensor, fake: Tensor) -> Tensor:
    return softplus(fake - real).mean()


MARGIN_DISCRIMINATORS: dict[str, MarginDiscriminator] = {
    d.name: d
    for d in (
        MarginDiscriminator(
            name="hinge",
            title="hinge",
            source="Lim & Ye 2017; Miyato et al. 2018",
            formula="max(0, 1-v), max(0, 1+v)",
            loss=_hinge,
            own_generator="linear",
            generators=("linear", "hinge_ns"),
            boundary=0.0,
        ),
        MarginDiscriminator(
            name="wasserstein",
            title="Wasserstein-1 critic; needs a Lipschitz constraint",
            source="Arjovsky et al. 2017",
            formula="-v, v",
            loss=_wasserstein,
            own_generator="linear",
            generators=("linear",),
            boundary=None,
        ),
        MarginDiscriminator(
            name="lsgan",
            title="least squares",
            source="Mao et al. 2017",
            formula="½(v-1)², ½v²",
            loss=_lsgan,
            own_generator="lsgan",
            generators=("lsgan",),
            boundary=0.5,
        ),
        MarginDiscriminator(
            name="relativistic",
            title="relativistic, by pairs",
            source="Jolicoeur-Martineau 2019",
            formula="sp(v_fake - v_real) of each pair",
            loss=_relativistic,
            own_generator="relativistic",
            generators=("relativistic",),
            boundary=None,
        ),
    )
}

GENERATOR_RULES: dict[str, GeneratorRule] = {
    g.name: g
    for g in (
        GeneratorRule(
            "minimax",
            "the zero-sum game; saturates",
            "Goodfellow et al. 2014; Nowozin et al. 2016",
            "-f*(g(v))",
            "an f-divergence discriminator",
        ),
        GeneratorRule(
            "alt",
            "the practical rule; with disc=gan the non-saturating loss",
            "Nowozin et al. 2016, §3.2",
            "-g(v)",
            "an f-divergence discriminator",
        ),
        GeneratorRule("linear", "the critic's score", "Arjovsky et al. 2017", "-v", "disc=hinge or wasserstein"),
        GeneratorRule("hinge_ns", "non-saturating hinge", "Jackson 2021", "max(0, 1-v)", "disc=hinge"),
        GeneratorRule("lsgan", "least squares", "Mao et al. 2017", "½(v-1)²", "disc=lsgan"),
        GeneratorRule(
            "relativistic",
            "relativistic, by pairs",
            "Jolicoeur-Martineau 2019",
            "sp(v_real - v_fake) of each pair",
            "disc=relativistic",
        ),
    )
}
