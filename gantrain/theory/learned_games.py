"""The fit of a single Gaussian with a learned discriminator: many small GANs on the line, trained together."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gantrain.objectives import make_objective
from gantrain.theory.descent import Path, Point, Window
from gantrain.theory.mixture import Mixture
from gantrain.theory.names import ALT, order_of

GAMES_TOGETHER = 20
"""Few enough for their tensors to stay in a core's cache."""
HIDDEN = 32
BATCH = 256
FIRST_D_STEPS = 300
D_STEPS = 4
STEPS = 600
AVERAGED = 0.4
"""Final share of training over which (μ, σ) is averaged."""
D_LR, G_LR = (5e-3, 5e-4), (3e-2, 2e-3)
"""First and last learning rate."""

GeneratorLoss = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class Game:
    """One GAN after training.

    Attributes:
        path: (μ, σ) during training.
        left: whether it was stopped because it left the window or became non-finite.
        end: (μ, σ) averaged over the last part of training, or where it left.
    """

    path: Path
    left: bool
    end: Point


class _Discriminators:
    """A network for each game, stacked: two hidden layers, plus a quadratic as in a Gaussian's log density."""

    def __init__(self, seeds: list[torch.Generator], copies: int, mixture: Mixture) -> None:
        def per_seed(*shape: int) -> Tensor:
            drawn = torch.stack([torch.randn(shape, generator=seed) for seed in seeds])
            return drawn.repeat(copies, 1, 1)

        self._shift, self._scale = mixture.mean, mixture.std
        self.parameters = [
            2 * per_seed(1, HIDDEN),
            2 * per_seed(1, HIDDEN),
            per_seed(HIDDEN, HIDDEN) / math.sqrt(HIDDEN),
            0 * per_seed(1, HIDDEN),
            per_seed(HIDDEN, 1) / math.sqrt(HIDDEN),
            0 * per_seed(1, 1),
            0 * per_seed(2, 1),
        ]
        for parameter in self.parameters:
            parameter.requires_grad_()

    def logits(self, at: Tensor) -> Tensor:
        """V of points (games, batch), of the same shape."""
        w1, b1, w2, b2, w3, b3, skip = self.parameters
        x = ((at - self._shift) / self._scale).unsqueeze(2)
        hidden = torch.tanh(torch.baddbmm(b1, x, w1))
        hidden = torch.tanh(torch.baddbmm(b2, hidden, w2))
        quadratic = torch.baddbmm(b3, torch.cat([x, x.square()], dim=2), skip)
        return torch.baddbmm(quadratic, hidden, w3).squeeze(2)


