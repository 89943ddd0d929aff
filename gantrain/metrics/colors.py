"""Colors of generated images against the data's: Poole et al. (2016) saw generators limited to greens and browns."""

import math
from typing import Any

import torch
from torch import Tensor

from gantrain.metrics.bootstrap import interval_from_resamples, interval_of_mean, resample_counts
from gantrain.metrics.metric import LOWER, Metric, MetricContext, MetricSpec, MetricValue, ValueSpec

LEVELS = 8  # bins per channel
BINS = LEVELS**3
CHUNK = 1000
REFERENCE_IMAGES = 10_000  # upper limit
SEED = 0  # selects the reference images
GREEN, BROWN = (65.0, 165.0), (10.0, 45.0)  # hue in degrees
MIN_SATURATION, MIN_VALUE, MAX_BROWN_VALUE = 0.15, 0.1, 0.7


def color_histograms(images: Tensor) -> Tensor:
    """uint8 images (N, 3, H, W) -> pixels in each bin of the 8 x 8 x 8 joint RGB histogram, (N, 512), on the CPU."""
    found = []
    for part in images.split(CHUNK):
        red, green, blue = (part.long() // (256 // LEVELS)).flatten(2).unbind(dim=1)
        bins = (red * LEVELS + green) * LEVELS + blue
        bins = bins + BINS * torch.arange(len(part), device=part.device).unsqueeze(1)
        found.append(torch.bincount(bins.flatten(), minlength=BINS * len(part)).view(-1, BINS).cpu())
    return torch.cat(found)


def jensen_shannon(p: Tensor, q: Tensor) -> float:
    """JS(p, q) in nats of two histograms (K,), which are normalized here: 0 if equal, log 2 if disjoint."""
    p, q = p.double() / p.sum(), q.double() / q.sum()
    m = (p + q) / 2
    return float((torch.xlogy(p, p) + torch.xlogy(q, q)).sum() / 2 - torch.xlogy(m, m).sum())


def green_brown_share(images: Tensor) -> Tensor:
    """uint8 images (N, 3, H, W) -> share of green and brown pixels, float64 (N,), on the CPU.

    In HSV: green has a hue of 65° to 165°, brown a hue of 10° to 45° and a value of at most 0.7; both have a
    saturation of at least 0.15 and a value of at least 0.1.
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
        colored = (chroma >= MIN_SATURATION * value) & (value >= MIN_VALUE) & (chroma > 0)
        is_green = (hue >= GREEN[0]) & (hue <= GREEN[1])
        is_brown = (hue >= BROWN[0]) & (hue <= BROWN[1]) & (value <= MAX_BROWN_VALUE)
        found.append((colored & (is_green | is_brown)).double().mean(dim=(1, 2)).cpu())
    return torch.cat(found)


class ColorsMetric(Metric):
    """Distance between the color histograms of generated images and of the data."""

    spec = MetricSpec(
        name="colors",
        help="Jensen–Shannon divergence of the joint RGB histograms from the data's; share of greens and browns, the "
        "colors that Poole et al. 2016 look at",
        values=(
            ValueSpec(
                "color_js",
                "JS of the colors",
                LOWER,
                chart="Jensen–Shannon divergence of the colors: down to 0",
            ),
            ValueSpec("green_brown", "green and brown", None),
        ),
        figure_size=(6.5, 6.0),
    )

    def __init__(self, context: MetricContext) -> None:
        """Counts the colors of the real images, of a random 10,000 if there are more."""
        reference = context.real.reference.images
        chosen = torch.randperm(len(reference), generator=torch.Generator().manual_seed(SEED))[:REFERENCE_IMAGES]
        reference = reference[chosen.to(reference.device)]
        histograms = color_histograms(reference)
        self._real = histograms.sum(dim=0)
        self._between_halves = jensen_shannon(*(half.sum(dim=0) for half in histograms.chunk(2)))
        self._green_brown = float(green_brown_share(reference).mean())
        self._bootstrap = context.bootstrap
        self._protocol: dict[str, Any] = {
            "reference": context.real.reference.name,
            "reference_samples": len(reference),
        }

    def measure(self, images: Tensor, labels: Tensor | None) -> list[MetricValue]:
        """The values of uint8 images (N, 3, H, W).

        `color_js`: Jensen-Shannon divergence of the joint RGB histogram from the data's, in nats; `real` is that
        between halves of the data. `green_brown`: mean share of green and brown pixels; `real` is the data's.
        """
        histograms, green_brown = color_histograms(images), green_brown_share(images)
        value = jensen_shannon(histograms.sum(dim=0), self._real)
        protocol = {**self._protocol, "samples": len(images)}
        js = {**protocol, "bins": f"{LEVELS}x{LEVELS}x{LEVELS} RGB", "real": self._between_halves}
        hues = f"{GREEN[0]:g}-{GREEN[1]:g}°, {BROWN[0]:g}-{BROWN[1]:g}°"
        share = {**protocol, "hues": hues, "real": self._green_brown}
        js_interval = share_interval = None
        if self._bootstrap:
            counts = histograms.double()
            drawn = resample_counts(len(images), self._bootstrap, what="the colors")
            js_interval = interval_from_resamples(value, [jensen_shannon(n @ counts, self._real) for n in drawn])
            share_interval = interval_of_mean(green_brown)
            js |= {"interval_over": "generated images", "bootstrap": self._bootstrap}
            share |= {"interval_over": "generated images"}
        return [
            MetricValue("color_js", value, js, js_interval),
            MetricValue("green_brown", float(green_brown.mean()), share, share_interval),
        ]

    def draw(self, figure: Any, images: Tensor) -> None:
        """Draws the frequency of each color in the images against that in the data."""
        generated, real = color_histograms(images).sum(dim=0).double(), self._real.double()
        generated, real = generated / generated.sum(), real / real.sum()
        level = (torch.arange(LEVELS).double() + 0.5) / LEVELS
        colors = torch.cartesian_prod(level, level, level)
        lowest = 10 ** math.floor(math.log10(float(torch.cat((generated[generated > 0], real[real > 0])).min())))
        axes = figure.subplots()
        axes.plot([lowest, 1], [lowest, 1], color="#777777", linewidth=1, zorder=1, label="as often as in the data")
        axes.scatter(
            real.clamp(min=lowest).numpy(),
            generated.clamp(min=lowest).numpy(),
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
        axes.set_title(f"Colors, Jensen-Shannon divergence {jensen_shannon(generated, real):.3g} nats")
        axes.legend(loc="upper left")
