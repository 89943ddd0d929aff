"""D's reliability curve as a small image."""

import torch
from torch import Tensor

from gantrain.diagnostics.statistics import Reliability

CELL = 12  # pixels of a bin
BARS, LINE, EMPTY = (0.0, 0.45, 0.70), (0.84, 0.37, 0.0), (1.0, 1.0, 1.0)  # Okabe & Ito's blue and vermilion


def draw_reliability(curve: Reliability) -> Tensor:
    """Floats (3, H, W) in [0, 1]: one bar per bin of D from 0 to 1, whose height is the bin's share of real examples.

    The line is the diagonal of a calibrated D. Bars of few examples are pale, empty bins white.
    """
    side = CELL * len(curve.counts)
    picture = torch.tensor(EMPTY).view(3, 1, 1).repeat(1, side, side)
    most = max(max(curve.counts), 1)
    for place, (share, count) in enumerate(zip(curve.real, curve.counts, strict=True)):
        if share is not None:
            strength = 0.25 + 0.75 * (count / most) ** 0.5
            color = torch.tensor(EMPTY).lerp(torch.tensor(BARS), strength)
            top = side - max(1, round(share * side))
            picture[:, top:, place * CELL + 1 : (place + 1) * CELL - 1] = color.view(3, 1, 1)
    diagonal = torch.arange(side)
    picture[:, side - 1 - diagonal, diagonal] = torch.tensor(LINE).view(3, 1)
    return picture
