"""Quality and variety told apart by nearest neighbors: precision and recall, density and coverage."""

import torch
from torch import Tensor
from torch_fidelity.metric_prc import KEY_METRIC_PRECISION, KEY_METRIC_RECALL, prc_features_to_metric

from gantrain.data import DataError

PRC_NEIGHBOUR = 3  # of Kynkäänniemi et al. 2019, and torch-fidelity's default
DENSITY_NEIGHBOUR = 5  # of Naeem et al. 2020
WHOLE = 10_000  # images up to which torch-fidelity holds the whole matrix of distances, as it does by default
CHUNK = 2048


def precision_and_recall(features: Tensor, reference: Tensor) -> tuple[float, float]:
    """Improved precision and recall (Kynkäänniemi et al. 2019, eq. 1, 2) of features (N, D) against (M, D).

    Precision is the share of generated images within the third-neighbor ball of a real one, recall the share of real
    images within that of a generated one. Computed by torch-fidelity.

    Raises:
        DataError: there are too few images for a third neighbor.
    """
    _check_count(min(len(features), len(reference)), PRC_NEIGHBOUR, "precision and recall")
    found = prc_features_to_metric(
        features.cpu(),  # its neighbors are sorted there
        reference.cpu(),
        prc_neighborhood=PRC_NEIGHBOUR,
        save_cpu_ram=max(len(features), len(reference)) > WHOLE,
        verbose=False,
    )
    return float(found[KEY_METRIC_PRECISION]), float(found[KEY_METRIC_RECALL])


def density_and_coverage(features: Tensor, reference: Tensor, k: int = DENSITY_NEIGHBOUR) -> tuple[Tensor, Tensor]:
    """Density and coverage (Naeem et al. 2020, eq. 3, 4) of features (N, D) against (M, D), image by image.

    Returns:
        Of each generated image the number of real k-neighbor balls that hold it over k, (N,), whose mean is density;
        of each real image whether its ball holds a generated one, (M,), whose mean is coverage; float64, on the CPU.

    Raises:
        DataError: there are too few real images for a k-th neighbor.
    """
    _check_count(len(reference), k, "density and coverage")
    inside = torch.zeros(len(features), dtype=torch.float64, device=features.device)
    reached = []
    for part in reference.split(CHUNK):
        radius = torch.cdist(part, reference).kthvalue(k + 1, dim=1, keepdim=True).values  # the first is itself
        within = torch.cdist(part, features) < radius
        inside += within.sum(dim=0)
        reached.append(within.any(dim=1))
    return (inside / k).cpu(), torch.cat(reached).double().cpu()


def _check_count(images: int, neighbor: int, who: str) -> None:
    if images <= neighbor:
        raise DataError(
            f"{who} look for neighbor {neighbor} among the images, and there are {images}: take at least "
            f"{neighbor + 1} samples and real images, or leave them out of the metrics"
        )
