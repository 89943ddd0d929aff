"""Which classes of a labelled data set a generator shows, and how evenly, read from Inception features."""

import torch
from torch import Tensor

RIDGE = 1e-2  # of the features' mean variance
HELD_OUT = 5  # every fifth reference image tells how good the classifier is


class FeatureClassifier:
    """Ridge regression from features to one-hot classes: closed form, the same for every run of a reference.

    Attributes:
        accuracy: share of right answers on the fifth of the reference that it has not seen.
    """

    def __init__(self, features: Tensor, labels: Tensor) -> None:
        """Fits features (N, D) with labels (N,) of at least two classes."""
        labels = labels.cpu()
        self._count = int(labels.max()) + 1
        held_out = torch.arange(len(labels)) % HELD_OUT == HELD_OUT - 1
        self._shares = torch.bincount(labels, minlength=self._count).double() / len(labels)
        x, y = features[~held_out].double(), labels[~held_out]
        self._mean = x.mean(dim=0)
        x = x - self._mean
        targets = torch.nn.functional.one_hot(y, self._count).double()
        self._offset = targets.mean(dim=0)
        gram = x.T @ x
        gram.diagonal().add_(RIDGE * gram.diagonal().mean())
        self._weights = torch.linalg.solve(gram, x.T @ (targets - self._offset))
        self.accuracy = float((self.classes(features[held_out]) == labels[held_out]).double().mean())

    def classes(self, features: Tensor) -> Tensor:
        """Features (N, D) -> classes (N,), on the CPU."""
        scores: Tensor = (features.double().cpu() - self._mean) @ self._weights + self._offset
        return scores.argmax(dim=1)

    def figures(self, features: Tensor, labels: Tensor | None) -> dict[str, float]:
        """Of features (N, D) of generated images.

        Returns:
            `classes`, how many are shown at least once in a thousand times their real share; `classes_kl`,
            KL(generated shares ‖ real shares) in nats; with the labels (N,) that were asked for
            `class_accuracy`, the share of images that show theirs.
        """
        found = self.classes(features)
        counts = torch.bincount(found, minlength=self._count).double()
        shares = counts / counts.sum()
        shown = shares > self._shares / 1000
        present = (counts > 0) & (self._shares > 0)
        kl = (shares[present] * (shares[present] / self._shares[present]).log()).sum()
        figures = {"classes": float(shown.sum()), "classes_kl": float(kl)}
        if labels is not None:
            figures["class_accuracy"] = float((found == labels.cpu()).double().mean())
        return figures
