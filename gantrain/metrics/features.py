"""Inception features of images, kept while the images exist; features of real images are cached on disk."""

import contextlib
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary
from tqdm import tqdm

from gantrain.metrics.fid import Reference, moments_of, reference_of
from gantrain.metrics.folded_inception import FEATURES, LOGITS, FoldedInception
from gantrain.metrics.inception import InceptionWeights
from gantrain.metrics.replay import GraphedForward
from gantrain.metrics.sampling import default_batch_size
from gantrain.system.cache import cached_path, load_cached, save_cached, tensor_digest
from gantrain.system.distributed import SINGLE_PROCESS, Processes

log = logging.getLogger(__name__)


class InceptionFeatures:
    """The Inception on a device, with the features of all images that are still referenced.

    Attributes:
        device: device of the network and the features.
        protocol: everything that features depend on besides the images.
    """

    def __init__(
        self,
        weights: InceptionWeights,
        *,
        batch_size: int | None = None,
        device: torch.device,
        logits: bool = False,
        precision: str = "auto",
        processes: Processes = SINGLE_PROCESS,
    ) -> None:
        """Loads the network.

        Args:
            weights: its weights.
            batch_size: images per forward pass; None for the device's default.
            device: device of the network.
            logits: whether to compute the classifier's logits too.
            precision: of its convolutions: `auto` is TF32 on CUDA if cuDNN may use it, else float32; `float32`; or
                `bf16`, the fastest, for watching a run.
            processes: processes that compute features of the same images together, a part each.
        """
        self._processes = processes
        self.device = device
        self._weights = weights
        self._batch_size = batch_size or default_batch_size(device)
        cuda = device.type == "cuda"
        tf32 = precision == "auto" and torch.backends.cudnn.allow_tf32
        self._tf32 = tf32 if cuda and precision != "bf16" else None
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        network = FoldedInception(weights.path, logits=logits, dtype=dtype).to(device)
        if cuda:
            with torch.no_grad(), _cudnn_tf32(self._tf32):
                network.fuse()
        self._forward = GraphedForward(network, batch_size=self._batch_size, device=device)
        self._layers: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
        self._references: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
        self._digests: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
        self.protocol: dict[str, Any] = {
            "features": "Inception",
            "weights": weights.digest,
            "weights_origin": weights.origin,
            "precision": "bf16" if precision == "bf16" else "tf32" if self._tf32 else "float32",
        }

    def features(self, images: Tensor) -> Tensor:
        """Features (N, 2048) of uint8 images (N, 3, H, W), which may be on the device or on the CPU."""
        return self.layers(images)[FEATURES]

    def logits(self, images: Tensor) -> Tensor:
        """Logits without bias (N, 1008) of uint8 images (N, 3, H, W); only if built with `logits`."""
        return self.layers(images)[LOGITS]

    def layers(self, images: Tensor) -> dict[str, Tensor]:
        """All outputs by torch-fidelity's names, computed once for each tensor of images."""
        layers: dict[str, Tensor] | None = self._layers.get(images)
        if layers is None:
            own = self._compute(images[self._processes.local_slice(len(images))])
            layers = {name: self._processes.gather_slices(part, len(images)) for name, part in own.items()}
            self._layers[images] = layers
        return layers

    def of_reference(self, images: Tensor, name: str) -> Tensor:
        """Features (N, 2048) of real images, cached on disk under the name of their data set."""
        features: Tensor | None = self._references.get(images)
        if features is None:
            path = self._cache_path("reference", images, name)
            (features,) = self._read(path, "features") or (None,)
            if features is None:
                log.info("computing features of %s images of %s, once; cached in %s", f"{len(images):,}", name, path)
                # each process computes all features, since others may have found them in their caches
                features = (self._layers.get(images) or self._compute(images))[FEATURES]
                save_cached({"features": features.cpu()}, path)
            self._references[images] = features
        return features

    def statistics_of_reference(self, images: Tensor, name: str) -> Reference:
        """FID's statistics of real images, cached on disk; features are computed only if needed."""
        path = self._cache_path("statistics", images, name)
        cached = self._read(path, "mean", "root")
        if cached is not None:
            return Reference(*cached)
        reference = reference_of(moments_of(self.of_reference(images, name)))
        save_cached({"mean": reference.mean.cpu(), "root": reference.root.cpu()}, path)
        return reference

    @torch.no_grad()
    def _compute(self, images: Tensor) -> dict[str, Tensor]:
        layers: dict[str, Tensor] = {}
        batches = images.split(self._batch_size)
        start = 0
        with _cudnn_tf32(self._tf32):
            for batch in tqdm(batches, "Inception", unit="batch", leave=False, disable=None, file=sys.stderr):
                stop = start + len(batch)
                for name, layer in self._forward(batch).items():
                    if name not in layers:
                        layers[name] = layer.new_empty(len(images), layer.shape[1])
                    layers[name][start:stop] = layer
                start = stop
        return layers

    def _cache_path(self, what: str, images: Tensor, name: str) -> Path:
        digest: str | None = self._digests.get(images)
        if digest is None:
            digest = self._digests[images] = tensor_digest(images)
        return cached_path(what, name, str(len(images)), digest, self._weights.digest, self.protocol["precision"])

    def _read(self, path: Path, *names: str) -> tuple[Tensor, ...] | None:
        """Cached tensors of these names, on the device; None if they are missing or damaged."""
        return load_cached(path, lambda entry: tuple(entry[name].to(self.device) for name in names))


@contextlib.contextmanager
def _cudnn_tf32(allowed: bool | None) -> Iterator[None]:
    """Sets whether cuDNN may use TF32, and restores it afterwards; None leaves it unchanged."""
    before = torch.backends.cudnn.allow_tf32
    if allowed is not None:
        torch.backends.cudnn.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before
