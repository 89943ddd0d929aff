"""A classifier of a labeled image set, trained once on the set itself and cached."""

import logging
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from tqdm import tqdm

from gantrain.data import ImageSet
from gantrain.system.cache import cached_path, load_cached, save_cached, tensor_digest

log = logging.getLogger(__name__)

RECIPE = "cnn-1"  # part of the cache name: change it with the network or its training
WIDTHS = (64, 128, 256)
EPOCHS, BATCH, LEARNING_RATE = 8, 256, 0.2
MIN_STEPS = 300  # for small sets, whose epochs are shorter
SHIFT = 3  # pixels
SEED = 0
HELD_OUT = 5  # without a test split, every fifth image of a fixed order is held out


@dataclass(frozen=True, slots=True)
class ImageClassifier:
    """A trained classifier with its results on held-out images.

    Attributes:
        network: float images in [-2, 2] -> logits, in eval mode.
        accuracy: on the held-out images.
        held_out: number of held-out images.
        held_out_counts: how many of them are predicted as each class, (classes,).
        digest: of its weights, for protocols: values by different classifiers are not comparable.
        trained_on: data set, split and number of images.
    """

    network: nn.Module
    accuracy: float
    held_out: int
    held_out_counts: Tensor
    digest: str
    trained_on: str

    @torch.no_grad()
    def classes(self, images: Tensor) -> Tensor:
        """Predicted classes (N,), on the CPU, of uint8 images (N, 3, H, W)."""
        device = next(self.network.parameters()).device
        return torch.cat([self.network(_as_input(part.to(device))).argmax(dim=1).cpu() for part in images.split(1000)])


def train_classifier(train: ImageSet, test: ImageSet | None, device: torch.device) -> ImageClassifier:
    """A cached classifier, or one trained now (about three minutes for CIFAR-10 on two cores).

    Args:
        train: labeled images of at least two classes.
        test: the held-out images; None holds out a fifth of `train`.
        device: device for training and use.
    """
    classes, name = len(train.classes), train.name
    if test is None:
        order = torch.randperm(len(train), generator=torch.Generator().manual_seed(SEED))
        held = torch.arange(len(train)) % HELD_OUT == HELD_OUT - 1
        train, test = _part(train, order[~held]), _part(train, order[held])
    digest = tensor_digest(torch.cat((train.images.flatten(), test.images.flatten())))
    labels = tensor_digest(torch.cat((train.labels, test.labels)))
    path = cached_path("classifier", RECIPE, name, str(len(train)), digest, labels)
    network = _network(classes, tuple(train.images.shape[2:]))

    def read(entry: dict[str, Any]) -> dict[str, Any]:
        network.load_state_dict(entry["network"])
        return entry

    state = load_cached(path, read)
    if state is None:
        log.info("training a classifier on the %s images of %s, once; cached in %s", f"{len(train):,}", name, path)
        network = _network(classes, tuple(train.images.shape[2:])).to(device)
        _train(network, train.to(device))
        untested = ImageClassifier(network.eval(), 0.0, 0, torch.empty(0), "", name)
        predicted = untested.classes(test.images)
        state = {
            "network": {key: value.cpu() for key, value in network.state_dict().items()},
            "right": int((predicted == test.labels.cpu()).sum()),
            "counts": torch.bincount(predicted, minlength=classes),
        }
        save_cached(state, path)
    weights = torch.cat([value.flatten().float() for value in state["network"].values()])
    return ImageClassifier(
        network.to(device).eval(),
        state["right"] / len(test),
        len(test),
        state["counts"],
        tensor_digest(weights),
        f"{name} ({len(train):,} images)",
    )


def _network(classes: int, size: tuple[int, ...]) -> nn.Module:
    """Three strided convolutions, global max pooling and a linear layer; seeded, without touching the global seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        layers: list[nn.Module] = []
        channels = 3
        for k, width in enumerate(WIDTHS):
            layers += [nn.Conv2d(channels, width, 3 if k else 4, 2, 1, bias=False), nn.BatchNorm2d(width), nn.ReLU()]
            channels = width
        assert min(size) >= 2 ** len(WIDTHS), "images too small for the strides"
        return nn.Sequential(*layers, _GlobalMaxPool(), nn.Flatten(), nn.Linear(channels, classes))


class _GlobalMaxPool(nn.Module):
    """(N, C, H, W) -> (N, C, 1, 1); unlike AdaptiveMaxPool2d, its gradient is deterministic on CUDA."""

    def forward(self, x: Tensor) -> Tensor:
        return x.amax(dim=(2, 3), keepdim=True)


def _train(network: nn.Module, data: ImageSet) -> None:
    """SGD with Nesterov momentum, a one-cycle learning rate (Smith & Topin 2019) and random shifts."""
    network.train().to(memory_format=torch.channels_last)
    batches = max(EPOCHS * -(-len(data) // BATCH), MIN_STEPS)
    optimizer = torch.optim.SGD(network.parameters(), LEARNING_RATE, momentum=0.9, weight_decay=5e-4, nesterov=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=batches, pct_start=0.25)
    source = torch.Generator().manual_seed(SEED)
    order = _batches(len(data), source)
    for _ in tqdm(range(batches), desc="classifier", unit="batch", leave=False, disable=None, file=sys.stderr):
        chosen = next(order).to(data.images.device)
        images = _shifted(_as_input(data.images[chosen]), source)
        loss = F.cross_entropy(network(images), data.labels[chosen], label_smoothing=0.1)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


def _batches(count: int, source: torch.Generator) -> Iterator[Tensor]:
    while True:
        yield from torch.randperm(count, generator=source).split(BATCH)


def _shifted(images: Tensor, source: torch.Generator) -> Tensor:
    """The batch shifted by up to SHIFT pixels, with reflection padding."""
    down, right = torch.randint(0, 2 * SHIFT + 1, (2,), generator=source).tolist()
    height, width = images.shape[2:]
    padded = F.pad(images, (SHIFT,) * 4, mode="reflect")
    return padded[:, :, down : down + height, right : right + width]


def _as_input(images: Tensor) -> Tensor:
    return ((images.float() - 127.5) / 64).contiguous(memory_format=torch.channels_last)


def _part(images: ImageSet, chosen: Tensor) -> ImageSet:
    return ImageSet(images.name, images.images[chosen], images.labels[chosen], images.classes)
