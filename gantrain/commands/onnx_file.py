"""A generator as ONNX, with any number of samples in a batch, and the proof that it draws the same images."""

import contextlib
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path

import torch
from torch import Tensor

from gantrain.config import ConfigError
from gantrain.networks import NetworkPair, sample_latent

BATCHES = (1, 2, 7, 32)
TOLERANCE = 1e-4
"""Largest difference of an image's value, of a range that is 1 or 2 wide: a hundredth of an 8-bit level."""


def write_onnx(networks: NetworkPair, path: Path, metadata: dict[str, str]) -> None:
    """Inputs z (batch, latent_dim) and, where the generator reads them, labels int64 (batch,); output images."""
    inputs = _inputs(networks, 3)
    with _quiet(), torch.no_grad():
        program = torch.onnx.export(
            networks.generator.eval(),
            tuple(inputs.values()),
            dynamo=True,
            input_names=list(inputs),
            output_names=["images"],
            dynamic_shapes=tuple({0: "batch"} for _ in inputs),
            verbose=False,
        )
        assert program is not None, "dynamo=True returns a program"
        for node in program.model.graph:
            node.metadata_props.clear()  # stack traces, with the paths of this machine
        program.model.metadata_props.update(metadata)
        program.save(str(path))


def check_onnx(networks: NetworkPair, path: Path) -> float:
    """The largest difference between ONNX Runtime's images and PyTorch's over batches of several sizes.

    Raises:
        ConfigError: it is more than `TOLERANCE`.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    worst = 0.0
    for size in BATCHES:
        inputs = _inputs(networks, size)
        with torch.no_grad():
            wanted = networks.generator.eval()(*inputs.values())
        (found,) = session.run(["images"], {name: value.numpy() for name, value in inputs.items()})
        worst = max(worst, float((torch.from_numpy(found) - wanted).abs().max()))
    if not worst <= TOLERANCE:
        raise ConfigError(
            f"ONNX Runtime's images differ from PyTorch's by {worst:.2g}, more than {TOLERANCE:g}: nothing was "
            "written; formats=safetensors leaves ONNX out"
        )
    return worst


def _inputs(networks: NetworkPair, size: int) -> dict[str, Tensor]:
    source = torch.Generator().manual_seed(size)
    inputs = {"z": sample_latent(networks.prior, (size, networks.latent_dim), source)}
    if networks.classes:
        inputs["labels"] = torch.randint(networks.classes, (size,), generator=source)
    return inputs


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what the exporter says of its own workings; what it gives is checked."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            for logger in loggers:
                logger.setLevel(logging.ERROR)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
