"""Stacked digits: three handwritten digits in the three color channels, 1,000 modes that can be counted.

After the stacked MNIST of Metz et al. 2017. The scans are scikit-learn's (1,797 digits of 8×8 pixels, UCI's optical
recognition set), which need no download.
"""

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from gantrain.data.images import ImageSet
from gantrain.data.spec import DatasetSpec

MODES = 1000
IMAGES = {"train": 25_000, "test": 5_000}
SEED = 1797  # of the split and of the stacks: the same data set for every run


def _scans(split: str) -> tuple[Tensor, Tensor]:
    """Scans as uint8 (N, 32, 32) and their digits (N,); a fifth of them is held out for `test`."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    scans, digits = load_digits(return_X_y=True)
    train_x, test_x, train_y, test_y = train_test_split(
        scans, digits, test_size=0.2, random_state=SEED, stratify=digits
    )
    x, y = (train_x, train_y) if split == "train" else (test_x, test_y)
    small = torch.from_numpy(x).float().view(-1, 1, 8, 8) * (255 / 16)
    large = F.interpolate(small, size=(32, 32), mode="bilinear", align_corners=False)
    return large[:, 0].round().clamp(0, 255).to(torch.uint8), torch.from_numpy(y).long()


def load_stacked_digits(split: str = "train") -> ImageSet:
    """Images (25,000 for train, 5,000 for test) of three random digits; the label is their number, 0 to 999."""
    scans, digits = _scans(split)
    generator = torch.Generator().manual_seed(SEED)
    chosen = torch.randint(len(scans), (IMAGES[split], 3), generator=generator)
    labels = (digits[chosen] * torch.tensor([100, 10, 1])).sum(dim=1)
    return ImageSet(
        f"digits-{split}",
        scans[chosen],
        labels,
        tuple(f"{mode:03d}" for mode in range(MODES)),
        mode_classifier=DigitClassifier,
    )


class DigitClassifier:
    """Classifies the digit of each channel by a support vector machine trained on the training scans."""

    name = "SVM on 8×8 scans"

    def __init__(self) -> None:
        """Trains the classifier (under a second)."""
        from sklearn.svm import SVC

        scans, digits = _scans("train")
        self._svm = SVC(gamma="scale", C=10).fit(_features(scans), digits.numpy())

    def digits(self, channels: Tensor) -> Tensor:
        """uint8 (N, 32, 32) -> digits (N,) on the CPU."""
        return torch.from_numpy(self._svm.predict(_features(channels))).long()

    def modes(self, images: Tensor) -> Tensor:
        """uint8 (N, 3, 32, 32) -> modes (N,) on the CPU: the three digits as one number."""
        digits = self.digits(images.flatten(0, 1)).view(-1, 3)
        return (digits * torch.tensor([100, 10, 1])).sum(dim=1)


def _features(channels: Tensor) -> "np.ndarray[tuple[int, int], np.dtype[np.float32]]":
    return F.avg_pool2d(channels.float().unsqueeze(1) / 255, 4).flatten(1).cpu().numpy()


SPEC = DatasetSpec(
    name="digits",
    title="stacked digits, embedded",
    load=lambda options, split: load_stacked_digits(split),
    image_size=32,
    labels_are_modes=True,
    fixed={"flip": (False, "whose digits change when mirrored")},
    note="Stacked digits are built from the *Optical Recognition of Handwritten Digits* (Alpaydin & Kaynak 1998) in "
    "scikit-learn's copy; the UCI repository publishes them under CC BY 4.0.",
)
