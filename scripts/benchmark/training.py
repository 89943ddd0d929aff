"""The training loop against other projects' loops, executors, image loading, and the cost of logging."""

import contextlib
import dataclasses
import io
import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torch.utils.tensorboard import SummaryWriter
from torchvision import transforms

from gantrain.builders import build_networks, build_trainer, load_data
from gantrain.config import Config, from_omegaconf
from gantrain.config.compose import compose as compose_config
from gantrain.data import BatchSampler, ImageSet
from gantrain.run_io.run_folder import RunFolder
from scripts.benchmark.peers import PEERS, Parts, plain_adam
from scripts.benchmark.timing import Contestant, Row, Work, compare

NETWORKS: dict[str, tuple[str, ...]] = {
    "dcgan": ("model=dcgan", "model.width=128", "model.d_width=64", "model.d_norm=batch"),
    "sngan": ("model=sngan", "loss=hinge", "optimizer=sngan"),
    "resnet": ("model=resnet", "loss=hinge", "optimizer=sngan"),
    "narrow dcgan": ("model=dcgan", "model.width=16", "model.d_norm=batch"),
}
BF16 = ("precision=bf16", "channels_last=true")
VARIANTS: dict[str, tuple[str, ...]] = {
    "gantrain": (),
    "gantrain, reuse_fakes": ("schedule.reuse_fakes=true",),
    "gantrain, NCHW in two batches": ("channels_last=false", "joint_batch=false"),
    "gantrain, executor=eager": ("executor=eager",),
    "gantrain, executor=graph": ("executor=graph",),
    "gantrain, executor=graph, bf16": ("executor=graph", *BF16),
    "gantrain, executor=compiled_graph, bf16": ("executor=compiled_graph", *BF16),
    "gantrain, executor=graph, bf16, sn_schedule=per_step": ("executor=graph", "model.sn_schedule=per_step", *BF16),
}
"""Overrides by name; the first is what a run does by default."""

NEVER = 10**9
LOG_EVERY = 100
QUIET = ("metrics=none", "log.diagnostics_every_steps=0", "log.grid_images=4", f"schedule.steps={NEVER}")
"""Training without measurements."""


@dataclasses.dataclass(frozen=True, slots=True)
class Setting:
    """Networks and schedule that all loops of one table share.

    Attributes:
        network: of NETWORKS.
        batch_size: B.
        d_steps: k.
        peers: of PEERS; ratios are against the first.
        variants: of VARIANTS.
        workers: of the DataLoader that feeds the first peer from end to end; 0 leaves that table out.
    """

    network: str
    batch_size: int
    d_steps: int
    peers: tuple[str, ...]
    variants: tuple[str, ...]
    workers: int = 0

    @property
    def title(self) -> str:
        """For headings."""
        return f"{self.network}, batch {self.batch_size}, k = {self.d_steps}"


ON_A_GPU = ("gantrain", "gantrain, executor=eager", "gantrain, executor=graph, bf16")
SETTINGS = {
    "gpu": (
        Setting("dcgan", 64, 1, tuple(PEERS), (*ON_A_GPU, "gantrain, executor=compiled_graph, bf16"), workers=2),
        Setting(
            network="sngan",
            batch_size=64,
            d_steps=5,
            peers=("torch-fidelity", "mimicry", "pytorch-gan-collections"),
            variants=(*ON_A_GPU, "gantrain, executor=graph, bf16, sn_schedule=per_step"),
            workers=4,
        ),
        Setting("resnet", 64, 1, ("mimicry",), ON_A_GPU),
        Setting("dcgan", 256, 1, ("pytorch/examples",), ON_A_GPU),
    ),
    "cpu": (Setting("narrow dcgan", 32, 1, tuple(PEERS), tuple(VARIANTS)[:3], workers=2),),
}


