"""FID of 50,000 samples: generating, the Inception, statistics; and the same in torch-fidelity's way.

Without the Inception's weights the network has random ones: its time is the same, its distance means nothing.
"""

import contextlib
import importlib.util
import io
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch_fidelity.utils import create_feature_extractor

from gantrain.atomic_io import save_atomically
from gantrain.benchmark.building import SEED, make_config, random_images
from gantrain.benchmark.cells import NETWORKS
from gantrain.benchmark.rows import Row
from gantrain.benchmark.session import Session
from gantrain.benchmark.timing import Spread, paired_ratio, release, spread_of, synchronize, time_once
from gantrain.builders import build_networks
from gantrain.metrics.features import InceptionFeatures
from gantrain.metrics.fid import fid, reference_of
from gantrain.metrics.fid import moments_of as our_moments_of
from gantrain.metrics.folded_inception import FEATURES
from gantrain.metrics.inception import PACKAGE, InceptionWeights, _blank_state_dict, find_inception_weights
from gantrain.metrics.inception_metrics import InceptionMetric
from gantrain.metrics.metric import generate_images
from gantrain.networks import NetworkPair

BLOCK = "fid"
FULL = 50_000
PEER_BATCH = 64
"""torch-fidelity's default."""
FEW = 512
"""Images that both ways see, to compare their figures."""


@dataclass(slots=True)
class Parted:
    """Seconds of the parts of one measurement of `samples` images."""

    samples: int
    generate: float
    inception: float
    statistics: float

    def of(self, count: int) -> float:
        """Seconds of `count` images: what goes by the image is scaled, the distance itself is not."""
        return (self.generate + self.inception) * count / self.samples + self.statistics


def run(session: Session) -> None:
    """The measurement, and statistics of random features alone."""
    session.attempt(BLOCK, "statistics", 20, partial(_statistics, session))
    session.attempt(BLOCK, "FID of 50k", 60, partial(_measurement, session))


@contextmanager
def _own_cache() -> Iterator[None]:
    """No features of the benchmark's random images stay in the user's cache."""
    before = os.environ.get("GANTRAIN_CACHE")
    with tempfile.TemporaryDirectory() as folder:
        os.environ["GANTRAIN_CACHE"] = folder
        try:
            yield
        finally:
            if before is None:
                del os.environ["GANTRAIN_CACHE"]
            else:
                os.environ["GANTRAIN_CACHE"] = before


def _weights(folder: Path) -> InceptionWeights:
    """The FID Inception's weights where they are at hand, else random ones; nothing is downloaded."""
    if os.environ.get("GANTRAIN_INCEPTION") or importlib.util.find_spec(PACKAGE) is not None:
        return find_inception_weights(None)
    torch.manual_seed(SEED)
    path = folder / "random.pth"
    save_atomically(_blank_state_dict(), path)
    return InceptionWeights(path, "random", "random weights", has_classifier=True)


Moments = tuple[NDArray[np.float64], NDArray[np.float64]]


def moments_of(features: Tensor) -> Moments:
    """Mean and covariance of features (N, D) by NumPy, as torch-fidelity takes them."""
    x: NDArray[np.float64] = features.cpu().numpy().astype(np.float64)
    return x.mean(axis=0), np.cov(x, rowvar=False)


def distance(one: Moments, other: Moments) -> float:
    """FID by the eigenvalues of the product of the covariances, as torch-fidelity computes it on the CPU."""
    shift, (a, b) = one[0] - other[0], (one[1], other[1])
    trace = float(np.sqrt(np.linalg.eigvals(a @ b).astype(complex)).real.sum())
    return float(shift @ shift + np.trace(a) + np.trace(b) - 2 * trace)


