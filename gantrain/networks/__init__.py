"""Generators and discriminators. Each pair is a module with a `NetworkSpec`, listed in registry.py."""

from gantrain.networks.conditional import Network
from gantrain.networks.layers import count_parameters, sample_latent, to_channels_last
from gantrain.networks.normalization import in_parts, synchronize
from gantrain.networks.registry import (
    NETWORKS,
    NetworkPair,
    build_pair,
    find_network,
    make_networks,
    register_network,
)
from gantrain.networks.spec import NetworkOptions, NetworkSpec, Target
from gantrain.networks.spectral import power_iterate, shared_spectral_norm

__all__ = [
    "NETWORKS",
    "Network",
    "NetworkOptions",
    "NetworkPair",
    "NetworkSpec",
    "Target",
    "build_pair",
    "count_parameters",
    "find_network",
    "in_parts",
    "make_networks",
    "power_iterate",
    "register_network",
    "sample_latent",
    "shared_spectral_norm",
    "synchronize",
    "to_channels_last",
]
