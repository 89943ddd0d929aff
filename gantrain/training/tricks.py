"""Small practices around the step, each off unless asked for."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gantrain.distributed import randn


class InstanceNoise:
    """Gaussian noise on all that D sees, fading linearly (Sønderby et al. 2017; Arjovsky & Bottou 2017)."""

    def __init__(self, sigma: float, until: int, device: torch.device, scale: float = 1.0) -> None:
        """Takes what the noise is at the start and when it is gone.

        Args:
            sigma: its standard deviation at the start, in units of the image range's half (1 for [-1, 1]).
            until: generator steps after which it is 0.
            device: where the images are.
            scale: half the length of the images' range.
        """
        self.sigma, self.until, self.scale = sigma, until, scale
        self._now = torch.zeros((), device=device)

    def at(self, step: int) -> float:
        """Its standard deviation after `step` generator steps, in the images' own units."""
        return self.sigma * self.scale * max(0.0, 1 - step / self.until)

    def prepare(self, step: int) -> bool:
        """Sets the noise of the iteration after `step` generator steps; whether there is any left."""
        sigma = self.at(step)
        self._now.fill_(sigma)
        return sigma > 0

    def __call__(self, images: Tensor, draws: torch.Generator) -> Tensor:
        """The images (N, 3, H, W) with fresh noise."""
        return images + self._now * randn(tuple(images.shape), draws)


@dataclass(frozen=True, slots=True)
class TopK:
    """The generator learns from the fakes that the discriminator finds most real (Sinha et al. 2020).

    Attributes:
        least: the share of the batch that is always kept, ν.
        decay: factor of the share an epoch, γ.
    """

    least: float
    decay: float

    def count(self, batch_size: int, epoch: int) -> int:
        """How many of a batch are kept after so many epochs."""
        return max(1, round(batch_size * max(self.least, self.decay**epoch)))

    @staticmethod
    def best(logits: Tensor, count: int) -> Tensor:
        """The `count` largest of the logits (N,), with their graph."""
        kept: Tensor = logits.topk(count, sorted=False).values
        return kept


class History:
    """A buffer of earlier fakes (Shrivastava et al. 2017, §2.3).

    Once it is full, half of every batch that the discriminator sees is drawn from it, and the other half of
    the generator's fakes take the place of what was drawn.
    """

    def __init__(self, images: Tensor, labels: Tensor | None) -> None:
        """Takes the storage: images (capacity, 3, H, W), and labels (capacity,) where there are any."""
        self.images = images
        self.labels = labels
        self.filled = 0

    @property
    def is_filling(self) -> bool:
        """Whether there is room left."""
        return self.filled < len(self.images)

    def grow(self, count: int) -> None:
        """An iteration has put that many fakes into the room that was left."""
        self.filled = min(len(self.images), self.filled + count)

    @torch.no_grad()
    def mix(
        self, fake: Tensor, labels: Tensor | None, draws: torch.Generator, filling: int | None
    ) -> tuple[Tensor, Tensor | None]:
        """What the discriminator sees in place of fresh fakes (N, 3, H, W) and their labels.

        Args:
            fake: the fresh fakes.
            labels: theirs, where there are any.
            draws: the source of randomness.
            filling: while the buffer is being filled, which batch of the iteration it is; then None.
        """
        if filling is not None:
            first = min(len(self.images), self.filled + filling * len(fake))
            taken = slice(first, first + len(fake))
            room = len(self.images[taken])
            self.images[taken].copy_(fake[:room])
            if self.labels is not None and labels is not None:
                self.labels[taken].copy_(labels[:room])
            return fake, labels
        half = min(len(fake) // 2, len(self.images))
        places = torch.rand(len(self.images), generator=draws, device=self.images.device).topk(half).indices
        mixed = torch.cat((self.images.index_select(0, places).to(fake.dtype), fake[half:]))
        self.images.index_copy_(0, places, fake[:half].to(self.images.dtype))
        if self.labels is None or labels is None:
            return mixed, labels
        mixed_labels = torch.cat((self.labels.index_select(0, places), labels[half:]))
        self.labels.index_copy_(0, places, labels[:half])
        return mixed, mixed_labels

    def tensors(self) -> dict[str, Tensor]:
        """What an iteration writes."""
        return {"history": self.images} | ({} if self.labels is None else {"history.labels": self.labels})

    def state_dict(self) -> dict[str, Any]:
        """The buffer."""
        return {"images": self.images, "labels": self.labels, "filled": self.filled}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Goes on where `state_dict` was taken."""
        self.images.copy_(state["images"])
        if self.labels is not None:
            self.labels.copy_(state["labels"])
        self.filled = state["filled"]


@dataclass(frozen=True, slots=True)
class ClassLoss:
    """AC-GAN's classification loss, added to the objective of either side (Odena et al. 2016)."""

    weight_d: float
    weight_g: float


@dataclass(frozen=True, slots=True)
class DiscriminatorSteps:
    """How many discriminator steps come before each generator step.

    Attributes:
        usual: k.
        early: k in the first `until` generator steps and at every `every`-th one (Arjovsky et al. 2017's code: 100,
            25 and 500); 0 is off.
        until: see `early`.
        every: see `early`; 0 is never.
    """

    usual: int
    early: int = 0
    until: int = 0
    every: int = 0

    @property
    def most(self) -> int:
        """The largest k."""
        return max(self.usual, self.early)

    def at(self, step: int) -> int:
        """K before generator step number `step` (from 0)."""
        if self.early and (step < self.until or (self.every and step % self.every == 0)):
            return self.early
        return self.usual

    def total(self, steps: int) -> int:
        """Discriminator steps in the first `steps` generator steps."""
        early = min(self.until, steps)
        if self.every:
            early += -(-steps // self.every) - -(-early // self.every)  # multiples of `every` after `until`
        return self.usual * steps + (self.early - self.usual) * (early if self.early else 0)