@dataclasses.dataclass(frozen=True, slots=True)
class Bench:
    """What all tables have in common.

    Attributes:
        device: where everything runs.
        settings: the tables of loops.
        rounds: measurements of each contestant.
        seconds: of one measurement.
        images: in the training set.
        overhead_steps: steps per measurement of the cost of logging.
        fid_images: images in FID's samples and reference.
        small: shrinks networks and batches as far as they work, and leaves out what has to be compiled.
    """

    device: torch.device
    settings: tuple[Setting, ...]
    rounds: int
    seconds: float
    images: int
    overhead_steps: int
    fid_images: int
    small: bool = False

    def config(self, setting: Setting, *overrides: str) -> Config:
        """The configuration of a setting with more overrides."""
        words = [*NETWORKS[setting.network], f"schedule.d_steps={setting.d_steps}", f"device={self.device.type}"]
        if self.small:
            words = [word for word in words if not word.startswith(("model.width", "model.d_width"))]
            words += ["model.width=4", "model.d_width=4"]
        words += [f"schedule.batch_size={4 if self.small else setting.batch_size}", *overrides]
        return from_omegaconf(compose_config(words))

    def compare(self, table: str, contestants: dict[str, Contestant], *, count_launches: bool = False) -> list[Row]:
        """Times contestants; see `timing.compare`."""
        seconds = self.seconds
        return compare(table, contestants, rounds=self.rounds, seconds=seconds, count_launches=count_launches)


def random_images(count: int) -> ImageSet:
    """Uniform uint8 images (count, 3, 32, 32)."""
    images = torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    return ImageSet("random images", images, torch.zeros(count, dtype=torch.long), ("none",))


def loops(bench: Bench) -> Iterator[Row]:
    """One iteration of each loop; images are on the device and nothing is written."""
    for setting in bench.settings:
        yield from bench.compare(
            f"training loop: {setting.title}",
            {name: _peer(bench, setting, name) for name in setting.peers}
            | {
                name: _ours(bench, setting, name)
                for name in setting.variants
                if not (bench.small and "compiled" in name)
            },
            count_launches=True,
        )


def end_to_end(bench: Bench) -> Iterator[Row]:
    """The same fed as shipped: the peer by a DataLoader, printing its losses; ours from images on the device."""
    for setting in bench.settings:
        if setting.workers:
            peer, ours = setting.peers[0], setting.variants[0]
            yield from bench.compare(
                f"end to end: {setting.title}",
                {peer: _peer(bench, setting, peer, fed=True), ours: _ours(bench, setting, ours)},
            )


def data(bench: Bench) -> Iterator[Row]:
    """Only batches: decoded and transformed by a DataLoader in this process, and gathered on the device."""
    images, batch_size = random_images(bench.images).images, min(64, bench.images)
    batches = _batches(images, batch_size, workers=0)
    sampler = BatchSampler(
        images.to(bench.device), batch_size=batch_size, image_range=(-1.0, 1.0), flip=True, seed=0, device=bench.device
    )
    yield from bench.compare(
        "batches of images",
        {
            "DataLoader, PIL": Contestant(lambda stack: lambda: next(batches).to(bench.device), batch_size),
            "gantrain, on the device": Contestant(lambda stack: sampler.next, batch_size),
        },
    )


def overhead(bench: Bench) -> Iterator[Row]:
    """A run that logs and diagnoses at its default intervals, and one that does neither."""
    setting = bench.settings[0]
    every = min(LOG_EVERY, bench.overhead_steps)
    images = bench.overhead_steps * bench.config(setting).schedule.batch_size
    without = (f"log.every_steps={NEVER}", "log.diagnostics_every_steps=0")
    yield from dataclasses.replace(bench, seconds=0).compare(
        f"logging and diagnostics, {bench.overhead_steps} steps: {setting.title}",
        {
            "without": Contestant(partial(_run, bench, setting, without), images),
            "with": Contestant(partial(_run, bench, setting, (f"log.every_steps={every}",)), images),
        },
    )


def _ours(bench: Bench, setting: Setting, name: str) -> Contestant:
    """A variant of ours without a run folder."""
    config = bench.config(setting)

    def start(stack: ExitStack) -> Work:
        config = bench.config(setting, *VARIANTS[name], *QUIET, f"log.every_steps={LOG_EVERY}")
        step = build_trainer(config, random_images(bench.images), [], bench.device).train_step

        def iteration() -> None:
            if step.buffer.count == LOG_EVERY:
                step.buffer.clear()
            step.run()

        return iteration

    return Contestant(start, config.schedule.batch_size * setting.d_steps)


