"""Colors of generated images against the data's: Poole et al. (2016) saw generators that keep to greens and browns."""

import math
from typing import Any

import torch
from torch import Tensor

from gantrain.metrics.bootstrap import around, of_mean, resample_counts
from gantrain.metrics.metric import MetricValue

LEVELS = 8  # bins a channel
BINS = LEVELS**3
CHUNK = 1000
REFERENCE_IMAGES = 10_000  # at most
SEED = 0  # of their choice
GREEN, BROWN = (65.0, 165.0), (10.0, 45.0)  # hue in degrees
LEAST_SATURATION, LEAST_VALUE, BROWNS_MOST_VALUE = 0.15, 0.1, 0.7


def color_histograms(images: Tensor) -> Tensor:
    """uint8 images (N, 3, H, W) -> pixels of each color of the 8 x 8 x 8 joint RGB histogram, (N, 512), on the CPU."""
    found = []
    for part in images.split(CHUNK):
        red, green, blue = (part.long() // (256 // LEVELS)).flatten(2).unbind(dim=1)
        bins = (red * LEVELS + green) * LEVELS + blue
        bins = bins + BINS * torch.arange(len(part), device=part.device).unsqueeze(1)
        found.append(torch.bincount(bins.flatten(), minlength=BINS * len(part)).view(-1, BINS).cpu())
    return torch.cat(found)


def jensen_shannon(p: Tensor, q: Tensor) -> float:
    """JS(p, q) of two histograms (K,), normalized here, in nats: 0 for equal ones, log 2 for disjoint ones."""
    p, q = p.double() / p.sum(), q.double() / q.sum()
    m = (p + q) / 2
    return float((torch.xlogy(p, p) + torch.xlogy(q, q)).sum() / 2 - torch.xlogy(m, m).sum())


def green_brown_share(images: Tensor) -> Tensor:
    """uint8 images (N, 3, H, W) -> share of their pixels that are green or brown, float64 (N,), on the CPU.

    In HSV: green is a hue of 65° to 165°, brown one of 10° to 45° at a value of at most 0.7; both with a saturation
    of at least 0.15 and a value of at least 0.1.
    """
    found = []
    for part in images.split(CHUNK):
        red, green, blue = (part.float() / 255).unbind(dim=1)
        value = part.float().amax(dim=1) / 255
        chroma = value - part.float().amin(dim=1) / 255
        safe = chroma.clamp(min=1e-6)
        hue = torch.where(
            value == red,
            (green - blue) / safe % 6,
            torch.where(value == green, (blue - red) / safe + 2, (red - green) / safe + 4),
        )
        hue = 60 * hue
        colored = (chroma >= LEAST_SATURATION * value) & (value >= LEAST_VALUE) & (chroma > 0)
        is_green = (hue >= GREEN[0]) & (hue <= GREEN[1])
        is_brown = (hue >= BROWN[0]) & (hue <= BROWN[1]) & (value <= BROWNS_MOST_VALUE)
        found.append((colored & (is_green | is_brown)).double().mean(dim=(1, 2)).cpu())
    return torch.cat(found)


class ColorsMetric:
    """How far the colors of generated images lie from the data's."""

    headline = "color_js"
    picture = "colors"

    def __init__(self, reference: Tensor, reference_name: str, *, bootstrap: int = 0) -> None:
        """Counts the colors of uint8 real images (N, 3, H, W), of 10,000 at random where there are more."""
        chosen = torch.randperm(len(reference), generator=torch.Generator().manual_seed(SEED))[:REFERENCE_IMAGES]
        reference = reference[chosen.to(reference.device)]
        histograms = color_histograms(reference)
        halves = [half.sum(dim=0) for half in histograms.chunk(2)]
        self._real = histograms.sum(dim=0)
        self._between_halves = jensen_shannon(*halves)
        self._green_brown = float(green_brown_share(reference).mean())
        self._bootstrap = bootstrap
        self._protocol: dict[str, Any] = {"reference": reference_name, "reference_samples": len(reference)}

    def measure(self, images: Tensor, labels: Tensor | None) -> list[MetricValue]:
        """The figures of uint8 images (N, 3, H, W).

        `color_js`: Jensen-Shannon divergence of the joint RGB histograms in nats, 0 to log 2 = 0.693 (`real`: between
        halves of the data); `green_brown`: the share of green and brown pixels (`real`: in the data).
        """
        histograms = color_histograms(images)
        value = jensen_shannon(histograms.sum(dim=0), self._real)
        green_brown = green_brown_share(images)
        protocol = {**self._protocol, "samples": len(images)}
        js = {**protocol, "bins": f"{LEVELS}x{LEVELS}x{LEVELS} RGB", "real": self._between_halves}
        share = {
            **protocol,
            "hues": f"{GREEN[0]:g}-{GREEN[1]:g}°, {BROWN[0]:g}-{BROWN[1]:g}°",
            "real": self._green_brown,
        }
        intervals: list[tuple[float, float] | None] = [None, None]
        if self._bootstrap:
            counts = histograms.double()
            drawn = resample_counts(len(images), self._bootstrap, what="the colors")
            intervals[0] = around(value, [jensen_shannon(times @ counts, self._real) for times in drawn])
            intervals[1] = of_mean(green_brown)
            js |= {"interval_over": "generated images", "bootstrap": self._bootstrap}
            share |= {"interval_over": "generated images"}
        return [
            MetricValue("color_js", value, js, intervals[0]),
            MetricValue("green_brown", float(green_brown.mean()), share, intervals[1]),
        ]

    def draw(self, picture: Any, images: Tensor) -> None:
        """Draws how often each color is in the images against the data into a matplotlib Figure."""
        mine, real = color_histograms(images).sum(dim=0).double(), self._real.double()
        mine, real = mine / mine.sum(), real / real.sum()
        level = (torch.arange(LEVELS).double() + 0.5) / LEVELS
        colors = torch.cartesian_prod(level, level, level)
        lowest = 10 ** math.floor(math.log10(float(torch.cat((mine[mine > 0], real[real > 0])).min())))
        axes = picture.subplots()
        axes.plot([lowest, 1], [lowest, 1], color="#777777", linewidth=1, zorder=1, label="as often as in the data")
        axes.scatter(
            real.clamp(min=lowest).numpy(),
            mine.clamp(min=lowest).numpy(),
            c=colors.numpy(),
            s=30,
            edgecolors="#333333",
            linewidths=0.4,
            zorder=2,
            label=f"one of {BINS} colors, in that color",
        )
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_aspect("equal")
        axes.set_xlabel(f"share of the data's pixels (at {lowest:g}: that or less)")
        axes.set_ylabel(f"share of the samples' pixels (at {lowest:g}: that or less)")
        axes.grid(alpha=0.25)
        axes.set_axisbelow(True)
        axes.set_title(f"Colors, Jensen-Shannon divergence {jensen_shannon(mine, real):.3g} nats")
        axes.legend(loc="upper left")
