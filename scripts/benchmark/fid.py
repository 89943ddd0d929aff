"""FID of the same images by gantrain and by torch-fidelity."""

import importlib.util
import os
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from functools import partial

from torch import Tensor
from torch.utils.data import Dataset
from torch_fidelity import calculate_metrics

from gantrain.metrics.features import InceptionFeatures
from gantrain.metrics.fid import fid as distance
from gantrain.metrics.fid import moments_of, reference_of
from gantrain.metrics.inception import PACKAGE, find_inception_weights
from scripts.benchmark.timing import Contestant, Row, Work
from scripts.benchmark.training import Bench, random_images


class Images(Dataset[Tensor]):
    """uint8 images for torch-fidelity."""

    def __init__(self, images: Tensor) -> None:
        """Takes uint8 images (N, 3, H, W)."""
        self.images = images

    def __len__(self) -> int:
        """Number of images."""
        return len(self.images)

    def __getitem__(self, index: int) -> Tensor:
        """An image (3, H, W)."""
        return self.images[index]


def fid(bench: Bench) -> Iterator[Row]:
    """FID of two sets of random images: loading the network, features of both, statistics and distance."""
    table = f"FID of {bench.fid_images:,} images against as many"
    if not os.environ.get("GANTRAIN_INCEPTION") and importlib.util.find_spec(PACKAGE) is None:
        yield Row(table, "gantrain", note="not measured: no Inception weights here (make weights)")
        return
    samples, reference = random_images(2 * bench.fid_images).images.chunk(2)
    weights = find_inception_weights(None)
    values: dict[str, float] = {}

    def theirs() -> None:
        values["torch-fidelity"] = calculate_metrics(
            input1=Images(samples),
            input2=Images(reference),
            fid=True,
            cuda=bench.device.type == "cuda",
            feature_extractor="inception-v3-compat",
            feature_extractor_weights_path=str(weights.path),
            cache=False,
            verbose=False,
        )["frechet_inception_distance"]

    def ours(precision: str) -> None:
        inception = InceptionFeatures(weights, device=bench.device, precision=precision)
        known = reference_of(moments_of(inception.features(reference)))
        values[f"gantrain, {precision}"] = distance(inception.features(samples), known)

    works: dict[str, Work] = {
        "torch-fidelity": theirs,
        **{f"gantrain, {name}": partial(ours, name) for name in ("float32", "bf16")},
    }
    contestants = {name: Contestant(partial(_start, work), len(samples)) for name, work in works.items()}
    for row in replace(bench, rounds=min(bench.rounds, 2)).compare(table, contestants):
        yield replace(row, note=f"FID {values[row.name]:.5f}") if row.name in values else row


def _start(work: Work, stack: ExitStack) -> Work:
    return work
