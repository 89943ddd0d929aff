"""A map of generated points, of the true log density ratio, and of the ratio that the discriminator has learned."""

import math
from collections.abc import Callable

import numpy as np
import torch
from PIL import Image, ImageDraw
from torch import Tensor

from gantrain.data import GaussianMixture
from gantrain.objectives import Objective

CELLS = 72
SCALE = 4  # pixels per cell
LIMIT = 4.0  # nats: the range of the colors
HEAD, GAP = 22, 10
PICTURE = (3 * CELLS * SCALE + 2 * GAP, CELLS * SCALE + HEAD)
"""Width and height in pixels."""
BLUE, WHITE, RED = (33, 102, 172), (247, 247, 247), (178, 24, 43)
GREY = (205, 205, 205)
FAINT = -9.0  # log density relative to the peak, in nats, below which no ratio is shown
POINT_REAL, POINT_GENERATED = (150, 150, 150), (27, 120, 55)


class RatioMap:
    """Three panels: points, true log q/p, learned log q/p.

    The generator's density is unknown, so the true ratio is that of both densities after the same Gaussian blur: exact
    for q (a blurred Gaussian mixture is one), a kernel density estimate for p. Red: q > p; blue: p > q;
    grey: both are negligible. Colors are clipped at ±4 nats.
    """

    def __init__(self, density: GaussianMixture, real: Tensor, objective: Objective) -> None:
        """Takes the data's density, real points (N, 2) to show in grey, and the objective, for logit to log ratio."""
        self._objective = objective
        self._density = density
        self._real = real.cpu()
        self.extent = density.extent
        line = ((torch.arange(CELLS) + 0.5) / CELLS * 2 - 1) * self.extent
        down, right = torch.meshgrid(line.flip(0), line, indexing="ij")
        self._cells = torch.stack((right, down), dim=2).reshape(-1, 2)
        self._blur = 1.5 * 2 * self.extent / CELLS
        self._log_q = density.log_density(self._cells, self._blur)

    def true_log_ratio(self, points: Tensor) -> Tensor:
        """Log q/p of the blurred densities in each cell, (CELLS²,), rows from the top; NaN if both are negligible."""
        log_p = _kernel_estimate(self._cells, points.float().cpu(), self._blur)
        larger = torch.maximum(self._log_q, log_p)
        return torch.where(larger > larger.max() + FAINT, self._log_q - log_p, torch.nan)

    def picture(self, points: Tensor, discriminate: Callable[[Tensor], Tensor]) -> Tensor:
        """The three panels as floats (3, H, W) in [0, 1].

        Args:
            points: generated, (N, 2).
            discriminate: points (M, 2) -> logits (M,), shown as log ratios if the objective has them.
        """
        logits = discriminate(self._cells.to(points.device)).float().cpu()
        estimates = self._objective.has_log_ratio
        panels = [
            self._scatter(points.cpu()),
            self._colors(self.true_log_ratio(points)),
            self._colors(self._objective.log_ratio(logits) if estimates else logits),
        ]
        learned = "learned log r" if estimates else "v"
        titles = (
            "data (grey), generated",
            f"true log r, blurred, ±{LIMIT:g}; grey: negligible",
            f"{learned}, ±{LIMIT:g}",
        )
        side = CELLS * SCALE
        image = Image.new("RGB", PICTURE, "white")
        titles_on = ImageDraw.Draw(image)
        for k, (panel, title) in enumerate(zip(panels, titles, strict=True)):
            left = k * (side + GAP)
            image.paste(panel, (left, HEAD))
            titles_on.text((left + 4, 5), title, fill="black")
        return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255

    def _scatter(self, points: Tensor) -> Image.Image:
        side = CELLS * SCALE
        image = Image.new("RGB", (side, side), "white")
        draw = ImageDraw.Draw(image)
        for shown, color in ((self._real, POINT_REAL), (points, POINT_GENERATED)):
            places = (shown / self.extent * torch.tensor([1.0, -1.0]) + 1) / 2 * side
            for x, y in places.tolist():
                draw.rectangle((x - 1, y - 1, x + 0.5, y + 0.5), fill=color)
        draw.rectangle((0, 0, side - 1, side - 1), outline=GREY)
        return image

    def _colors(self, values: Tensor) -> Image.Image:
        share = (values / LIMIT).clamp(-1, 1).nan_to_num(0)[:, None]
        white, red, blue, grey = (torch.tensor(color, dtype=torch.float32) for color in (WHITE, RED, BLUE, GREY))
        colored = white + share.clamp_min(0) * (red - white) + (-share).clamp_min(0) * (blue - white)
        colored[values.isnan()] = grey
        pixels = colored.round().to(torch.uint8).view(CELLS, CELLS, 3).numpy()
        return Image.fromarray(pixels).resize((CELLS * SCALE, CELLS * SCALE), Image.Resampling.NEAREST)


def _kernel_estimate(at: Tensor, points: Tensor, blur: float) -> Tensor:
    """Log Gaussian kernel density estimate from points (N, 2), evaluated at (M, 2) -> (M,)."""
    found = []
    for part in at.split(2048):
        squared = torch.cdist(part, points).square()
        found.append((-squared / (2 * blur**2)).logsumexp(dim=1))
    return torch.cat(found) - math.log(len(points)) - math.log(2 * math.pi * blur**2)
