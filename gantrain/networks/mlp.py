"""Fully connected networks for points in the plane."""

from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor, nn

from gantrain.networks.spec import NetworkOptions, NetworkSpec, Target
from gantrain.options import option

HIDDEN_LAYERS = 3
POINT_SIZE = 2


@dataclass(kw_only=True)
class MlpOptions(NetworkOptions):
    """Options of `model=mlp`, whose networks have no normalization but spectral norm."""

    d_norm: str = option("none", "normalization in the discriminator: none or spectral")
    g_norm: str = option("none", "normalization in the generator: none")


def mlp_generator(width: int, latent_dim: int) -> nn.Sequential:
    """Maps z (N, latent_dim) to points (N, 2), with ReLUs."""
    layers: list[nn.Module] = []
    for before, after in pairwise([latent_dim, *[width] * HIDDEN_LAYERS]):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(width, POINT_SIZE))


class MlpDiscriminator(nn.Module):
    """Maps points (N, 2) to logits (N,), with leaky ReLUs."""

    def __init__(self, width: int) -> None:
        """`width` is the number of units in each hidden layer."""
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in pairwise([POINT_SIZE, *[width] * HIDDEN_LAYERS]):
            layers += [nn.Linear(before, after), nn.LeakyReLU(0.2)]
        self.layers = nn.Sequential(*layers, nn.Linear(width, 1))

    def forward(self, points: Tensor) -> Tensor:
        """(N, 2) -> (N,)."""
        logits: Tensor = self.layers(points)
        return logits.flatten()


def build_mlp(options: NetworkOptions, target: Target) -> tuple[nn.Module, nn.Module]:
    """The pair with He's normal weights, N(0, 2 / inputs) (He et al. 2015), and PyTorch's default biases."""
    pair = mlp_generator(options.width, options.latent_dim), MlpDiscriminator(options.discriminator_width)
    for network in pair:
        for layer in network.modules():
            if isinstance(layer, nn.Linear):
                nn.init.kaiming_normal_(layer.weight)
    return pair


MLP = NetworkSpec(
    name="mlp",
    title="fully connected, for points",
    build=build_mlp,
    options=MlpOptions,
    image_range=None,
    d_norms=("none", "spectral"),
    g_norms=("none",),
)
