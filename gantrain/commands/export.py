"""`python -m gantrain export run=RUN`: writes the generator, its configuration and a model card into a folder."""

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from gantrain.atomic_io import create_atomically
from gantrain.commands.model_card import metadata_of, model_card
from gantrain.commands.onnx_file import check_onnx, write_onnx
from gantrain.commands.trained import TrainedRun, check_images, load_run
from gantrain.config import ConfigError, option, to_dict

FORMATS = {"safetensors": ("safetensors",), "onnx": ("onnx", "onnxscript", "onnxruntime")}
"""Required packages, by format."""


@dataclass(slots=True, kw_only=True)
class Options:
    """Write a trained generator as safetensors and as ONNX, with its configuration and a model card."""

    run: str = option(..., "the run's folder, e.g. outputs/DATE/TIME-NAME")
    out: str | None = option(None, "a new folder; null is a new name in the run's folder")
    network: str = option("ema", "generator: ema or raw")
    checkpoint: str = option("last", "last or best")
    formats: list[str] = option(list(FORMATS), "safetensors, onnx or both")

    def __post_init__(self) -> None:
        """Checks the names."""
        if not self.formats:
            raise ConfigError(f"formats is empty; choose from [{', '.join(FORMATS)}]")
        for name in self.formats:
            if name not in FORMATS:
                raise ConfigError(f"formats={name!r} is not known; choose from [{', '.join(FORMATS)}]")
        if len(set(self.formats)) < len(self.formats):
            raise ConfigError(f"formats={','.join(self.formats)} names one twice")


def run(options: Options) -> None:
    """Writes the folder and prints its path.

    Raises:
        ConfigError: a missing network or package, an existing folder, or ONNX images that differ from PyTorch's.
        CheckpointError: no usable checkpoint.
    """
    check_packages(options.formats)
    trained = load_run(Path(options.run), checkpoint=options.checkpoint, network=options.network)
    check_images(trained, "export", "sample run=... out=points.npz writes them")
    name = f"export-{options.network}-step{trained.step}"
    path = Path(options.out) if options.out else trained.folder / name
    if path.exists():
        raise ConfigError(f"out={str(path)!r} exists, and nothing is overwritten; give another")
    if not path.absolute().parent.is_dir():
        raise ConfigError(f"out={str(path)!r}: the folder {str(path.parent)!r} does not exist; make it first")
    with create_atomically(path) as folder:
        folder.mkdir()
        difference = None
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


def check_packages(formats: list[str]) -> None:
    """Checks that the packages of these formats are installed.

    Raises:
        ConfigError: one is missing.
    """
    for name in formats:
        for package in FORMATS[name]:
            try:
                importlib.import_module(package)
            except ModuleNotFoundError:
                raise ConfigError(
                    f"formats={name} needs {package}, which is not installed: pip install 'gantrain[export]'"
                ) from None


def write_safetensors(trained: TrainedRun, path: Path) -> None:
    """Writes the generator's state_dict, with `metadata_of` the run."""
    from safetensors.torch import save

    state = {name: tensor.contiguous() for name, tensor in trained.networks.generator.state_dict().items()}
    path.write_bytes(save(state, metadata={"format": "pt", **metadata_of(trained)}))


def public_config(trained: TrainedRun) -> dict[str, Any]:
    """The run's configuration without paths of the machine that it was trained on."""
    tree = to_dict(trained.config)
    tree["resume"] = None
    for section, key in (("data", "root"), ("metrics", "inception_weights")):
        if tree[section][key] is not None:
            tree[section][key] = Path(tree[section][key]).name
    return tree
