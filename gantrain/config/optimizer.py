"""`optimizer.*` and `schedule.*`: Adam for each network, and how long and how often each steps."""

from dataclasses import dataclass

from gantrain.options import at_least_0, between, choice, option, require, unread

LR_DECAYS = ("constant", "linear", "cosine")


@dataclass(slots=True, kw_only=True)
class OptimizerConfig:
    """Adam, with its own settings for each network."""

    lr_g: float = option(2e-4, "learning rate of the generator")
    lr_d: float = option(2e-4, "learning rate of the discriminator")
    beta1_g: float = option(0.5, "Adam's β1 of the generator")
    beta2_g: float = option(0.999, "Adam's β2 of the generator")
    beta1_d: float = option(0.5, "Adam's β1 of the discriminator")
    beta2_d: float = option(0.999, "Adam's β2 of the discriminator")
    grad_clip_norm: float = option(
        0.0, "largest gradient norm of either network, larger gradients are scaled down; 0: off"
    )

    def __post_init__(self) -> None:
        """Checks ranges."""
        at_least_0("optimizer.grad_clip_norm", self.grad_clip_norm, "0 turns it off")
        for side in "gd":
            rate = getattr(self, f"lr_{side}")
            require(0 < rate <= 1, f"optimizer.lr_{side}", rate, "must be in (0, 1]; 2e-4 is DCGAN's")
            for beta in ("beta1", "beta2"):
                value = getattr(self, f"{beta}_{side}")
                require(0 <= value < 1, f"optimizer.{beta}_{side}", value, "must be in [0, 1)")


@dataclass(slots=True, kw_only=True)
class ScheduleConfig:
    """How long and how often."""

    steps: int = option(100_000, "generator steps")
    d_steps: int = option(1, "discriminator steps before each generator step (k in Goodfellow's Algorithm 1)")
    early_d_steps: int = option(
        0, "discriminator steps per generator step during the first early_until generator steps; 0: off"
    )
    early_until: int = option(25, "generator steps with early_d_steps at the start")
    early_every: int = option(0, "later, take early_d_steps once every so many generator steps; 0: never")
    batch_size: int = option(64, "real images per discriminator step, and fakes per step of either network")
    reuse_fakes: bool = option(
        False, "train G on the fakes of the last discriminator step, as pytorch/examples does, instead of new ones"
    )
    lr_decay: str = option("constant", "learning rates: constant, or linear or cosine decay to 0 at the last step")
    lr_decay_from: float = option(0.0, "share of the run before the decay starts, in [0, 1)")
    ema_decay: float = option(0.999, "decay per step of the exponential moving average (EMA) of the generator; 0: off")

    def __post_init__(self) -> None:
        """Checks names and ranges."""
        between("schedule.steps", self.steps, 1, 10**9)
        between("schedule.d_steps", self.d_steps, 1, 1000)
        between("schedule.early_d_steps", self.early_d_steps, 0, 1000)
        between("schedule.early_until", self.early_until, 0, 10**9)
        between("schedule.early_every", self.early_every, 0, 10**9)
        if not self.early_d_steps:
            unread("schedule.early_until", self.early_until, 25, "schedule.early_d_steps")
            unread("schedule.early_every", self.early_every, 0, "schedule.early_d_steps")
        between("schedule.batch_size", self.batch_size, 2, 65536, what="batch norm needs at least 2")
        choice("schedule.lr_decay", self.lr_decay, LR_DECAYS)
        require(0 <= self.lr_decay_from < 1, "schedule.lr_decay_from", self.lr_decay_from, "must be in [0, 1)")
        if self.lr_decay == "constant":
            unread("schedule.lr_decay_from", self.lr_decay_from, 0.0, "schedule.lr_decay=linear and cosine")
        require(0 <= self.ema_decay < 1, "schedule.ema_decay", self.ema_decay, "must be in [0, 1); 0 turns EMA off")
