"""Copies: generated images that repeat one another, and generated images that repeat training images."""

import sys
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from gantrain.metrics.bootstrap import interval_of_mean, interval_of_share
from gantrain.metrics.metric import LOWER, Metric, MetricContext, MetricSpec, MetricValue, ValueSpec

NEAR_QUANTILE = 0.01  # quantile of the distances between real images that counts as near
REAL_QUERIES = 2000  # real images whose nearest neighbors are searched
MAX_AMONG = 10_000  # images among which duplicates are searched
QUERIES, POINTS = 512, 8192  # size of a tile of the distance matrix
ROWS, COLUMNS = 8, 6  # of the figure
SEED = 0  # selects the real images
CHART = "duplicates, copies of training images (memorized): lower is better"


class _CopiesMetric(Metric):
    """What both metrics have in common: the space in which images are compared.

    Inception features if another metric computes them for the complete training set anyway, else pixels.
    """

    def __init__(self, context: MetricContext) -> None:
        """Maps the training images to that space."""
        train = context.real.train
        self._context, self._device, self._bootstrap = context, context.device, context.bootstrap
        self._train = train.images
        self._by_features = context.inception is not None and context.real.inception_images is train.images
        self._points = (context.reference_features() if self._by_features else train.images.flatten(1)).to(self._device)
        self._order = torch.randperm(len(train), generator=torch.Generator().manual_seed(SEED))
        self._protocol: dict[str, Any] = {
            "reference": train.name,
            "reference_samples": len(train),
            "space": "Inception features" if self._by_features else "pixels",
        }

    def _points_of(self, images: Tensor) -> Tensor:
        return (self._context.features(images) if self._by_features else images.flatten(1)).to(self._device)


class DuplicatesMetric(_CopiesMetric):
    """Share of generated images that repeat other generated images."""

    spec = MetricSpec(
        name="duplicates",
        help="share of samples whose nearest other sample is nearer than for 99 % of equally many real images; "
        "share of exact duplicates",
        values=(
            ValueSpec("duplicates", "duplicates", LOWER, chart=CHART, diversity=True),
            ValueSpec("exact_duplicates", "exact duplicates", LOWER, chart=CHART, diversity=True),
        ),
    )

    def measure(self, images: Tensor, labels: Tensor | None) -> list[MetricValue]:
        """The values of uint8 images (N, 3, H, W).

        `duplicates`: share of images whose nearest other image is nearer than for 99 % of equally many real images.
        `exact_duplicates`: share of images equal to an earlier one, pixel by pixel.
        """
        points = self._points_of(images)
        among = min(len(images), len(self._train), MAX_AMONG)
        indices = torch.arange(among)
        real = self._points[self._order[:among].to(self._device)]
        real_distances = nearest(real, real, 1, own=indices)[0][:, 0]
        near = float(real_distances.quantile(NEAR_QUANTILE))
        distances = nearest(points[:among], points[:among], 1, own=indices)[0][:, 0]
        exact = 1 - len(images.flatten(1).unique(dim=0)) / len(images)
        real_share = float((real_distances <= near).double().mean())
        protocol = {**self._protocol, "samples": len(images), "among": among, "near": near, "real": real_share}
        return [
            MetricValue("duplicates", float((distances <= near).double().mean()), protocol),
            MetricValue("exact_duplicates", exact, {"samples": len(images)}),
        ]


