"""`gantrain export run=RUN`: writes the generator, its configuration and a model card into a folder."""

import importlib
import logging
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from gantrain.commands.model_card import metadata_of, model_card
from gantrain.commands.trained import TrainedRun, check_images, check_new, load_run
from gantrain.config import ConfigError, option, to_dict
from gantrain.networks import NetworkPair, sample_latent
from gantrain.options import require
from gantrain.system.atomic_io import create_atomically

FORMATS = {"safetensors": ("safetensors",), "onnx": ("onnx", "onnxscript", "onnxruntime")}
"""Required packages, by format."""
BATCH_SIZES = (1, 2, 7, 32)
"""Sizes with which the ONNX file is compared with PyTorch."""
TOLERANCE = 1e-4
"""Largest accepted difference of a pixel; an 8-bit level is 1/255 or 2/255."""


@dataclass(slots=True, kw_only=True)
class Options:
    """Write a trained generator as safetensors and as ONNX, with its configuration and a model card."""

    run: str = option(..., "the run's folder, e.g. outputs/DATE/TIME-NAME")
    out: str | None = option(None, "a new folder; null: a new name in the run's folder")
    network: str = option("ema", "generator: ema or raw")
    checkpoint: str = option("last", "last or best")
    formats: list[str] = option(list(FORMATS), "safetensors, onnx or both")

    def __post_init__(self) -> None:
        """Checks the formats."""
        ok = bool(self.formats) and set(self.formats) <= set(FORMATS)
        require(ok, "formats", ",".join(self.formats), f"must be one or both of [{', '.join(FORMATS)}]")


def run(options: Options) -> None:
    """Writes the folder and prints its path.

    Raises:
        ConfigError: a missing network or package, an existing folder, or ONNX images that differ from PyTorch's.
        CheckpointError: no usable checkpoint.
    """
    _check_packages(options.formats)
    trained = load_run(Path(options.run), checkpoint=options.checkpoint, network=options.network)
    check_images(trained, "export", "sample run=... out=points.npz writes them")
    default = trained.folder / f"export-{options.network}-step{trained.step}"
    path = Path(options.out) if options.out else default
    check_new(path)
    difference = None
    with create_atomically(path) as folder:
        folder.mkdir()
        if "safetensors" in options.formats:
            write_safetensors(trained, folder / "generator.safetensors")
        if "onnx" in options.formats:
            write_onnx(trained.networks, folder / "generator.onnx", metadata_of(trained))
            difference = check_onnx(trained.networks, folder / "generator.onnx")
        tree = yaml.safe_dump(public_config(trained), sort_keys=False, allow_unicode=True)
        (folder / "config.yaml").write_text(tree, encoding="utf-8")
        (folder / "README.md").write_text(model_card(trained, options.formats, difference), encoding="utf-8")
    if difference is not None:
        print(f"ONNX Runtime's images differ from PyTorch's by at most {difference:.2g}")
    print(path)


def write_safetensors(trained: TrainedRun, path: Path) -> None:
    """Writes the generator's state_dict, with `metadata_of` the run."""
    from safetensors.torch import save

    state = {name: tensor.contiguous() for name, tensor in trained.networks.generator.state_dict().items()}
    path.write_bytes(save(state, metadata={"format": "pt", **metadata_of(trained)}))


@torch.no_grad()
def write_onnx(networks: NetworkPair, path: Path, metadata: dict[str, str]) -> None:
    """Writes the generator: inputs z (batch, latent_dim) and, with classes, int64 labels (batch,); output images."""
    inputs = _inputs(networks, 3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)  # the exporter's; `check_onnx` checks its output
        try:
            program = torch.onnx.export(
                networks.generator.eval(),
                tuple(inputs.values()),
                dynamo=True,
                input_names=list(inputs),
                output_names=["images"],
                dynamic_shapes=tuple({0: "batch"} for _ in inputs),
                verbose=False,
            )
        finally:
            logging.disable(logging.NOTSET)
    assert program is not None, "dynamo=True returns a program"
    for node in program.model.graph:
        node.metadata_props.clear()  # stack traces with paths of this machine
    program.model.metadata_props.update(metadata)
    program.save(str(path))


@torch.no_grad()
def check_onnx(networks: NetworkPair, path: Path) -> float:
    """The largest difference between pixels from ONNX Runtime and from PyTorch, over batches of several sizes.

    Raises:
        ConfigError: the difference exceeds `TOLERANCE`.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    worst = 0.0
    for size in BATCH_SIZES:
        inputs = _inputs(networks, size)
        (found,) = session.run(["images"], {name: value.numpy() for name, value in inputs.items()})
        wanted = networks.generator.eval()(*inputs.values())
        worst = max(worst, float((torch.from_numpy(found) - wanted).abs().max()))
    if not worst <= TOLERANCE:
        raise ConfigError(
            f"ONNX Runtime's images differ from PyTorch's by {worst:.2g}, more than {TOLERANCE:g}: nothing was "
            "written; formats=safetensors leaves ONNX out"
        )
    return worst


def public_config(trained: TrainedRun) -> dict[str, Any]:
    """The run's configuration without paths of the machine that it was trained on."""
    tree = to_dict(trained.config)
    tree["resume"] = None
    for section, key in (("data", "root"), ("metrics", "inception_weights")):
        if tree[section][key] is not None:
            tree[section][key] = Path(tree[section][key]).name
    return tree


def _check_packages(formats: list[str]) -> None:
    for name in formats:
        for package in FORMATS[name]:
            try:
                importlib.import_module(package)
            except ModuleNotFoundError:
                raise ConfigError(
                    f"formats={name} needs {package}, which is not installed: pip install 'gantrain[export]'"
                ) from None


def _inputs(networks: NetworkPair, size: int) -> dict[str, Tensor]:
    """Random inputs of the generator, by name."""
    source = torch.Generator().manual_seed(size)
    inputs = {"z": sample_latent(networks.prior, (size, networks.latent_dim), source)}
    if networks.classes:
        inputs["labels"] = torch.randint(networks.classes, (size,), generator=source)
    return inputs
