"""Features of images by the FID Inception; each set of images passes through it once, and they stay on its device."""

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary
from tqdm import tqdm

from gantrain.cache import cached_path, load_cached, save_cached, tensor_digest
from gantrain.distributed import SINGLE_PROCESS, Processes
from gantrain.metrics.fid import Reference, moments_of, reference_of
from gantrain.metrics.folded_inception import FEATURES, FoldedInception
from gantrain.metrics.inception import InceptionWeights
from gantrain.metrics.metric import usual_batch_size
from gantrain.metrics.replay import Replayed


class InceptionFeatures:
    """The Inception on a device, with the features of the images that still exist."""

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
            batch_size: images a forward pass; None for what suits the device.
            device: where it runs, and where its features stay.
            logits: whether the classifier's logits are wanted besides the features.
            precision: of its convolutions: `auto` is TF32 on CUDA where cuDNN may take it, and else float32;
                `float32` everywhere; `bf16` for watching a run, at the least cost.
            processes: those that measure the same images at the same time, each a part of them.
        """
        self._processes = processes
        self.device = device
        self._weights = weights
        self._batch_size = batch_size or usual_batch_size(device)
        cuda = device.type == "cuda"
        asked = precision == "auto" and torch.backends.cudnn.allow_tf32
        self._tf32 = asked if cuda and precision != "bf16" else None
        dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        network = FoldedInception(weights.path, logits=logits, dtype=dtype).to(device)
        if cuda:
            with torch.no_grad(), _convolutions_in_tf32(self._tf32):
                network.fuse()
        self._forward = Replayed(network, batch_size=self._batch_size, device=device)
        self._known: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
        self._references: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
        self._digests: WeakTensorKeyDictionary = WeakTensorKeyDictionary()
        self.protocol: dict[str, Any] = {
            "features": "Inception",
            "weights": weights.digest,
            "weights_origin": weights.origin,
            "precision": "bf16" if precision == "bf16" else "tf32" if self._tf32 else "float32",
        }

    def of(self, images: Tensor) -> dict[str, Tensor]:
        """The layers on uint8 images (N, 3, H, W) by torch-fidelity's names, on the device; kept as long as the images.

        `2048` is (N, 2048), `logits_unbiased` (N, 1008). The images may lie on the device or on the CPU.
        """
        known: dict[str, Tensor] | None = self._known.get(images)
        if known is None:
            own = self._computed(images[self._processes.local_slice(len(images))])
            known = {name: self._processes.gather_slices(part, len(images)) for name, part in own.items()}
            self._known[images] = known
        return known

    @torch.no_grad()
    def _computed(self, images: Tensor) -> dict[str, Tensor]:
        found: dict[str, Tensor] = {}
        start = 0
        bar = tqdm(
            images.split(self._batch_size), desc="Inception", unit="batch", leave=False, disable=None, file=sys.stderr
        )
        with _convolutions_in_tf32(self._tf32):
            for batch in bar:
                stop = start + len(batch)
                for name, layer in self._forward(batch).items():
                    if name not in found:
                        found[name] = layer.new_empty(len(images), layer.shape[1])
                    found[name][start:stop] = layer
                start = stop
        return found

    def of_reference(self, images: Tensor, name: str) -> Tensor:
        """The features (N, 2048) of a set that is used again and again, from the cache if they are there."""
        features: Tensor | None = self._references.get(images)
        if features is None:
            path = self._cached("reference", images, name)
            (features,) = self._read(path, "features") or (None,)
            if features is None:
                print(f"features of {len(images):,} real images of {name}, once; kept in {path}", file=sys.stderr)
                found = self._known.get(images) or self._computed(images)  # each process all: one may have it cached
                features = found[FEATURES]
                save_cached({"features": features.cpu()}, path)
            self._references[images] = features
        return features

    def statistics_of_reference(self, images: Tensor, name: str) -> Reference:
        """What FID reads of such a set, from the cache if it is there; the features are then not needed."""
        path = self._cached("statistics", images, name)
        known = self._read(path, "mean", "root")
        if known is not None:
            return Reference(*known)
        reference = reference_of(moments_of(self.of_reference(images, name)))
        save_cached({"mean": reference.mean.cpu(), "root": reference.root.cpu()}, path)
        return reference

    def _cached(self, what: str, images: Tensor, name: str) -> Path:
        digest: str | None = self._digests.get(images)
        if digest is None:
            digest = self._digests[images] = tensor_digest(images)
        return cached_path(what, name, str(len(images)), digest, self._weights.digest, self.protocol["precision"])

    def _read(self, path: Path, *names: str) -> tuple[Tensor, ...] | None:
        """Cached tensors of these names, on the device; None if they are not cached or damaged."""
        return load_cached(path, lambda entry: tuple(entry[name].to(self.device) for name in names))


@contextlib.contextmanager
def _convolutions_in_tf32(allowed: bool | None) -> Iterator[None]:
    """Convolutions by cuDNN with or without TF32, as before afterwards; None where there are none in float32.

    The switch is the whole process's, so that it is only touched where it stands otherwise: never for `auto`, which has
    taken it as it stood. The configuration refuses `float32` beside training that has it the other way.
    """
    before = torch.backends.cudnn.allow_tf32
    if allowed is None or allowed == before:
        yield
        return
    torch.backends.cudnn.allow_tf32 = allowed
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before
