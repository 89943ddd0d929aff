"""Fully connected networks for points in the plane."""

from itertools import pairwise

from torch import Tensor, nn

LAYERS = 3  # hidden ones, in either network
POINT = 2


def init_he_(network: nn.Module) -> None:
    """Weights N(0, 2 / inputs), which keeps signals in size (He et al. 2015), biases PyTorch's; from the global RNG."""
    for layer in network.modules():
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_normal_(layer.weight)


def mlp_generator(width: int, latent_dim: int) -> nn.Sequential:
    """Z (N, latent_dim) -> points (N, 2), through ReLUs."""
    sizes = [latent_dim, *[width] * LAYERS]
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(width, POINT))


class MlpDiscriminator(nn.Module):
    """Points (N, 2) -> logits (N,), through leaky ReLUs."""

    def __init__(self, width: int) -> None:
        """`width` units a hidden layer."""
        super().__init__()
        sizes = [POINT, *[width] * LAYERS]
        layers: list[nn.Module] = []
        for before, after in pairwise(sizes):
            layers += [nn.Linear(before, after), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, nn.Linear(width, 1))

    def forward(self, points: Tensor) -> Tensor:
        """(N, 2) -> (N,)."""
        logits: Tensor = self.layers(points)
        return logits.flatten()
