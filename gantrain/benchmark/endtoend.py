"""With the way that images take: peers fed by a DataLoader as they are shipped, ours resident; and loaders alone."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torchvision import transforms

from gantrain.benchmark.building import SEED, make_config, make_peer, random_images, silence
from gantrain.benchmark.cells import FED, Contest
from gantrain.benchmark.contest import Contestant, hold
from gantrain.benchmark.loops import floor_flops, images_of, ours
from gantrain.benchmark.peers import PEERS
from gantrain.benchmark.rows import Row
from gantrain.benchmark.session import Session
from gantrain.data import BatchSampler

BLOCK = "endtoend"
LOADER = "loader"
CIFAR_SIZE = 32
"""Pixels of the images in a peer's set; networks of 64 have theirs enlarged, as the original does."""


class PilImages(Dataset[tuple[Tensor, int]]):
    """An image a time through PIL, as torchvision's CIFAR10 gives them."""

    def __init__(self, images: Tensor, size: int, *, flip: bool) -> None:
        """Takes uint8 images (N, 3, H, W); they come out as floats (3, size, size) in [-1, 1]."""
        self.pixels = images.permute(0, 2, 3, 1).contiguous().numpy()
        steps: list[Any] = [transforms.Resize(size)] if size != images.shape[-1] else []
        steps += [transforms.RandomHorizontalFlip()] if flip else []
        steps += [transforms.ToTensor(), transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))]
        self.transform = transforms.Compose(steps)

    def __len__(self) -> int:
        """Number of images."""
        return len(self.pixels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """An image and a label that nobody reads."""
        image: Tensor = self.transform(Image.fromarray(self.pixels[index]))
        return image, 0


def make_loader(images: Tensor, size: int, *, batch_size: int, workers: int, flip: bool) -> DataLoader[Any]:
    """The DataLoader of the originals, without the last batch of an epoch that is not full."""
    source = PilImages(images, size, flip=flip)
    return DataLoader(source, batch_size=batch_size, shuffle=True, num_workers=workers, drop_last=True)


def endless(loader: DataLoader[Any]) -> Iterator[Tensor]:
    """Batches of one epoch after the other; each starts its workers anew, as the originals do."""
    while True:
        for images, _ in loader:
            yield images


def run(session: Session) -> None:
    """The loaders alone, then all contests of the session's table."""
    session.attempt(BLOCK, LOADER, 30, partial(_loaders, session))
    for contest in FED[session.scale.cells]:
        session.attempt(BLOCK, contest.name, contest.seconds, partial(_contest, session, contest))


def _contest(session: Session, contest: Contest) -> list[Row]:
    images = images_of(session, contest)
    peers = [
        Contestant(
            name=name,
            start=partial(_fed, session, contest, name),
            images=images,
            note="; ".join(filter(None, (f"{contest.workers} workers", PEERS[name].deviation))),
            counted=False,
        )
        for name in contest.peers
    ]
    flops = floor_flops(session, contest)
    return hold(session, BLOCK, contest.name, [*peers, *ours(session, contest)], against=contest.against, flops=flops)


def _fed(session: Session, contest: Contest, name: str, stack: ExitStack) -> Callable[[], None]:
    """A peer's loop that reads from its loader and prints."""
    config = make_config(session, contest.overrides)
    loader = make_loader(
        random_images(session.scale.images, CIFAR_SIZE).images,
        config.data.image_size,
        batch_size=config.schedule.batch_size,
        workers=contest.workers,
        flip=False,
    )
    batches = endless(loader)
    stack.callback(batches.close)  # type: ignore[attr-defined]  # ends the workers
    real = partial(_on_device, batches, session.device)
    return make_peer(session, name, contest.overrides, stack, real, silence(stack))


def _on_device(batches: Iterator[Tensor], device: torch.device) -> Tensor:
    return next(batches).to(device)


def _loaders(session: Session) -> list[Row]:
    """Images a second of one process: through PIL with a flip, and gathered from the resident set."""
    count, batch_size = session.scale.loader_images, min(64, session.scale.loader_images)
    images = random_images(max(session.scale.images, count), CIFAR_SIZE).images
    loader = make_loader(images[:count], CIFAR_SIZE, batch_size=batch_size, workers=0, flip=True)
    sampler = BatchSampler(
        images.to(session.device), batch_size=batch_size, image_range=(-1.0, 1.0), flip=True, seed=SEED
    )

    def through_pil() -> None:
        for batch, _ in loader:
            batch.to(session.device)

    def resident() -> None:
        for _ in range(count // batch_size):
            sampler.next()

    handled = count // batch_size * batch_size
    contestants = [
        Contestant(name=LOADER, start=lambda stack: through_pil, images=handled, counted=False, note="no workers"),
        Contestant(name="ours, resident", start=lambda stack: resident, images=handled, counted=False),
    ]
    return hold(session, BLOCK, LOADER, contestants, against=LOADER)
