"""Run folders for tests, made in this process by a few steps on gray images."""

from pathlib import Path

import torch
from torch import nn

from gantrain import builders
from gantrain.data import ImageSet
from gantrain.networks.layers import CONVOLUTIONS
from gantrain.training.checkpoint import LAST, save_checkpoint
from tests.conftest import TINY, compose

CLASSES = ("ant", "bee", "cow", "007")


def save_run(folder: Path, *overrides: str) -> Path:
    """A run of two steps whose images and logits differ from each other; its folder contains last.pt only."""
    labels = torch.arange(60) % len(CLASSES)
    pixels = (labels * 60).view(-1, 1, 1, 1).expand(-1, 3, 32, 32).to(torch.uint8).contiguous()
    words = [word for word in TINY if not word.startswith("metrics")]
    config = compose(*words, "metrics=none", "log.every_steps=2", "model.d_norm=none", *overrides)
    trainer = builders.build_trainer(config, ImageSet("shades", pixels, labels, CLASSES), [], torch.device("cpu"))
    torch.manual_seed(0)
    for network in (
        trainer.sampling_network("ema"),
        trainer.sampling_network("raw"),
        trainer.train_step.networks.discriminator,
    ):
        strengthen(network)
    for _ in range(2):
        trainer.train_step.run()
    trainer.metric_values = {"modes_ema": 12.0, "modes_kl_ema": 3.25}
    folder.mkdir(parents=True)
    save_checkpoint(trainer.state_dict(), folder / LAST)
    return folder


def strengthen(network: nn.Module) -> None:
    """Enlarges the weights: the initial ones give gray images and logits of 0."""
    for layer in network.modules():
        if isinstance(layer, CONVOLUTIONS):
            nn.init.kaiming_normal_(layer.weight)
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = 1.0  # so that eval mode normalizes, too
