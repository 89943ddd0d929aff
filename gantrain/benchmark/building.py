"""Our trainers and the peers' loops from the same overrides, over random images: speed depends on no pixel."""

import os
import tempfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TextIO

import torch
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from gantrain.benchmark.peers import PEERS, Parts, plain_adam
from gantrain.benchmark.session import Session
from gantrain.builders import build_networks, build_trainer
from gantrain.builders.device import arithmetic
from gantrain.cli import compose_config
from gantrain.config import Config, from_omegaconf
from gantrain.data import BatchSampler, ImageSet
from gantrain.training.trainer import Trainer

ALONE = ("metrics=none", "log.diagnostics_every_steps=0", "log.grid_images=4", "schedule.steps=1000000")
"""An iteration without what a run writes down."""
LOG_EVERY = 100
SEED = 0


def make_config(session: Session, overrides: Sequence[str]) -> Config:
    """The configuration of these overrides on the session's device.

    Raises:
        ConfigError: a key or value that this version does not have.
    """
    words = [*session.scale.shrunk(overrides), f"device={session.device.type}"]
    return from_omegaconf(compose_config(words))


def random_images(count: int, size: int) -> ImageSet:
    """uint8 images (count, 3, size, size), every value alike probable."""
    source = torch.Generator().manual_seed(SEED)
    images = torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=source)
    return ImageSet("random images", images, torch.zeros(count, dtype=torch.long), ("none",))


def make_trainer(session: Session, overrides: Sequence[str]) -> Trainer:
    """A trainer of random images that writes nothing down.

    Raises:
        ConfigError: a key or value that this version does not have.
    """
    config = make_config(session, [*overrides, *ALONE, f"log.every_steps={LOG_EVERY}"])
    images = random_images(session.scale.images, config.data.image_size)
    return build_trainer(config, images, [], session.device)


class Iterating:
    """One iteration of ours a call; what it records is let go where a run would read it."""

    def __init__(self, trainer: Trainer) -> None:
        """Takes a trainer that writes nothing down."""
        self.trainer = trainer
        self._deterministic = bool(trainer.config["deterministic"])
        self._precision = str(trainer.config["precision"])

    def __call__(self) -> None:
        """Runs it, with deterministic kernels where the configuration has them."""
        if not self._deterministic:
            self._run()
            return
        with arithmetic(self._precision, deterministic=True, device=self.trainer.train_step.device):
            self._run()

    def _run(self) -> None:
        train_step = self.trainer.train_step
        if train_step.buffer.count == LOG_EVERY:
            train_step.buffer.clear()
        train_step.run()

    @property
    def note(self) -> str:
        """Which executor it takes, and what that one could not do."""
        said = [self.trainer.executor.partition(" (")[0]]
        executor: object = self.trainer.train_step.executor
        while executor is not None:
            failure = getattr(executor, "failure", None)
            said += [f"{type(executor).__name__} fell back: {failure}"] if failure else []
            executor = getattr(executor, "inner", None)
        return "; ".join(said)


def make_peer(
    session: Session,
    name: str,
    overrides: Sequence[str],
    stack: ExitStack,
    real: Callable[[], Tensor] | None = None,
    out: TextIO | None = None,
) -> Callable[[], None]:
    """A peer's iteration over the networks of these overrides.

    Args:
        session: device and sizes.
        name: of PEERS.
        overrides: the contest's.
        stack: closes what the loop holds open.
        real: where real images come from; None is batches of our sampler that are on the device already.
        out: where a loop prints that does so every iteration.
    """
    config = make_config(session, overrides)
    torch.manual_seed(config.seed)
    networks = build_networks(config, 0)
    for network in (networks.generator, networks.discriminator):
        network.to(session.device).train()
    optimizer = config.optimizer
    if real is None:
        real = _ready_batches(session, config, networks.image_range)
    folder = stack.enter_context(tempfile.TemporaryDirectory())
    writer = SummaryWriter(folder)
    stack.callback(writer.close)
    parts = Parts(
        networks=networks,
        objective=config.loss.make(),
        optimizer_d=plain_adam(networks.discriminator, optimizer.lr_d, (optimizer.beta1_d, optimizer.beta2_d)),
        optimizer_g=plain_adam(networks.generator, optimizer.lr_g, (optimizer.beta1_g, optimizer.beta2_g)),
        real=real,
        batch_size=config.schedule.batch_size,
        d_steps=config.schedule.d_steps,
        device=session.device,
        scalar=writer.add_scalar,
        out=out,
    )
    return PEERS[name].loop(parts)


def _ready_batches(
    session: Session, config: Config, image_range: tuple[float, float] | None, count: int = 8
) -> Callable[[], Tensor]:
    """The same few batches again and again, so that a peer's time is that of its loop alone."""
    images = random_images(min(session.scale.images, 4096), config.data.image_size).to(session.device).images
    batch_size = config.schedule.batch_size
    sampler = BatchSampler(images, batch_size=batch_size, image_range=image_range, flip=True, seed=SEED)
    batches = [sampler.next()[0] for _ in range(count)]
    step = 0

    def real() -> Tensor:
        nonlocal step
        step += 1
        return batches[step % count]

    return real


def silence(stack: ExitStack) -> TextIO:
    """Where printed lines cost what they cost and are not seen."""
    return stack.enter_context(Path(os.devnull).open("w", encoding="utf-8"))
