"""Mode coverage on stacked digits: how many of the 1,000 modes a generator reaches, and how evenly."""

import math

import torch
from torch import Tensor

from gantrain.data.digits import MODES, DigitClassifier
from gantrain.evidence.measurement import Measurement


def mode_statistics(modes: Tensor) -> tuple[int, float]:
    """Modes covered, and KL(histogram ‖ uniform) in nats, of mode numbers (N,).

    With N samples of the uniform itself the KL is about 999/(2N), not 0.
    """
    counts = torch.bincount(modes, minlength=MODES).double()
    share = counts[counts > 0] / counts.sum()
    return int((counts > 0).sum()), float((share * (share.log() + math.log(MODES))).sum())


class ModesMetric:
    """Modes covered of 1,000 and KL from the uniform, by a classifier of each channel's digit."""

    headline = ("modes", False)

    def __init__(self) -> None:
        """Trains the classifier."""
        self._classifier = DigitClassifier()

    def measure(self, images: Tensor, labels: Tensor | None) -> list[Measurement]:
        """The figures of uint8 images (N, 3, 32, 32); with labels also how many show the mode asked for."""
        modes = self._classifier.modes(images)
        covered, kl = mode_statistics(modes)
        protocol = {"samples": len(images), "of": MODES, "classifier": "SVM on 8×8 scans"}
        found = [Measurement("modes", float(covered), protocol), Measurement("modes_kl", kl, protocol)]
        if labels is not None:
            found.append(Measurement("class_accuracy", float((modes == labels.cpu()).float().mean()), protocol))
        return found
