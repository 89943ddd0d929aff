"""Features of images by the FID Inception, through torch-fidelity; each set of images passes through it once."""

import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary
from torch_fidelity.utils import create_feature_extractor
from tqdm import tqdm

from gantrain.evidence.inception import InceptionWeights
from gantrain.files import UnreadableFileError, cache_folder, load_safely, save_atomically, tensor_digest

EXTRACTOR = "inception-v3-compat"
FEATURES, LOGITS = "2048", "logits_unbiased"


class InceptionFeatures:
    """The Inception on a device, with the features of the images that still exist."""

    def __init__(
        self, weights: InceptionWeights, *, batch_size: int, device: torch.device, logits: bool = False
    ) -> None:
        """Loads the network.

        Args:
            weights: its weights.
            batch_size: images a forward pass.
            device: where it runs.
            logits: whether the classifier's logits are wanted besides the features.
        """
        self.device = device
        self._weights = weights
        self._batch_size = batch_size
        self._extractor = create_feature_extractor(
            EXTRACTOR,
            [FEATURES, LOGITS] if logits else [FEATURES],
            cuda=device.type == "cuda",
            feature_extractor_weights_path=str(weights.path),
            verbose=False,
        ).to(device)
        self._known: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
        self._references: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
        self.protocol: dict[str, Any] = {
            "features": "Inception",
            "weights": weights.digest,
            "weights_origin": weights.origin,
            "precision": "tf32" if device.type == "cuda" and torch.backends.cudnn.allow_tf32 else "float32",
        }

    @torch.no_grad()
    def of(self, images: Tensor) -> dict[str, Tensor]:
        """The layers on uint8 images (N, 3, H, W), on the CPU, by torch-fidelity's names; kept as long as the images.

        `2048` is (N, 2048), `logits_unbiased` (N, 1008).
        """
        known: dict[str, Tensor] | None = self._known.get(images)
        if known is None:
            batches = []
            bar = tqdm(
                images.split(self._batch_size),
                desc="Inception",
                unit="batch",
                leave=False,
                disable=None,
                file=sys.stderr,
            )
            for batch in bar:
                found = self._extractor(batch.to(self.device))
                batches.append([layer.cpu() for layer in found])
            names = self._extractor.features_list
            known = {name: torch.cat([batch[k] for batch in batches]) for k, name in enumerate(names)}
            self._known[images] = known
        return known

    def of_reference(self, images: Tensor, name: str) -> Tensor:
        """The features (N, 2048) of a set that is used again and again, from the cache if they are there."""
        features: Tensor | None = self._references.get(images)
        if features is not None:
            return features
        entry = ("reference", name, str(len(images)), tensor_digest(images), self._weights.digest)
        path = cache_folder() / f"{'-'.join((*entry, self.protocol['precision']))}.pt"
        features = _read_features(path, len(images))
        if features is None:
            print(f"features of {len(images):,} real images of {name}, once; kept in {path}", file=sys.stderr)
            features = self.of(images)[FEATURES]
            save_atomically({"features": features}, path)
        self._references[images] = features
        return features


def _read_features(path: Path, count: int) -> Tensor | None:
    """Cached features, or None where there are none or they are damaged (they are then computed anew)."""
    if not path.is_file():
        return None
    try:
        features: object = load_safely(path)["features"]
    except (UnreadableFileError, KeyError, TypeError) as error:
        print(f"the cached {path} is damaged ({error}); computing it anew", file=sys.stderr)
        return None
    if isinstance(features, Tensor) and features.shape == (count, int(FEATURES)) and bool(features.isfinite().all()):
        return features
    print(f"the cached {path} does not hold {count} features; computing it anew", file=sys.stderr)
    return None
