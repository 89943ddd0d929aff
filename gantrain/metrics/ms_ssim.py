"""MS-SSIM between generated images (Odena et al. 2017, of Wang et al. 2003): high where they resemble one another."""

from typing import Any

import torch
from torch import Tensor

from gantrain.metrics.bootstrap import of_mean
from gantrain.metrics.metric import MetricValue

PAIRS = 1000  # at most
WINDOW = 7  # pixels, uniform
EXPONENTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)  # of Wang et al., for five scales
BATCH = 250  # pairs
SEED = 0  # of the pairs


def scales_for(size: int) -> int:
    """How many of the five scales images of that many pixels have room for: 3 at 32, 4 at 64, 5 from 112 on."""
    fitting = [n for n in range(1, len(EXPONENTS) + 1) if size // max(1, n - 1) ** 2 >= WINDOW and size >= 2**n]
    return max(fitting, default=0)


def exponents_for(size: int) -> tuple[float, ...]:
    """The exponents of the scales that are there, with sum 1."""
    chosen = EXPONENTS[: scales_for(size)]
    return tuple(exponent / sum(chosen) for exponent in chosen)


@torch.no_grad()
def ms_ssim_of_pairs(images: Tensor) -> Tensor:
    """MS-SSIM of disjoint random pairs of uint8 images (N, 3, H, W): (min(N // 2, 1000),), in [0, 1], on the CPU.

    By torchmetrics, with a uniform window of 7 pixels on as many scales as the images have room for; the channels
    are averaged, a negative structure counts as 0.
    """
    from torchmetrics.functional.image import multiscale_structural_similarity_index_measure

    order = torch.randperm(len(images), generator=torch.Generator().manual_seed(SEED))
    pairs = order[: 2 * min(len(images) // 2, PAIRS)].view(-1, 2).to(images.device)
    found = []
    for part in pairs.split(BATCH):
        one, other = images[part[:, 0]].float(), images[part[:, 1]].float()
        similar: Any = multiscale_structural_similarity_index_measure(
            one,
            other,
            gaussian_kernel=False,
            kernel_size=WINDOW,
            reduction="none",
            data_range=255.0,
            betas=exponents_for(min(images.shape[2:])),
            normalize="relu",
        )
        found.append(similar.view(-1).cpu())
    return torch.cat(found)


class MsSsimMetric:
    """Mean MS-SSIM between generated images, with the data's beside it."""

    headline = "ms_ssim"

    def __init__(self, reference: Tensor, reference_name: str, *, bootstrap: int = 0) -> None:
        """Measures uint8 real images (N, 3, H, W)."""
        self._real = float(ms_ssim_of_pairs(reference).mean())
        self._bootstrap = bootstrap
        self._protocol: dict[str, Any] = {"reference": reference_name, "reference_samples": len(reference)}

    def measure(self, images: Tensor, labels: Tensor | None) -> list[MetricValue]:
        """`ms_ssim` of uint8 images (N, 3, H, W), the mean over pairs; `real` is the same of the data."""
        values = ms_ssim_of_pairs(images)
        protocol = {
            **self._protocol,
            "samples": len(images),
            "pairs": len(values),
            "scales": scales_for(min(images.shape[2:])),
            "window": WINDOW,
            "real": self._real,
        }
        interval = of_mean(values) if self._bootstrap else None
        if interval:
            protocol["interval_over"] = "pairs of generated images"
        return [MetricValue("ms_ssim", float(values.mean()), protocol, interval)]
