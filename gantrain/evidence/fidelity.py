"""FID, KID and Inception Score, all by torch-fidelity (its only import), and class coverage by the same features."""

import hashlib
import sys
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_isc import KEY_METRIC_ISC_MEAN, KEY_METRIC_ISC_STD, isc_features_to_metric
from torch_fidelity.metric_kid import KEY_METRIC_KID_MEAN, KEY_METRIC_KID_STD, kid_features_to_metric
from torch_fidelity.utils import create_feature_extractor
from tqdm import tqdm

from gantrain.evidence.classes import FeatureClassifier
from gantrain.evidence.inception import InceptionWeights, WeightsError
from gantrain.evidence.measurement import Measurement
from gantrain.files import UnreadableFileError, cache_folder, load_safely, save_atomically

EXTRACTOR = "inception-v3-compat"
FEATURES, LOGITS = "2048", "logits_unbiased"
KID_SUBSETS, KID_SUBSET_SIZE = 100, 1000
NAMES = ("fid", "kid", "inception_score", "classes")


class InceptionMetric:
    """FID, KID and Inception Score of generated images against a reference set."""

    def __init__(
        self,
        names: tuple[str, ...],
        weights: InceptionWeights,
        *,
        reference: Tensor,
        reference_labels: Tensor,
        reference_name: str,
        batch_size: int,
        device: torch.device,
    ) -> None:
        """Prepares the reference's features, from the cache if they are there.

        Args:
            names: which of NAMES.
            weights: the Inception's.
            reference: uint8 real images (N, 3, H, W).
            reference_labels: their classes (N,), read by `classes`.
            reference_name: data set and split, for the protocol.
            batch_size: images a forward pass.
            device: where the Inception runs.

        Raises:
            WeightsError: inception_score is asked for and the weights hold no classifier.
        """
        check_classifier(names, weights)
        self.names = names
        self.device = device
        self.batch_size = batch_size
        self._weights = weights
        layers = [FEATURES, LOGITS] if "inception_score" in names else [FEATURES]
        self._extractor = create_feature_extractor(
            EXTRACTOR,
            layers,
            cuda=device.type == "cuda",
            feature_extractor_weights_path=str(weights.path),
            verbose=False,
        ).to(device)
        self._protocol: dict[str, Any] = {
            "reference": reference_name,
            "reference_samples": len(reference),
            "weights": weights.digest,
            "weights_origin": weights.origin,
            "precision": "tf32" if device.type == "cuda" and torch.backends.cudnn.allow_tf32 else "float32",
        }
        self._reference: dict[str, Any] = {}
        if {"fid", "kid", "classes"} & set(names):
            self._reference = self._reference_features(reference, reference_name)

        self._classes = None
        if "classes" in names:
            self._classes = FeatureClassifier(self._reference["features"], reference_labels)

    @property
    def headline(self) -> tuple[str, bool]:
        """The figure that decides which checkpoint is best, and whether lower is better."""
        name = next(name for name in NAMES if name in self.names)
        return ("classes_kl" if name == "classes" else name), name != "inception_score"

    def measure(self, images: Tensor, labels: Tensor | None) -> list[Measurement]:
        """The figures of uint8 images (N, 3, H, W); `classes` also reads the labels (N,) that they were asked for."""
        features = self.features(images)
        subset = min(KID_SUBSET_SIZE, len(images), self._protocol["reference_samples"])
        protocol = {**self._protocol, "samples": len(images)}
        found = []
        if "fid" in self.names:
            statistics = fid_features_to_statistics(features[FEATURES])
            fid = fid_statistics_to_metric(statistics, self._reference["statistics"], False)[KEY_METRIC_FID]
            found.append(Measurement("fid", fid, protocol))
        if "kid" in self.names:
            kid = kid_features_to_metric(
                features[FEATURES],
                self._reference["features"],
                kid_subsets=KID_SUBSETS,
                kid_subset_size=subset,
                verbose=False,
            )
            protocol_kid = {**protocol, "kid_subsets": KID_SUBSETS, "kid_subset_size": subset}
            protocol_kid["kid_std"] = kid[KEY_METRIC_KID_STD]
            found.append(Measurement("kid", kid[KEY_METRIC_KID_MEAN], protocol_kid))
        if "inception_score" in self.names:
            score = isc_features_to_metric(features[LOGITS])
            protocol_isc = {key: protocol[key] for key in ("samples", "weights", "weights_origin")}
            protocol_isc["inception_score_std"] = score[KEY_METRIC_ISC_STD]
            found.append(Measurement("inception_score", score[KEY_METRIC_ISC_MEAN], protocol_isc))
        if self._classes is not None:
            protocol_classes = {**protocol, "classifier": "ridge", "held_out_accuracy": self._classes.accuracy}
            figures = self._classes.figures(features[FEATURES], labels)
            found += [Measurement(name, value, protocol_classes) for name, value in figures.items()]
        return found

    @torch.no_grad()
    def features(self, images: Tensor) -> dict[str, Tensor]:
        """The Inception's layers on uint8 images, on the CPU, by torch-fidelity's name."""
        batches = []
        bar = tqdm(
            images.split(self.batch_size), desc="Inception", unit="batch", leave=False, disable=None, file=sys.stderr
        )
        for batch in bar:
            found = self._extractor(batch.to(self.device))
            batches.append([layer.cpu() for layer in found])
        return {
            name: torch.cat([batch[k] for batch in batches]) for k, name in enumerate(self._extractor.features_list)
        }

    def _reference_features(self, reference: Tensor, name: str) -> dict[str, Any]:
        pixels = hashlib.sha1(reference.cpu().contiguous().numpy().tobytes()).hexdigest()[:12]
        entry = ("reference", name, str(len(reference)), pixels, self._weights.digest, self._protocol["precision"])
        path = cache_folder() / f"{'-'.join(entry)}.pt"
        features = _read_features(path, len(reference))
        if features is None:
            print(f"features of {len(reference):,} real images of {name}, once; kept in {path}", file=sys.stderr)
            features = self.features(reference)[FEATURES]
            save_atomically({"features": features}, path)
        statistics = fid_features_to_statistics(features) if "fid" in self.names else None
        return {"features": features, "statistics": statistics}


def check_classifier(names: tuple[str, ...], weights: InceptionWeights) -> None:
    """Refuses an Inception Score from weights that end at the features."""
    if "inception_score" in names and not weights.has_classifier:
        raise WeightsError(
            f"metrics.names asks for inception_score, and the weights of {weights.origin} hold no classifier: point "
            "metrics.inception_weights at torch-fidelity's own .pth, or take inception_score out of metrics.names"
        )


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
