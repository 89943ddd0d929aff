"""Exports a generator as ONNX with a dynamic batch size, and compares its images with PyTorch's."""

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
"""Largest accepted difference of a pixel; an 8-bit level is 1/255 or 2/255."""


def write_onnx(networks: NetworkPair, path: Path, metadata: dict[str, str]) -> None:
    """Writes the generator: inputs z (batch, latent_dim) and, with classes, int64 labels (batch,); output images."""
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
            node.metadata_props.clear()  # stack traces with paths of this machine
        program.model.metadata_props.update(metadata)
        program.save(str(path))


def check_onnx(networks: NetworkPair, path: Path) -> float:
    """The largest difference between pixels from ONNX Runtime and from PyTorch, over batches of several sizes.

    Raises:
        ConfigError: the difference exceeds `TOLERANCE`.
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
    """Silences the exporter's warnings and logs; its output is checked by `check_onnx`."""
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
