"""Fully connected networks for points in the plane."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

from torch import Tensor, nn

from gantrain.networks.spec import NetworkOptions, NetworkSpec, Target
from gantrain.options import option


@dataclass(kw_only=True)
class MlpOptions(NetworkOptions):
    """Options of `model=mlp`, whose networks have no normalization but spectral norm."""

    d_norm: str = option("none", "normalization in the discriminator: none or spectral")
    g_norm: str = option("none", "normalization in the generator: none")


def _layers(inputs: int, width: int, outputs: int, activation: Callable[[], nn.Module]) -> list[nn.Module]:
    """Three hidden layers and a linear output."""
    layers: list[nn.Module] = []
    for before, after in pairwise([inputs, width, width, width]):
        layers += [nn.Linear(before, after), activation()]
    return [*layers, nn.Linear(width, outputs)]


class MlpDiscriminator(nn.Module):
    """Maps points (N, 2) to logits (N,), with leaky ReLUs."""

    def __init__(self, width: int) -> None:
        """`width` is the number of units in each hidden layer."""
        super().__init__()
        self.layers = nn.Sequential(*_layers(2, width, 1, lambda: nn.LeakyReLU(0.2)))

    def forward(self, points: Tensor) -> Tensor:
        """(N, 2) -> (N,)."""
        logits: Tensor = self.layers(points)
        return logits.flatten()


def build_mlp(options: NetworkOptions, target: Target) -> tuple[nn.Module, nn.Module]:
    """The pair with He's normal weights, N(0, 2 / inputs) (He et al. 2015), and PyTorch's default biases."""
    generator = nn.Sequential(*_layers(options.latent_dim, options.width, 2, nn.ReLU))
    pair = generator, MlpDiscriminator(options.discriminator_width)
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
