"""Spectral norm per step against singular values, and against the published method where both agree."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.nn.utils.parametrizations import spectral_norm
from torch.utils._python_dispatch import TorchDispatchMode

from gantrain.networks import make_networks, power_iterate, shared_spectral_norm
from gantrain.networks.spectral import SCHEDULES, SpectralNorm, add_spectral_norm


def discriminator(schedule: str, name: str = "sngan", **options: Any) -> nn.Module:
    torch.manual_seed(0)
    return make_networks(name, width=4, latent_dim=8, d_norm="spectral", sn_schedule=schedule, **options).discriminator


def layers_of(network: nn.Module) -> list[nn.Module]:
    return [layer for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.Linear)]


def gradients(network: nn.Module) -> list[Tensor]:
    return [parameter.grad.clone() for parameter in network.parameters()]


def small() -> nn.Sequential:
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(3, 5, 3), nn.ReLU(), nn.Flatten(), nn.Linear(20, 2))
    add_spectral_norm(network, "per_step")
    return network


def test_per_forward_equals_pytorchs() -> None:
    ours = discriminator("per_forward")
    torch.manual_seed(0)
    theirs = make_networks("sngan", width=4, latent_dim=8, d_norm="none").discriminator
    for layer in layers_of(theirs):
        spectral_norm(layer)
    x = torch.randn(2, 3, 32, 32)
    for _ in range(2):
        assert torch.equal(ours(x), theirs(x))
    power_iterate(ours)  # nothing to do
    with shared_spectral_norm(ours):
        for _ in range(2):
            assert torch.equal(ours(x), theirs(x))  # and nothing is shared


@pytest.mark.parametrize("name", ["dcgan", "resnet", "poole", "mlp"])
def test_both_schedules_have_the_same_state_and_power_iteration(name: str) -> None:
    forward, step = (discriminator(schedule, name) for schedule in ("per_forward", "per_step"))
    assert list(forward.state_dict()) == list(step.state_dict())
    for key, tensor in forward.state_dict().items():
        assert torch.equal(tensor, step.state_dict()[key]), key  # they start from the same weights, u and v
    x = torch.randn(3, 2) if name == "mlp" else torch.randn(3, 3, 32, 32)
    assert torch.equal(forward.eval()(x), step.eval()(x))
    forward.train()(x)  # one power iteration
    power_iterate(step)
    torch.testing.assert_close(step.state_dict(), forward.state_dict(), rtol=1e-5, atol=1e-6)
    step.load_state_dict(forward.state_dict())
    assert torch.equal(forward.eval()(x), step(x))


def test_power_iteration_converges_to_the_largest_singular_value() -> None:
    network = discriminator("per_step", labels="projection", classes=7)
    for _ in range(300):
        power_iterate(network)
    layers = layers_of(network)
    assert len(layers) == 9  # the class scores too
    for layer in layers:
        weight = layer.weight.detach().double().numpy()
        assert np.linalg.svd(weight.reshape(len(weight), -1), compute_uv=False)[0] == pytest.approx(1, rel=1e-4)


def test_power_iteration_of_zero_weights_stays_finite() -> None:
    network = small()
    nn.init.zeros_(layers_of(network)[1].parametrizations.weight.original)
    power_iterate(network)
    assert all(bool(tensor.isfinite().all()) for tensor in network.state_dict().values())


@pytest.mark.parametrize("training", [True, False])
def test_a_forward_pass_changes_no_buffer(training: bool) -> None:
    network = small().train(training)
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    network(torch.randn(2, 3, 4, 4))
    with shared_spectral_norm(network):
        network(torch.randn(2, 3, 4, 4))
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def two_passes(network: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    return (network(fake) - network(real)).exp().mean()


def gradient_penalty(network: nn.Module, real: Tensor, fake: Tensor) -> Tensor:
    """Double backward, in addition to two passes."""
    images = torch.lerp(real, fake, 0.3).requires_grad_()
    (of_images,) = torch.autograd.grad(network(images).sum(), images, create_graph=True)
    return two_passes(network, real, fake) + (of_images.flatten(1).norm(dim=1) - 1).square().mean()


@pytest.mark.parametrize("loss", [two_passes, gradient_penalty])
def test_sharing_the_weights_changes_no_gradient(loss: Callable[[nn.Module, Tensor, Tensor], Tensor]) -> None:
    network = discriminator("per_step").double()
    real, fake = torch.randn(2, 3, 3, 32, 32, dtype=torch.float64)
    power_iterate(network)
    loss(network, real, fake).backward()
    wanted = gradients(network)
    network.zero_grad()
    with shared_spectral_norm(network):
        with torch.no_grad():
            network(real)  # the shared weights still have gradients
        loss(network, real, fake).backward()
    torch.testing.assert_close(gradients(network), wanted)
    # The published method in eval mode neither iterates nor shares: the same function.
    published = discriminator("per_forward").double().eval()
    published.load_state_dict(network.state_dict())
    loss(published, real, fake).backward()
    torch.testing.assert_close(gradients(published), wanted)


def test_weights_are_normalized_once_on_entry() -> None:
    network = small()
    x = torch.randn(2, 3, 4, 4)
    layer = layers_of(network)[0]
    with shared_spectral_norm(network):
        first = layer.weight
        with shared_spectral_norm(network):
            assert layer.weight is first
        assert layer.weight is first
        network(x).sum().backward()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.sub_(parameter.grad)
    with shared_spectral_norm(network):
        chain = layer.parametrizations.weight
        sigma = chain[0]._u @ chain.original.flatten(1) @ chain[0]._v
        torch.testing.assert_close(layer.weight, chain.original / sigma)
        assert (layer.weight - first).abs().max().item() > 1e-3
    with pytest.raises(RuntimeError, match="boom"), shared_spectral_norm(network):
        raise RuntimeError("boom")
    assert all(layer.shared is None for layer in network.modules() if isinstance(layer, SpectralNorm))


def test_a_frozen_discriminator_shares_the_normalized_weights() -> None:
    network = small().requires_grad_(False)
    x = torch.randn(2, 3, 4, 4, requires_grad=True)
    with shared_spectral_norm(network):
        shared = layers_of(network)[0].weight
        assert shared is layers_of(network)[0].weight
        assert not shared.requires_grad
        network(x).sum().backward()
    assert x.grad is not None


def test_normalized_weights_are_float32_under_autocast_on_the_cpu() -> None:
    network = small()
    wanted = layers_of(network)[0].weight
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(layers_of(network)[0].weight, wanted)
        with shared_spectral_norm(network):
            assert torch.equal(layers_of(network)[0].weight, wanted)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_no_product_is_in_bfloat16_under_autocast_on_cuda(schedule: str) -> None:
    """CUDA's autocast casts matrix-vector products, the CPU's does not; fake tensors show it without a GPU."""
    kinds: list[torch.dtype] = []

    class Watched(TorchDispatchMode):
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            found = func(*args, **(kwargs or {}))
            if func in (torch.ops.aten.mv.default, torch.ops.aten.dot.default):
                kinds.append(found.dtype)
            return found

    before = torch.is_autocast_enabled("cuda"), torch.get_autocast_dtype("cuda")
    with FakeTensorMode():
        layer = nn.Linear(4, 3, device="cuda")
        add_spectral_norm(layer, schedule)
        try:
            torch.set_autocast_enabled("cuda", True)  # torch.autocast would not where there is no GPU
            torch.set_autocast_dtype("cuda", torch.bfloat16)
            with Watched():
                assert layer(torch.ones(2, 4, device="cuda")).dtype == torch.bfloat16
        finally:
            torch.set_autocast_enabled("cuda", before[0])
            torch.set_autocast_dtype("cuda", before[1])
    assert kinds
    assert set(kinds) == {torch.float32}


# PyTorch looks at .grad of the shared weights and silences its own warning, which is an error here.
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
def test_sharing_compiles_into_one_graph() -> None:
    network = small()
    x = torch.randn(2, 3, 4, 4)

    def loss() -> Tensor:
        with shared_spectral_norm(network):
            return network(x).sum() + network(2 * x).square().sum()

    loss().backward()
    wanted = gradients(network)
    network.zero_grad()
    torch.compile(loss, backend="aot_eager", fullgraph=True)().backward()
    torch.testing.assert_close(gradients(network), wanted)
    network.zero_grad()
    compiled = torch.compile(network, backend="aot_eager", fullgraph=True)
    with shared_spectral_norm(network):
        (compiled(x).sum() + compiled(2 * x).square().sum()).backward()
    torch.testing.assert_close(gradients(network), wanted)
