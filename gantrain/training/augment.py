"""Differentiable augmentation of everything that the discriminator sees, real and fake alike."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from gantrain.distributed import rand, randint


def color(x: Tensor, span: float, draws: torch.Generator) -> Tensor:
    """Brightness moved by up to a quarter of the range, saturation by a factor in [0, 2), contrast in [½, 3/2).

    Args:
        x: images (N, 3, H, W).
        span: length of their range: 2 for [-1, 1].
        draws: the source of randomness.
    """
    brightness, saturation, contrast = rand((3, len(x), 1, 1, 1), draws, rows=1)
    x = x + (brightness - 0.5) * (span / 2)
    grey = x.mean(dim=1, keepdim=True)
    x = torch.lerp(grey, x, 2 * saturation)
    mean = x.mean(dim=(1, 2, 3), keepdim=True)
    return torch.lerp(mean, x, contrast + 0.5)


def translation(x: Tensor, background: float, draws: torch.Generator, share: float = 0.125) -> Tensor:
    """Each image moved by up to `share` of its size in both directions; `background` comes in."""
    n, _, height, width = x.shape
    most = round(share * height), round(share * width)
    rows, columns = (
        randint(-m, m + 1, (n, 1), draws) + torch.arange(size, device=x.device)[None]
        for m, size in zip(most, (height, width), strict=True)
    )
    inside = ((rows >= 0) & (rows < height))[:, None, :, None] & ((columns >= 0) & (columns < width))[:, None, None]
    example = torch.arange(n, device=x.device)[:, None, None]
    moved = x.permute(0, 2, 3, 1)[example, rows.clamp(0, height - 1)[:, :, None], columns.clamp(0, width - 1)[:, None]]
    return torch.where(inside, moved.permute(0, 3, 1, 2), background)


def cutout(x: Tensor, background: float, draws: torch.Generator, share: float = 0.5) -> Tensor:
    """A square of `share` of the size, at a random place that may reach over the edge, becomes `background`."""
    n, _, height, width = x.shape
    hidden = []
    for size in (height, width):
        side = round(share * size)
        centre = randint(0, size + (1 - side % 2), (n, 1), draws)
        first = centre - side // 2
        place = torch.arange(size, device=x.device)[None]
        hidden.append((place >= first) & (place < first + side))
    return torch.where(hidden[0][:, None, :, None] & hidden[1][:, None, None], background, x)


class Augment:
    """DiffAugment (Zhao et al. 2020), each kind with probability p on each image, p fixed or adaptive.

    The operations and their strengths are DiffAugment's. With `target`, p follows ADA's heuristic
    (Karras et al. 2020a, §3.1): r = E[sign(v - boundary)] on real images over `WINDOW` discriminator steps;
    above the target the discriminator overfits and p rises, below it falls, by as much as takes it from 0 to 1 in
    `speed_images` real images.
    """

    WINDOW = 4

    def __init__(
        self,
        policy: tuple[str, ...],
        *,
        p: float,
        image_range: tuple[float, float],
        device: torch.device,
        target: float | None = None,
        boundary: float = 0.0,
        speed_images: int = 500_000,
    ) -> None:
        """`p` is where an adaptive probability starts."""
        low, high = image_range
        background, span = (low + high) / 2, high - low
        kinds: dict[str, Callable[[Tensor, torch.Generator], Tensor]] = {
            "color": lambda x, draws: color(x, span, draws),
            "translation": lambda x, draws: translation(x, background, draws),
            "cutout": lambda x, draws: cutout(x, background, draws),
        }
        self._kinds = [kinds[name] for name in policy]
        self._always = target is None and p == 1
        self.target, self.boundary, self.speed_images = target, boundary, speed_images
        self.p = torch.full((), p, device=device)
        self._signs = torch.zeros((), device=device)
        self._seen = torch.zeros((), device=device)

    def __call__(self, images: Tensor, draws: torch.Generator) -> Tensor:
        """Images (N, 3, H, W) -> the same shape, differentiable by them."""
        images = images.float()
        for kind in self._kinds:
            changed = kind(images, draws)
            if self._always:
                images = changed
            else:
                chosen = rand((len(images), 1, 1, 1), draws) < self.p
                images = torch.where(chosen, changed, images)
        return images

    @torch.no_grad()
    def adapt(self, real_logits: Tensor) -> None:
        """Moves an adaptive p by what the discriminator says of (augmented) real images; waits for nothing."""
        if self.target is None:
            return
        self._signs += (real_logits - self.boundary).sign().mean()
        self._seen += 1
        due = (self._seen == self.WINDOW).float()
        step = self.WINDOW * len(real_logits) / self.speed_images
        self.p += due * (self._signs / self.WINDOW - self.target).sign() * step
        self.p.clamp_(0, 1)
        self._signs *= 1 - due
        self._seen *= 1 - due

    def tensors(self) -> dict[str, Tensor]:
        """What an iteration writes."""
        return {"augment.p": self.p, "augment.signs": self._signs, "augment.seen": self._seen}

    def state_dict(self) -> dict[str, Any]:
        """What decides the probabilities to come."""
        return {"p": self.p, "signs": self._signs, "seen": int(self._seen)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on where `state_dict` was taken."""
        self.p.copy_(state["p"])
        self._signs.copy_(state["signs"])
        self._seen.fill_(state["seen"])
