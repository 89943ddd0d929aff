"""`augment.*` and `practice.*`: what the discriminator is shown, and which fakes either network learns from."""

from dataclasses import dataclass

from gantrain.options import at_least_0, between, choice, option, require, unread

AUGMENT_POLICIES = ("color", "translation", "cutout")


@dataclass(slots=True, kw_only=True)
class AugmentConfig:
    """Differentiable augmentation of all that the discriminator sees."""

    policy: list[str] = option([], "DiffAugment's kinds, of color, translation, cutout; [] is off")
    p: float = option(1.0, "probability of each kind on each image; where an adaptive one starts")
    target: float | None = option(
        None, "ADA: p rises while E[sign D(real)] is above it and falls below; 0.6 is the paper's, null keeps p"
    )
    speed_images: int = option(500_000, "ADA: real images in which p can go from 0 to 1")

    def __post_init__(self) -> None:
        """Checks names and ranges."""
        for name in self.policy:
            choice("augment.policy", name, AUGMENT_POLICIES)
        require(len(set(self.policy)) == len(self.policy), "augment.policy", self.policy, "names a kind twice")
        between("augment.p", self.p, 0, 1)
        between("augment.speed_images", self.speed_images, 1, 10**12)
        if self.target is not None:
            require(-1 < self.target < 1, "augment.target", self.target, "must lie between -1 and 1")
        else:
            unread("augment.speed_images", self.speed_images, 500_000, "augment.target")
        if not self.policy:
            unread("augment.p", self.p, 1.0, "a policy such as augment=diffaugment")
            unread("augment.target", self.target, None, "a policy such as augment=ada")


@dataclass(slots=True, kw_only=True)
class TricksConfig:
    """Small practices around the step, each off unless asked for."""

    instance_noise: float = option(0.0, "standard deviation of noise on all that D sees, 1 is half the range; 0 is off")
    instance_noise_until: float = option(1.0, "share of the run over which it fades linearly to 0")
    top_k: float = option(1.0, "share of its fakes, the most real, that G learns from in the end; 1 is off")
    top_k_decay: float = option(0.99, "factor of that share an epoch, from 1 on")
    history: int = option(0, "earlier fakes kept for half of D's batches; 0 is off")

    def __post_init__(self) -> None:
        """Checks ranges."""
        at_least_0("tricks.instance_noise", self.instance_noise, "0 turns it off")
        require(
            0 < self.instance_noise_until <= 1,
            "tricks.instance_noise_until",
            self.instance_noise_until,
            "must lie in (0, 1], a share of the run",
        )
        if not self.instance_noise:
            unread("tricks.instance_noise_until", self.instance_noise_until, 1.0, "tricks.instance_noise")
        require(0 < self.top_k <= 1, "tricks.top_k", self.top_k, "must lie in (0, 1]; 1 turns it off")
        require(0 < self.top_k_decay < 1, "tricks.top_k_decay", self.top_k_decay, "must lie in (0, 1)")
        if self.top_k == 1:
            unread("tricks.top_k_decay", self.top_k_decay, 0.99, "tricks.top_k below 1")
        between("tricks.history", self.history, 0, 10**6)