def play(
    names: tuple[str, ...],
    rules: tuple[str, ...],
    seeds: tuple[int, ...],
    mixture: Mixture,
    start: Point,
    window: Window,
) -> dict[tuple[str, str, int], Game]:
    """Trains a GAN for every divergence, rule and seed: D with the `gan` objective, G = μ + σz with the divergence's.

    A seed determines the initial weights and every sample, independently of the games trained with it.

    Args:
        names: of divergences with an exact integrand.
        rules: among `poole`, `exact`.
        seeds: of the random numbers.
        mixture: the data.
        start: the generator's first (μ, σ).
        window: games that leave it are stopped.

    Returns:
        A game for every (name, rule, seed).
    """
    pairs = [(name, rule) for name in names for rule in rules]
    together = max(1, GAMES_TOGETHER // len(seeds))
    games: dict[tuple[str, str, int], Game] = {}
    for first in range(0, len(pairs), together):
        games |= _play_together(pairs[first : first + together], seeds, mixture, start, window)
    return games


def _play_together(
    pairs: list[tuple[str, str]],
    seeds: tuple[int, ...],
    mixture: Mixture,
    start: Point,
    window: Window,
) -> dict[tuple[str, str, int], Game]:
    losses = [generator_loss(name, rule) for name, rule in pairs]
    randoms = [torch.Generator().manual_seed(seed) for seed in seeds]
    discriminators = _Discriminators(randoms, len(pairs), mixture)
    playing = torch.arange(len(pairs) * len(seeds))  # game k has pair k // len(seeds) and seed k % len(seeds)
    scale = mixture.std
    state = torch.tensor([start[0] / scale, math.log(start[1])]).repeat(len(playing), 1).requires_grad_()
    d_optimizer = torch.optim.Adam(discriminators.parameters, lr=D_LR[0], betas=(0.5, 0.99))
    g_optimizer = torch.optim.Adam([state], lr=G_LR[0], betas=(0.0, 0.99))
    objective = make_objective("gan")

    def per_game(draw: Callable[[torch.Generator], Tensor]) -> Tensor:
        return torch.stack([draw(random) for random in randoms])[playing % len(seeds)]

    def fakes() -> Tensor:
        return scale * state[:, :1] + state[:, 1:].exp() * per_game(lambda random: torch.randn(BATCH, generator=random))

    paths = [[start] for _ in playing]
    left = [False for _ in playing]
    for step in range(STEPS):
        _set_lr(d_optimizer, D_LR, step / STEPS)
        _set_lr(g_optimizer, G_LR, step / STEPS)
        for _ in range(D_STEPS if step else FIRST_D_STEPS):
            real, fake = per_game(lambda random: mixture.sample((BATCH,), random)), fakes().detach()
            v_real, v_fake = discriminators.logits(torch.cat([real, fake], dim=1)).split(BATCH, dim=1)
            _step(d_optimizer, len(playing) * objective.discriminator_loss(v_real, v_fake))
        counts = torch.bincount(playing // len(seeds), minlength=len(pairs)).tolist()
        pieces = discriminators.logits(fakes()).split(counts)
        each = [len(v) * loss(v) for loss, v in zip(losses, pieces, strict=True) if len(v)]
        _step(g_optimizer, torch.stack(each).sum())
        points = torch.stack([scale * state.detach()[:, 0], state.detach()[:, 1].exp()], dim=1)
        stays = _inside(points, window)
        for game, point, stay in zip(playing.tolist(), points.tolist(), stays.tolist(), strict=True):
            if all(map(math.isfinite, point)):
                paths[game].append((point[0], point[1]))
            left[game] = not stay
        if not stays.all():
            playing = playing[stays]
            discriminators.parameters = _keep(d_optimizer, stays)
            (state,) = _keep(g_optimizer, stays)
        if not len(playing):
            break
    keys = [(name, rule, seed) for name, rule in pairs for seed in seeds]
    return {key: _game(path, gone) for key, path, gone in zip(keys, paths, left, strict=True)}


def _game(points: list[Point], left: bool) -> Game:
    path = np.array(points)
    mean, std = path[-1] if left else path[-int(AVERAGED * STEPS) :].mean(axis=0)
    return Game(path, left, (float(mean), float(std)))


def generator_loss(name: str, rule: str) -> GeneratorLoss:
    """The generator's loss on fake logits of a `gan` discriminator, from training's own objectives.

    `alt` with the exact rule does not exist in training; it uses `names.ALT`.
    """
    if name == ALT.name:
        if rule == "exact":
            integrand = ALT.exact_integrand
            assert integrand is not None, "v determines the ratio"
            return lambda v: integrand(v).mean()
        return make_objective("gan", "alt").generator_loss
    order = order_of(name)
    if order is not None:
        return make_objective("gan", "alpha", rule=rule, alpha_gen=order).generator_loss
    return make_objective("gan", name, rule=rule).generator_loss


def _inside(points: Tensor, window: Window) -> Tensor:
    edges = torch.tensor([window.means, window.stds])
    return ((points > edges[:, 0]) & (points < edges[:, 1])).all(dim=1)


def _set_lr(optimizer: torch.optim.Optimizer, ends: tuple[float, float], share: float) -> None:
    """Interpolates geometrically between the first and the last learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = ends[0] * (ends[1] / ends[0]) ** share


def _step(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    parameters = optimizer.param_groups[0]["params"]
    for parameter, gradient in zip(parameters, torch.autograd.grad(loss, parameters), strict=True):
        parameter.grad = gradient
    optimizer.step()


def _keep(optimizer: torch.optim.Optimizer, games: Tensor) -> list[Tensor]:
    """Drops the other games from the optimizer; returns the remaining parameters."""
    (group,) = optimizer.param_groups
    kept = [parameter.detach()[games].requires_grad_() for parameter in group["params"]]
    for old, new in zip(group["params"], kept, strict=True):
        moments = optimizer.state.pop(old)
        optimizer.state[new] = {key: value[games] if value.ndim else value for key, value in moments.items()}
    group["params"] = kept
    return kept