def _measurement(session: Session) -> list[Row]:
    scale, device = session.scale, session.device
    with tempfile.TemporaryDirectory() as folder:
        weights = _weights(Path(folder))
        ours_inception = InceptionFeatures(weights, batch_size=scale.fid_batch, device=device)
        in_bf16 = InceptionFeatures(weights, batch_size=scale.fid_batch, device=device, precision="bf16")
        peer_inception = create_feature_extractor(
            "inception-v3-compat",
            [FEATURES],
            cuda=device.type == "cuda",
            feature_extractor_weights_path=str(weights.path),
            verbose=False,
        ).to(device)
    name = "A" if scale.cells == "gpu" else "small"
    networks = build_networks(make_config(session, NETWORKS[name]), 0)
    _settle(networks, device)
    reference = random_images(scale.fid_peer_samples, 32).images
    with _own_cache(), contextlib.redirect_stderr(io.StringIO()):
        metric, metric_bf16 = (
            InceptionMetric(("fid",), inception, reference=reference, reference_name="random images")
            for inception in (ours_inception, in_bf16)
        )
    known = moments_of(ours_inception.of(reference)[FEATURES])
    for inception in (ours_inception, in_bf16):
        inception.of(_generated(networks, scale.fid_batch, scale.fid_batch, device))  # warmed up
    ours, bf16, peers = [], [], []
    for _ in range(session.rounds if device.type == "cuda" else 1):
        ours.append(_our_way(ours_inception, metric, networks, scale.fid_samples, scale.fid_batch))
        bf16.append(_our_way(in_bf16, metric_bf16, networks, scale.fid_samples, scale.fid_batch))
        peers.append(
            _their_way(peer_inception, known, networks.generator, networks.latent_dim, scale.fid_peer_samples, device)
        )
    some = _generated(networks, min(FEW, scale.fid_samples), scale.fid_batch, device)
    features = ours_inception.of(some)[FEATURES]
    difference = abs(metric.measure(some, None)[0].value - distance(moments_of(features), known))
    release(device)
    rows = []
    for cell, parts in (("fidelity", peers), ("ours", ours), ("ours, bf16", bf16)):
        seconds = [part.of(FULL) for part in parts]
        row = Row(
            block=BLOCK,
            contest="FID of 50k",
            cell=cell,
            against="fidelity",
            note=f"{weights.origin}, scaled from {parts[0].samples:,}" if parts[0].samples != FULL else weights.origin,
            figures={
                "seconds for 50k": spread_of(seconds).median,
                "s generate": spread_of([part.generate for part in parts]).median,
                "s Inception": spread_of([part.inception for part in parts]).median,
                "s statistics": spread_of([part.statistics for part in parts]).median,
            },
        )
        rows.append(row)
    theirs = [part.of(FULL) for part in peers]
    for row, parts in zip(rows[1:], (ours, bf16), strict=True):
        row.ratios = {"fidelity": paired_ratio([part.of(FULL) for part in parts], theirs)}
    rows[1].figures["difference"] = difference
    return [*rows[1:], rows[0]]


@torch.no_grad()
def _settle(networks: NetworkPair, device: torch.device, passes: int = 50) -> None:
    """Lets batch norm's averages reach those of fresh weights; before, all images would be the same grey."""
    generator = networks.generator.to(device).train()
    for _ in range(passes):
        generator(torch.randn(32, networks.latent_dim, device=device))
    generator.eval()


def _generated(networks: NetworkPair, count: int, batch_size: int, device: torch.device) -> Tensor:
    images, _ = generate_images(
        networks.generator,
        count=count,
        latent_dim=networks.latent_dim,
        prior=networks.prior,
        image_range=networks.image_range,
        batch_size=batch_size,
        seed=SEED,
        device=device,
    )
    return images


def _our_way(
    inception: InceptionFeatures, metric: InceptionMetric, networks: NetworkPair, count: int, batch_size: int
) -> Parted:
    """As a run measures: features are kept as long as their images, so that the metric finds them."""
    device, kept = inception.device, []
    generate = time_once(lambda: kept.append(_generated(networks, count, batch_size, device)), device)
    seen = time_once(lambda: inception.of(kept[0]), device)
    statistics = time_once(lambda: metric.measure(kept[0], None), device)
    return Parted(count, generate, seen, statistics)


@torch.no_grad()
def _their_way(
    extractor: nn.Module,
    reference: Moments,
    generator: nn.Module,
    latent_dim: int,
    count: int,
    device: torch.device,
) -> Parted:
    """torch-fidelity 0.4: noise by NumPy, batches of 64, each batch's features to the host, then NumPy."""
    noise = np.random.RandomState(SEED)
    batches: list[Tensor] = []
    features: list[Tensor] = []

    def generate() -> None:
        for start in range(0, count, PEER_BATCH):
            z = noise.randn(min(PEER_BATCH, count - start), latent_dim)
            images = generator(torch.from_numpy(z).float().to(device))
            batches.append((255 * (images.clamp(-1, 1) * 0.5 + 0.5)).to(torch.uint8))

    def see() -> None:
        for batch in batches:
            features.append(extractor(batch)[0].cpu())
            synchronize(device)

    seconds = [time_once(generate, device), time_once(see, device)]
    seconds.append(time_once(lambda: distance(moments_of(torch.cat(features)), reference), device))
    return Parted(count, *seconds)


def _statistics(session: Session) -> list[Row]:
    """FID's own mathematics on random features, as many as they have entries."""
    size = session.scale.statistics
    source = torch.Generator().manual_seed(SEED)
    a, b = (torch.rand(2 * size, size, generator=source) for _ in range(2))
    reference, known = reference_of(our_moments_of(b)), moments_of(b)
    values: dict[str, float] = {}

    def theirs() -> None:
        values["fidelity"] = distance(moments_of(a), known)

    def ours() -> None:
        values["ours"] = fid(a, reference)

    seconds: dict[str, list[float]] = {"fidelity": [], "ours": []}
    for _ in range(session.rounds):
        for name, work in (("fidelity", theirs), ("ours", ours)):
            seconds[name].append(time_once(work, session.device))
    ratio: Spread = paired_ratio(seconds["ours"], seconds["fidelity"])
    rows = [
        Row(
            block=BLOCK,
            contest=f"statistics, {2 * size} samples of {size} features",
            cell=name,
            against="fidelity",
            microseconds=spread_of(taken).scaled(1e6),
        )
        for name, taken in seconds.items()
    ]
    rows[1].ratios = {"fidelity": ratio}
    rows[1].figures = {"difference of the two values": abs(values["ours"] - values["fidelity"])}
    return rows
