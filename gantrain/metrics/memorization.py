"""Copies: generated images that repeat one another, and those that repeat training images."""

import sys
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from tqdm import tqdm

from gantrain.metrics.bootstrap import of_mean, of_share
from gantrain.metrics.metric import MetricValue

NEAR = 0.01  # of real images are nearer to another one than what counts as near
REAL_QUERIES = 2000  # real images whose nearest other one is looked for
AMONG = 10_000  # images at most among which duplicates are looked for
QUERIES, POINTS = 512, 8192  # a tile of the matrix of distances
ROWS, COLUMNS = 8, 6  # of the picture
SEED = 0  # of the choice of real images


def nearest(queries: Tensor, points: Tensor, k: int, *, own: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Euclidean distances and indices of the k nearest of points (M, D) to each of the queries (N, D), nearest first.

    Args:
        queries: float or uint8, on the device where the work is done.
        points: of the same kind.
        k: at most M, and at most M - 1 with `own`.
        own: (N,) the index among the points that each query has itself and that does not count.

    Returns:
        (N, k) float32 and (N, k), on the CPU.
    """
    distances, indices = [], []
    norms = torch.cat([part.float().square().sum(dim=1) for part in points.split(POINTS)])
    bar = tqdm(range(0, len(queries), QUERIES), desc="neighbors", leave=False, disable=None, file=sys.stderr)
    for start in bar:
        mine = queries[start : start + QUERIES].float()
        best = mine.new_full((len(mine), 0), 0.0)
        of_best = torch.empty(len(mine), 0, dtype=torch.long, device=mine.device)
        for first in range(0, len(points), POINTS):
            part = points[first : first + POINTS].float()
            apart = torch.addmm(norms[first : first + len(part)], mine, part.T, alpha=-2)  # less |query|^2
            if own is not None:
                column = own[start : start + len(mine)].to(mine.device) - first
                inside = (column >= 0) & (column < len(part))
                apart[inside.nonzero()[:, 0], column[inside]] = float("inf")
            found = apart.topk(min(k + 2, len(part)), largest=False)  # two more: they are rounded
            best = torch.cat((best, found.values), dim=1)
            of_best = torch.cat((of_best, found.indices + first), dim=1)
        chosen = of_best.gather(1, best.topk(min(k + 2, best.shape[1]), largest=False).indices)
        exact = (points[chosen].float() - mine.unsqueeze(1)).square().sum(dim=2).sqrt()
        if own is not None:
            exact[chosen == own[start : start + len(mine)].to(mine.device).unsqueeze(1)] = float("inf")
        values, order = exact.topk(k, largest=False)
        distances.append(values.cpu())
        indices.append(chosen.gather(1, order).cpu())
    return torch.cat(distances), torch.cat(indices)


class NeighborsMetric:
    """Shares of generated images that repeat others of their kind (`duplicates`) or training images (`neighbors`)."""

    def __init__(
        self,
        names: tuple[str, ...],
        train: Tensor,
        train_name: str,
        *,
        embed: Callable[[Tensor], Tensor] | None,
        device: torch.device,
        bootstrap: int = 0,
    ) -> None:
        """Finds out how near real images are to one another.

        Args:
            names: duplicates, neighbors or both.
            train: uint8 training images (N, 3, H, W), all of them.
            train_name: data set and split, for the protocol.
            embed: images to features (N, D); None compares pixels.
            device: where distances are computed.
            bootstrap: whether there are intervals (any number but 0).
        """
        self.names = names
        self.headline = "duplicates" if "duplicates" in names else "memorized"
        self.picture = "neighbors" if "neighbors" in names else None
        self._train = train
        self._embed = embed
        self._device = device
        self._bootstrap = bootstrap
        self._points = self._in_space(train)
        self._order = torch.randperm(len(train), generator=torch.Generator().manual_seed(SEED))
        self._protocol: dict[str, Any] = {
            "reference": train_name,
            "reference_samples": len(train),
            "space": "pixels" if embed is None else "Inception features",
        }
        if "neighbors" in names:
            queries = self._order[:REAL_QUERIES]
            of_real = nearest(self._points[queries.to(device)], self._points, 1, own=queries)[0][:, 0]
            self._near, self._real_distance = float(of_real.quantile(NEAR)), float(of_real.double().mean())
            self._real_memorized = float((of_real <= self._near).double().mean())

    def measure(self, images: Tensor, labels: Tensor | None) -> list[MetricValue]:
        """The figures of uint8 images (N, 3, H, W).

        `duplicates`: share of images as near to another generated one as the nearest 1 % of as many real images are
        to one another; `exact_duplicates`: share of images with the very pixels of an earlier one. `memorized`: share
        of images as near to a training image as the nearest 1 % of training images are to another one;
        `train_distance`: mean distance to the nearest training image, over that of training images to one another.
        """
        points = self._in_space(images)
        protocol = {**self._protocol, "samples": len(images)}
        found = []
        if "duplicates" in self.names:
            found += self._duplicates(images, points, protocol)
        if "neighbors" in self.names:
            apart = nearest(points, self._points, 1)[0][:, 0]
            ratio = apart.double() / max(self._real_distance, 1e-12)
            share = float((apart <= self._near).double().mean())
            intervals = (of_share(share, len(apart)), of_mean(ratio)) if self._bootstrap else (None, None)
            protocol = {**protocol, "near": self._near, "real_queries": min(REAL_QUERIES, len(self._train))}
            if self._bootstrap:
                protocol["interval_over"] = "generated images"
            real = {**protocol, "real": self._real_memorized}
            found.append(MetricValue("memorized", share, real, intervals[0]))
            found.append(MetricValue("train_distance", float(ratio.mean()), {**protocol, "real": 1.0}, intervals[1]))
        return found

    def draw(self, picture: Any, images: Tensor) -> None:
        """Draws samples with their nearest training images into a matplotlib Figure: the first, and the nearest.

        Under each training image stands its distance, over that of training images to one another.
        """
        points = self._in_space(images)
        columns = min(COLUMNS, len(self._train))
        distances, indices = nearest(points, self._points, columns)
        closest = distances[:, 0].argsort()[:ROWS]
        picture.suptitle(
            f"Nearest training images, by {self._protocol['space']}; the numbers are distances in units of the mean "
            "distance\nfrom a training image to the nearest other one: 0 is a copy, 1 as far as real images are",
            fontsize=10,
        )
        halves = picture.subfigures(1, 2)
        for half, chosen, title in (
            (halves[0], torch.arange(min(ROWS, len(images))), "the first samples"),
            (halves[1], closest, "the samples nearest to a training image"),
        ):
            half.suptitle(title, fontsize=9)
            axes = half.subplots(len(chosen), columns + 1, squeeze=False)
            for row, sample in zip(axes, chosen.tolist(), strict=True):
                shown = [images[sample].cpu(), *self._train[indices[sample]].cpu()]
                for k, (place, image) in enumerate(zip(row, shown, strict=True)):
                    place.imshow(image.permute(1, 2, 0).numpy(), interpolation="nearest")
                    place.set_xticks([])
                    place.set_yticks([])
                    place.grid(visible=False)
                    for edge in place.spines.values():
                        edge.set(color="#D55E00" if k == 0 else "none", linewidth=2.5)
                    if k:
                        place.set_xlabel(
                            f"{float(distances[sample, k - 1]) / self._real_distance:.2f}", fontsize=7, labelpad=1
                        )
            axes[0, 0].set_title("sample", fontsize=8)
            axes[0, (columns + 1) // 2].set_title("training images, nearest first", fontsize=8)

    def _duplicates(self, images: Tensor, points: Tensor, protocol: dict[str, Any]) -> list[MetricValue]:
        among = min(len(images), len(self._train), AMONG)
        real = self._order[:among].to(self._device)
        every = torch.arange(among)
        of_real = nearest(self._points[real], self._points[real], 1, own=every)[0][:, 0]
        near = float(of_real.quantile(NEAR))
        apart = nearest(points[:among], points[:among], 1, own=every)[0][:, 0]
        exact = 1 - len(images.flatten(1).unique(dim=0)) / len(images)
        protocol = {**protocol, "among": among, "near": near}
        real_share = float((of_real <= near).double().mean())
        return [
            MetricValue("duplicates", float((apart <= near).double().mean()), {**protocol, "real": real_share}),
            MetricValue("exact_duplicates", exact, {"samples": len(images)}),
        ]

    def _in_space(self, images: Tensor) -> Tensor:
        return (images.flatten(1) if self._embed is None else self._embed(images)).to(self._device)
