"""Networks in channels_last compute the same values and keep the format."""

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gantrain.networks import NetworkPair, make_networks, to_channels_last

LAST = torch.channels_last
PAIRS: dict[str, dict[str, Any]] = {
    "dcgan at 64": {"name": "dcgan", "image_size": 64},
    "sngan per step": {"name": "sngan", "sn_schedule": "per_step"},
    "sngan with batch norm": {"name": "sngan", "d_norm": "batch"},
    "projection": {"name": "resnet", "labels": "projection", "classes": 3},
    "acgan": {"name": "dcgan", "d_norm": "batch", "labels": "acgan", "classes": 3, "g_labels": "embedding"},
    "virtual": {"name": "dcgan", "d_norm": "virtual", "g_norm": "virtual", "virtual_reference": 3},
    "virtual resnet": {"name": "resnet", "d_norm": "none", "g_norm": "virtual", "virtual_reference": 3},
    "layer": {"name": "dcgan", "d_norm": "layer", "g_norm": "layer"},
    "instance": {"name": "sngan", "d_norm": "instance", "g_norm": "instance"},
    "poole": {"name": "poole", "d_norm": "none"},
}


def pair_of(name: str, **options: Any) -> NetworkPair:
    torch.manual_seed(0)
    pair = make_networks(name, width=8, latent_dim=8, **options)
    for network in (pair.generator, getattr(pair.discriminator, "features", None)):
        if getattr(network, "reference_size", 0):
            network.reference.copy_(torch.randn_like(network.reference))
    for layer in pair.discriminator.modules():
        if isinstance(layer, nn.Dropout):
            layer.p = 0.0  # masks are drawn in the order of memory
    return pair


def outputs_and_gradients(pair: NetworkPair, z: Tensor, labels: Tensor | None) -> list[Tensor]:
    """Of images, logits, class scores, and every parameter, in double precision."""
    given = () if labels is None else (labels,)
    images = pair.generator(z, *given)
    found = pair.discriminator(images, *given)
    outputs = [images, *(found if labels is not None else (found,))]
    sum((output * torch.linspace(-1, 1, output.numel()).view(output.shape)).sum() for output in outputs).backward()
    parameters = [*pair.generator.parameters(), *pair.discriminator.parameters()]
    return [*outputs, *(parameter.grad for parameter in parameters if parameter.grad is not None)]


@pytest.mark.parametrize("which", PAIRS)
def test_outputs_and_gradients_equal_those_of_the_contiguous_format(which: str) -> None:
    pair = pair_of(**PAIRS[which])
    for network in (pair.generator, pair.discriminator):
        network.double()
    other = copy.deepcopy(pair)
    for network in (other.generator, other.discriminator):
        to_channels_last(network)
    z = torch.randn(4, 8, dtype=torch.float64)
    labels = torch.tensor([0, 2, 1, 2]) if pair.classes else None
    wanted, found = (outputs_and_gradients(networks, z, labels) for networks in (pair, other))
    assert len(found) == len(wanted) > 10
    atol, rtol = (1e-4, 1e-3) if "virtual" in which else (1e-9, 1e-7)  # virtual batch norm computes in float32
    torch.testing.assert_close(found, wanted, atol=atol, rtol=rtol)


def activations(network: nn.Module, *given: Tensor) -> list[tuple[str, Tensor]]:
    """Outputs of layers with more than one pixel and channel; others have every format at once."""
    found: list[tuple[str, Tensor]] = []
    hooks = [
        layer.register_forward_hook(lambda _, __, out, name=name: found.append((name, out)))
        for name, layer in network.named_modules()
        if not isinstance(layer, nn.utils.parametrize.ParametrizationList) and "parametrizations" not in name
    ]
    network(*given)
    for hook in hooks:
        hook.remove()
    return [(n, x) for n, x in found if isinstance(x, Tensor) and x.dim() == 4 and x.shape[2] > 1 and x.shape[1] > 1]


@pytest.mark.parametrize("which", PAIRS)
def test_every_activation_and_those_of_copies_are_channels_last(which: str) -> None:
    pair = pair_of(**PAIRS[which])
    labels = (torch.tensor([0, 2, 1, 2]),) if pair.classes else ()
    z, images = torch.randn(4, 8), torch.randn(4, 3, *[PAIRS[which].get("image_size", 32)] * 2)
    seen = activations(pair.generator, z, *labels)
    assert all(x.is_contiguous() for _, x in seen)
    for network in (pair.generator, pair.discriminator):
        to_channels_last(network)
        copied = copy.deepcopy(network)  # the EMA
        inputs = z if network is pair.generator else images.to(memory_format=LAST)
        for one in (network, copied):
            seen = activations(one, inputs, *labels)
            assert len(seen) >= 5
            assert not [name for name, x in seen if not x.is_contiguous(memory_format=LAST)]


def test_a_state_loads_into_either_format_and_keeps_it() -> None:
    plain, last = (pair_of("sngan").discriminator.eval() for _ in range(2))
    to_channels_last(last)
    last.load_state_dict(plain.state_dict())
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(last(images.to(memory_format=LAST)), plain(images), atol=1e-5, rtol=1e-4)
    assert last.features[2].weight.is_contiguous(memory_format=LAST)
    plain.load_state_dict(last.state_dict())
    assert plain.features[2].weight.is_contiguous()