def _peer(bench: Bench, setting: Setting, name: str, *, fed: bool = False) -> Contestant:
    """A peer's loop; `fed` gives it a DataLoader and has it print, else batches on the device."""
    config = bench.config(setting)
    loop, note = PEERS[name]

    def start(stack: ExitStack) -> Work:
        torch.manual_seed(config.seed)
        networks = build_networks(config, 0)
        for network in (networks.generator, networks.discriminator):
            network.to(bench.device).train()
        optimizer, batch_size = config.optimizer, config.schedule.batch_size
        writer = SummaryWriter(stack.enter_context(tempfile.TemporaryDirectory()))
        stack.callback(writer.close)
        images = random_images(bench.images).images
        if fed:
            batches = _batches(images, batch_size, workers=setting.workers)
            stack.callback(batches.close)  # type: ignore[attr-defined]  # ends the workers
            out = stack.enter_context(open(os.devnull, "w"))  # noqa: SIM115  # the stack closes it
            real: Callable[[], Tensor] = lambda: next(batches).to(bench.device)  # noqa: E731
        else:
            batch, out = images[:batch_size].to(bench.device) / 127.5 - 1, None
            real = lambda: batch  # noqa: E731
        return loop(
            Parts(
                networks=networks,
                objective=config.loss.make(),
                optimizer_d=plain_adam(networks.discriminator, optimizer.lr_d, (optimizer.beta1_d, optimizer.beta2_d)),
                optimizer_g=plain_adam(networks.generator, optimizer.lr_g, (optimizer.beta1_g, optimizer.beta2_g)),
                real=real,
                batch_size=batch_size,
                d_steps=setting.d_steps,
                device=bench.device,
                scalar=writer.add_scalar,
                out=out,
            )
        )

    note = f"{note}{', ' * bool(note)}{setting.workers} DataLoader workers" if fed else note
    return Contestant(start, config.schedule.batch_size * setting.d_steps, note)


class PilImages(Dataset[tuple[Tensor, int]]):
    """Images through PIL one at a time, as torchvision's CIFAR10 returns them, transformed as in the originals."""

    def __init__(self, images: Tensor) -> None:
        """Takes uint8 images (N, 3, H, W)."""
        self.pixels = images.permute(0, 2, 3, 1).contiguous().numpy()
        self.transform = transforms.Compose(
            [transforms.RandomHorizontalFlip(), transforms.ToTensor(), transforms.Normalize((0.5,) * 3, (0.5,) * 3)]
        )

    def __len__(self) -> int:
        """Number of images."""
        return len(self.pixels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """An image (3, H, W) in [-1, 1] and an unused label."""
        image: Tensor = self.transform(Image.fromarray(self.pixels[index]))
        return image, 0


def _batches(images: Tensor, batch_size: int, *, workers: int) -> Iterator[Tensor]:
    """Batches epoch after epoch; every epoch starts its workers, as in the originals."""
    loader: DataLoader[Any] = DataLoader(
        PilImages(images), batch_size=batch_size, shuffle=True, num_workers=workers, drop_last=True
    )
    while True:
        for batch, _ in loader:
            yield batch


def _run(bench: Bench, setting: Setting, overrides: Sequence[str], stack: ExitStack) -> Work:
    """A run in a folder that trains a number of steps further with each call."""
    steps = bench.overhead_steps
    quiet = ["metrics=none", f"log.grids_every_steps={NEVER}", f"log.checkpoint_every_steps={NEVER}"]
    # the digits need no download, and have the held-out images that the diagnostics read
    config = bench.config(setting, "data=digits", *quiet, "log.grid_images=4", f"schedule.steps={steps}", *overrides)
    trainer = build_trainer(config, load_data(config, "train"), [], bench.device)
    folder = RunFolder(
        Path(stack.enter_context(tempfile.TemporaryDirectory())) / "run", trainer.config, bench.device.type
    )
    stack.callback(folder.close)

    def train() -> None:
        trainer.plan = dataclasses.replace(trainer.plan, steps=trainer.step + steps)
        with contextlib.redirect_stderr(io.StringIO()):
            trainer.fit(folder)

    return train
