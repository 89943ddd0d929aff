"""Contexts for metrics in tests: real images, and an Inception that is a fixed random projection of the pixels."""

from typing import Any

import torch
from torch import Tensor

from gantrain.data import ImageSet
from gantrain.metrics.fid import Reference, moments_of, reference_of
from gantrain.metrics.metric import MetricContext, RealImages

CPU = torch.device("cpu")


def noise(count: int, seed: int, size: int = 8) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, size, size), dtype=torch.uint8, generator=generator)


class Projection:
    """A fake `InceptionFeatures`: 16 features and 10 logits."""

    def __init__(self) -> None:
        self.protocol = {"features": "projection", "weights": "0", "weights_origin": "test", "precision": "float32"}

    def features(self, images: Tensor) -> Tensor:
        x = images.flatten(1).float() / 255
        return x @ torch.randn(x.shape[1], 16, generator=torch.Generator().manual_seed(0)) / x.shape[1] ** 0.5

    def logits(self, images: Tensor) -> Tensor:
        return self.features(images)[:, :10] * 5

    def of_reference(self, images: Tensor, name: str) -> Tensor:
        return self.features(images)

    def statistics_of_reference(self, images: Tensor, name: str) -> Reference:
        return reference_of(moments_of(self.features(images)))


def context_of(images: Tensor, name: str = "noise", *, inception: Any = None, bootstrap: int = 0) -> MetricContext:
    """Compares with these images, which are also the training set, of two classes."""
    real = ImageSet(name, images, torch.arange(len(images)) % 2, ("even", "odd"))
    return MetricContext(
        real=RealImages(reference=real, train=real), device=CPU, bootstrap=bootstrap, inception=inception
    )
