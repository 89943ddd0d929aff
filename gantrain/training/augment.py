"""Differentiable augmentation of the discriminator's inputs, both real and fake.

An augmentation is a function listed in `AUGMENTATIONS`: it takes images (N, 3, H, W), their range and a generator for
random numbers, and returns images of the same shape. It is differentiable with respect to the input and random for each
image. docs/extending.md shows how to add one.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from gantrain.options import between, choice, option, require, unread
from gantrain.system.distributed import rand, randint
from gantrain.training.tricks import Decision, Note, Trick, TrickOptions, TrickSetup

TRANSLATION = 0.125
"""Largest shift as a share of the size (DiffAugment's)."""
CUTOUT = 0.5
"""Side of the square that is cut out as a share of the size (DiffAugment's)."""


def color(x: Tensor, image_range: tuple[float, float], draws: torch.Generator) -> Tensor:
    """Brightness moved by up to a quarter of the range, saturation by a factor in [0, 2), contrast in [½, 3/2)."""
    brightness, saturation, contrast = rand((3, len(x), 1, 1, 1), draws, rows=1)
    x = x + (brightness - 0.5) * ((image_range[1] - image_range[0]) / 2)
    gray = x.mean(dim=1, keepdim=True)
    x = torch.lerp(gray, x, 2 * saturation)
    mean = x.mean(dim=(1, 2, 3), keepdim=True)
    return torch.lerp(mean, x, contrast + 0.5)


def translation(x: Tensor, image_range: tuple[float, float], draws: torch.Generator) -> Tensor:
    """Each image moved by up to an eighth of its size in both directions; the middle of the range fills the rest."""
    n, _, height, width = x.shape
    most = round(TRANSLATION * height), round(TRANSLATION * width)
    rows, columns = (
        randint(-m, m + 1, (n, 1), draws) + torch.arange(size, device=x.device)[None]
        for m, size in zip(most, (height, width), strict=True)
    )
    inside = ((rows >= 0) & (rows < height))[:, None, :, None] & ((columns >= 0) & (columns < width))[:, None, None]
    example = torch.arange(n, device=x.device)[:, None, None]
    moved = x.permute(0, 2, 3, 1)[example, rows.clamp(0, height - 1)[:, :, None], columns.clamp(0, width - 1)[:, None]]
    return torch.where(inside, moved.permute(0, 3, 1, 2), sum(image_range) / 2)


def cutout(x: Tensor, image_range: tuple[float, float], draws: torch.Generator) -> Tensor:
    """A square of half the size, at a random place that may reach over the edge, becomes the middle of the range."""
    n, _, height, width = x.shape
    hidden = []
    for size in (height, width):
        side = round(CUTOUT * size)
        center = randint(0, size + (1 - side % 2), (n, 1), draws)
        first = center - side // 2
        place = torch.arange(size, device=x.device)[None]
        hidden.append((place >= first) & (place < first + side))
    return torch.where(hidden[0][:, None, :, None] & hidden[1][:, None, None], sum(image_range) / 2, x)


Augmentation = Callable[[Tensor, tuple[float, float], torch.Generator], Tensor]

AUGMENTATIONS: dict[str, Augmentation] = {function.__name__: function for function in (color, translation, cutout)}
"""Augmentations by their names in `augment.policy`."""


@dataclass(slots=True, kw_only=True)
class AugmentOptions(TrickOptions):
    """Options of differentiable augmentation, `augment.*`."""

    policy: list[str] = option([], f"DiffAugment's transforms, from {', '.join(AUGMENTATIONS)}; []: off")
    p: float = option(1.0, "probability of each kind on each image; the initial one if it is adaptive")
    target: float | None = option(
        None, "ADA: p rises while E[sign D(real)] is above this and falls below; 0.6 in the paper; null: constant p"
    )
    speed_images: int = option(500_000, "ADA: real images in which p can go from 0 to 1")

    def __post_init__(self) -> None:
        """Checks names and ranges."""
        for name in self.policy:
            choice("augment.policy", name, tuple(AUGMENTATIONS))
        require(len(set(self.policy)) == len(self.policy), "augment.policy", self.policy, "names a kind twice")
        between("augment.p", self.p, 0, 1)
        between("augment.speed_images", self.speed_images, 1, 10**12)
        if self.target is not None:
            require(-1 < self.target < 1, "augment.target", self.target, "must be between -1 and 1")
        else:
            unread("augment.speed_images", self.speed_images, 500_000, "augment.target")
        if not self.policy:
            unread("augment.p", self.p, 1.0, "a policy such as augment=diffaugment")
            unread("augment.target", self.target, None, "a policy such as augment=ada")

    def build(self, setup: TrickSetup) -> "Augment | None":
        """See `TrickOptions`."""
        if not self.policy:
            return None
        assert setup.image_range is not None, "the configuration refuses augmentation of points"
        return Augment(
            tuple(self.policy),
            p=self.p,
            image_range=setup.image_range,
            device=setup.device,
            target=self.target,
            boundary=setup.boundary or 0.0,
            speed_images=self.speed_images,
        )


class Augment(Trick):
    """DiffAugment (Zhao et al. 2020, arXiv:2006.10738): each kind with probability p on each image.

    With a target, p is adapted by ADA's heuristic (Karras et al. 2020a, arXiv:2006.06676, §3.1):
    r = E[sign(v - boundary)] on real images over `WINDOW` discriminator steps; above the target the discriminator
    overfits and p rises, below it p falls, at a rate that takes it from 0 to 1 in `speed_images` real images.

    Attributes:
        p: the current probability, a scalar tensor.
    """

    name = "augment"
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
        """Applies the kinds of `policy` in this order, with probability p, which a `target` of r adapts."""
        self.image_range = image_range
        self._kinds = [AUGMENTATIONS[name] for name in policy]
        self._always = target is None and p == 1
        self.target, self.boundary, self.speed_images = target, boundary, speed_images
        self.p = torch.full((), p, device=device)
        self._signs = torch.zeros((), device=device)
        self._seen = torch.zeros((), device=device)

    def augment_inputs(self, images: Tensor, draws: torch.Generator, decision: Decision = None) -> Tensor:
        """Images (N, 3, H, W) -> the same shape; differentiable."""
        images = images.float()
        for kind in self._kinds:
            changed = kind(images, self.image_range, draws)
            if self._always:
                images = changed
            else:
                chosen = rand((len(images), 1, 1, 1), draws) < self.p
                images = torch.where(chosen, changed, images)
        return images

    def after_discriminator_update(self, real_logits: Tensor, note: Note) -> None:
        """Adapts p and logs it, if there is a target."""
        if self.target is not None:
            self.adapt(real_logits)
            note("augment/p", self.p)

    @torch.no_grad()
    def adapt(self, real_logits: Tensor) -> None:
        """Updates p from the logits (N,) of augmented real images, without a synchronization."""
        assert self.target is not None
        self._signs += (real_logits - self.boundary).sign().mean()
        self._seen += 1
        due = (self._seen == self.WINDOW).float()
        step = self.WINDOW * len(real_logits) / self.speed_images
        self.p += due * (self._signs / self.WINDOW - self.target).sign() * step
        self.p.clamp_(0, 1)
        self._signs *= 1 - due
        self._seen *= 1 - due

    def tensors(self) -> dict[str, Tensor]:
        """See `Trick`."""
        return {"p": self.p, "signs": self._signs, "seen": self._seen}
