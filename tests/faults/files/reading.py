"""The readers of a run's files, and what they have to do with one that was changed."""

import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor

from gantrain import builders
from gantrain.builders.runs import take_up
from gantrain.commands.trained import load_run
from gantrain.data import ImageSet
from gantrain.errors import BAD_INPUT, describe_error
from gantrain.training.checkpoint import LAST
from tests.commands.saved_runs import CLASSES

LONGEST = 2000

WHAT_TRAINS = ("generator", "discriminator", "ema", "optimizer", "augment", "history")


def images_drawn(run: Path, network: str) -> list[Tensor]:
    """What sample, evaluate and export work with."""
    trained = load_run(run, network=network, checkpoint="last")
    z = torch.randn(4, trained.networks.latent_dim, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(4)
    with torch.no_grad():
        images = trained.networks.generator(z, labels)
        return [images, *trained.networks.discriminator(images, labels)]


def a_step_further(run: Path) -> list[Tensor]:
    """What resume= does before its first row of scalars."""
    config, state = builders.resumed_config(run, {"schedule.steps": 9})
    trainer = builders.build_trainer(config, shades(), [], torch.device("cpu"))
    take_up(trainer, state, run)
    trainer.train_step.run()
    changed = trainer.train_step.tensors()
    return [value.clone() for name, value in changed.items() if name.startswith(WHAT_TRAINS)]


def shades() -> ImageSet:
    labels = torch.arange(60) % len(CLASSES)
    pixels = (labels * 60).view(-1, 1, 1, 1).expand(-1, 3, 32, 32).to(torch.uint8).contiguous()
    return ImageSet("shades", pixels, labels, CLASSES)


READERS: dict[str, Callable[[Path], list[Tensor]]] = {
    "sample": lambda run: images_drawn(run, "ema"),
    "evaluate network=raw": lambda run: images_drawn(run, "raw"),
    "resume": a_step_further,
}


def as_before_or_refused(run: Path, name: str, usual: dict[str, list[Tensor]], *, equal: bool = True) -> str | None:
    """Reads it by one of the readers; the words of the refusal, if it was one. The file stays as it is."""
    before = (run / LAST).read_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            found = READERS[name](run)
        except Exception as error:
            told = describe_error(error)
            if told is None:
                raise
            code, words = told
            assert code == BAD_INPUT
            assert 0 < len(words) <= LONGEST
            refusal = words
        else:
            refusal = None
            if equal:
                assert len(found) == len(usual[name])
                assert all(torch.equal(*pair) for pair in zip(found, usual[name], strict=True))
    assert (run / LAST).read_bytes() == before
    assert sorted(path.name for path in run.iterdir()) == [LAST]
    return refusal