class NeighborsMetric(_CopiesMetric):
    """Share of generated images that repeat training images."""

    spec = MetricSpec(
        name="neighbors",
        help="share of samples nearer to a training image than 99 % of training images are to their nearest other "
        "one, and the mean distance to the nearest; a figure of samples with their nearest training images",
        values=(
            ValueSpec("memorized", "memorized", LOWER, chart=CHART, diversity=True),
            ValueSpec("train_distance", "distance to the training set", None),
        ),
        figure_size=(10.0, 7.0),
    )

    def __init__(self, context: MetricContext) -> None:
        """Measures the distances between real images."""
        super().__init__(context)
        queries = self._order[:REAL_QUERIES]
        distances = nearest(self._points[queries.to(self._device)], self._points, 1, own=queries)[0][:, 0]
        self._near, self._real_distance = float(distances.quantile(NEAR_QUANTILE)), float(distances.double().mean())
        self._real_memorized = float((distances <= self._near).double().mean())

    def measure(self, images: Tensor, labels: Tensor | None) -> list[MetricValue]:
        """The values of uint8 images (N, 3, H, W).

        `memorized`: share of images nearer to a training image than 99 % of training images are to their nearest other
        one. `train_distance`: mean distance to the nearest training image, over that between training images.
        """
        distances = nearest(self._points_of(images), self._points, 1)[0][:, 0]
        ratio = distances.double() / max(self._real_distance, 1e-12)
        share = float((distances <= self._near).double().mean())
        protocol = {
            **self._protocol,
            "samples": len(images),
            "near": self._near,
            "real_queries": min(REAL_QUERIES, len(self._train)),
        }
        intervals: tuple[tuple[float, float] | None, ...] = (None, None)
        if self._bootstrap:
            intervals = (interval_of_share(share, len(distances)), interval_of_mean(ratio))
            protocol["interval_over"] = "generated images"
        return [
            MetricValue("memorized", share, {**protocol, "real": self._real_memorized}, intervals[0]),
            MetricValue("train_distance", float(ratio.mean()), {**protocol, "real": 1.0}, intervals[1]),
        ]

    def draw(self, figure: Any, images: Tensor) -> None:
        """Draws the first samples and the samples nearest to training images, each with its nearest training images."""
        columns = min(COLUMNS, len(self._train))
        distances, indices = nearest(self._points_of(images), self._points, columns)
        closest = distances[:, 0].argsort()[:ROWS]
        figure.suptitle(
            f"Nearest training images, by {self._protocol['space']}; the numbers are distances in units of the mean "
            "distance\nfrom a training image to the nearest other one: 0 is a copy, 1 the distance of real images",
            fontsize=10,
        )
        halves = figure.subfigures(1, 2)
        for half, chosen, title in (
            (halves[0], torch.arange(min(ROWS, len(images))), "the first samples"),
            (halves[1], closest, "the samples nearest to a training image"),
        ):
            half.suptitle(title, fontsize=9)
            axes = half.subplots(len(chosen), columns + 1, squeeze=False)
            for row, sample in zip(axes, chosen.tolist(), strict=True):
                shown = [images[sample].cpu(), *self._train[indices[sample]].cpu()]
                for k, (cell, image) in enumerate(zip(row, shown, strict=True)):
                    cell.imshow(image.permute(1, 2, 0).numpy(), interpolation="nearest")
                    cell.set_xticks([])
                    cell.set_yticks([])
                    cell.grid(visible=False)
                    for edge in cell.spines.values():
                        edge.set(color="#D55E00" if k == 0 else "none", linewidth=2.5)
                    if k:
                        distance = float(distances[sample, k - 1]) / self._real_distance
                        cell.set_xlabel(f"{distance:.2f}", fontsize=7, labelpad=1)
            axes[0, 0].set_title("sample", fontsize=8)
            axes[0, (columns + 1) // 2].set_title("training images, nearest first", fontsize=8)


def nearest(queries: Tensor, points: Tensor, k: int, *, own: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Euclidean distances and indices of the k nearest points (M, D) to each query (N, D), nearest first.

    Args:
        queries: float or uint8, on the device where the work is done.
        points: of the same dtype, on the same device.
        k: at most M, and at most M - 1 with `own`.
        own: (N,) for each query the index of the point that is the query itself and is not counted.

    Returns:
        (N, k) float32 and (N, k) int64, on the CPU.
    """
    distances, indices = [], []
    norms = torch.cat([part.float().square().sum(dim=1) for part in points.split(POINTS)])
    bar = tqdm(range(0, len(queries), QUERIES), desc="neighbors", leave=False, disable=None, file=sys.stderr)
    for start in bar:
        batch = queries[start : start + QUERIES].float()
        best = batch.new_full((len(batch), 0), 0.0)
        best_indices = torch.empty(len(batch), 0, dtype=torch.long, device=batch.device)
        for first in range(0, len(points), POINTS):
            part = points[first : first + POINTS].float()
            squared = torch.addmm(norms[first : first + len(part)], batch, part.T, alpha=-2)  # minus |query|^2
            if own is not None:
                column = own[start : start + len(batch)].to(batch.device) - first
                inside = (column >= 0) & (column < len(part))
                squared[inside.nonzero()[:, 0], column[inside]] = float("inf")
            smallest = squared.topk(min(k + 2, len(part)), largest=False)  # two more, because of rounding
            best = torch.cat((best, smallest.values), dim=1)
            best_indices = torch.cat((best_indices, smallest.indices + first), dim=1)
        chosen = best_indices.gather(1, best.topk(min(k + 2, best.shape[1]), largest=False).indices)
        exact = (points[chosen].float() - batch.unsqueeze(1)).square().sum(dim=2).sqrt()
        if own is not None:
            exact[chosen == own[start : start + len(batch)].to(batch.device).unsqueeze(1)] = float("inf")
        values, order = exact.topk(k, largest=False)
        distances.append(values.cpu())
        indices.append(chosen.gather(1, order).cpu())
    return torch.cat(distances), torch.cat(indices)
