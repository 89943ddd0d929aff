"""Normalizations against their definitions, and batch norm in parts and over processes against separate batches."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from gantrain.networks import in_parts, make_networks, power_iterate, shared_spectral_norm, synchronize
from gantrain.networks.conditional import ConditionalBatchNorm2d
from gantrain.networks.normalization import BatchNorm2d, VirtualBatchNorm2d, make_norm


def normalized(x: Tensor, dims: tuple[int, ...], of: Tensor | None = None) -> Tensor:
    """X by mean and biased variance over these dimensions, of another batch if given."""
    of = x if of is None else of
    mean, variance = of.mean(dim=dims, keepdim=True), of.var(dim=dims, keepdim=True, unbiased=False)
    return (x - mean) / (variance + 1e-5).sqrt()


@pytest.mark.parametrize(("norm", "dims"), [("layer", (1, 2, 3)), ("instance", (2, 3))])
def test_layer_and_instance_norm_match_their_definition(norm: str, dims: tuple[int, ...]) -> None:
    x = 3 * torch.randn(2, 4, 5, 5) + 1
    torch.testing.assert_close(make_norm(norm, 4)(x), normalized(x, dims), atol=1e-5, rtol=1e-5)


def test_virtual_batch_norm_counts_an_example_as_one_more_of_the_reference() -> None:
    torch.manual_seed(0)
    reference, x = torch.randn(3, 2, 4, 4) + 1, 5 * torch.randn(2, 2, 4, 4)
    norm = VirtualBatchNorm2d(2, 3)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    wanted = [normalized(reference, (0, 2, 3))]
    wanted += [normalized(one, (0, 2, 3), torch.cat((reference, one))) for one in x.split(1)]
    affine = torch.cat(wanted) * norm.weight.view(1, 2, 1, 1) + norm.bias.view(1, 2, 1, 1)
    torch.testing.assert_close(norm(torch.cat((reference, x))), affine, atol=1e-5, rtol=1e-5)


def test_virtual_batch_norm_is_accurate_for_a_large_mean() -> None:
    x = torch.randn(5, 2, 6, 6, generator=torch.Generator().manual_seed(0)) * 0.05 + 300
    norm = VirtualBatchNorm2d(2, 3)
    wanted = norm.double()(x.double())
    torch.testing.assert_close(norm.float()(x).double(), wanted, atol=5e-3, rtol=5e-3)


def test_conditional_batch_norm_has_a_gain_and_a_bias_for_each_class() -> None:
    torch.manual_seed(0)
    norm = ConditionalBatchNorm2d(2, 3)
    nn.init.normal_(norm.gain.weight)
    nn.init.normal_(norm.bias.weight)
    x, labels = torch.randn(4, 2, 3, 3) * 2 + 1, torch.tensor([0, 2, 2, 1])
    gain, bias = (table.weight[labels][:, :, None, None] for table in (norm.gain, norm.bias))
    torch.testing.assert_close(norm(x, labels), normalized(x, (0, 2, 3)) * gain + bias, atol=1e-5, rtol=1e-5)


def peers(channels: int = 4, **options: Any) -> tuple[BatchNorm2d, nn.BatchNorm2d]:
    """Ours and PyTorch's with the same random gains, biases and running statistics."""
    torch.manual_seed(0)
    ours, peer = BatchNorm2d(channels, **options), nn.BatchNorm2d(channels, **options)
    for tensor in (*ours.parameters(), ours.running_mean, ours.running_var):
        nn.init.uniform_(tensor, 0.5, 2.0)
    peer.load_state_dict(ours.state_dict())
    return ours, peer


def assert_same_state(ours: nn.Module, peer: nn.Module, **tolerance: float) -> None:
    state = ours.state_dict()
    assert list(state) == list(peer.state_dict())
    for name, wanted in peer.state_dict().items():
        torch.testing.assert_close(state[name], wanted, **tolerance, msg=name)


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("affine", [True, False])
def test_batch_norm_of_one_part_equals_pytorchs(training: bool, affine: bool) -> None:
    ours, peer = (norm.train(training) for norm in peers(affine=affine))
    x = torch.randn(6, 4, 5, 5)
    assert torch.equal(ours(x), peer(x))
    assert_same_state(ours, peer, atol=0, rtol=0)


@pytest.mark.parametrize("parts", [2, 3])
@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_parts_are_separate_batches(parts: int, memory_format: torch.memory_format) -> None:
    ours, peer = peers()
    shifts = torch.arange(6.0).view(6, 1, 1, 1)  # the parts differ
    x = (torch.randn(6, 4, 5, 5) + shifts).to(memory_format=memory_format).requires_grad_()
    ahead = torch.randn(6, 4, 5, 5)
    with in_parts(ours, parts):
        found = ours(x)
    wanted = torch.cat([peer(part) for part in x.chunk(parts)])
    torch.testing.assert_close(found, wanted)
    assert found.is_contiguous(memory_format=memory_format)
    for a, b in zip(
        torch.autograd.grad(found, [x, *ours.parameters()], ahead),
        torch.autograd.grad(wanted, [x, *peer.parameters()], ahead),
        strict=True,
    ):
        torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)
    assert_same_state(ours, peer)
    assert int(ours.num_batches_tracked) == parts
    assert (found - nn.BatchNorm2d(4)(x)).abs().max().item() > 0.1  # one batch is something else


def test_parts_are_reset_after_the_context_and_after_an_error() -> None:
    norm = nn.Sequential(ConditionalBatchNorm2d(2, 3), BatchNorm2d(2))
    layers = [layer for layer in norm.modules() if isinstance(layer, BatchNorm2d)]
    with in_parts(norm, 2):
        assert [layer.parts for layer in layers] == [2, 2]
        with in_parts(norm, 3):
            assert [layer.parts for layer in layers] == [3, 3]
        with pytest.raises(AssertionError, match="5 examples cannot be split into 2 equal parts"):
            norm[1](torch.randn(5, 2, 3, 3))
        assert [layer.parts for layer in layers] == [2, 2]
    assert [layer.parts for layer in layers] == [1, 1]


@pytest.mark.parametrize("side", ["generator", "discriminator"])
def test_one_pass_over_two_batches_equals_two_passes(side: str) -> None:
    """Real and fake through the discriminator at once; two batches of z with labels through the generator."""
    torch.manual_seed(0)
    labeled = side == "generator"
    kind = "projection" if labeled else "none"
    network = getattr(make_networks("dcgan", width=4, latent_dim=8, d_norm="batch", labels=kind, classes=3), side)
    twin = copy.deepcopy(network)
    batches = torch.randn(2, 4, 8) if labeled else torch.randn(2, 4, 3, 32, 32) + torch.ones(2, 1, 1, 1, 1)
    inputs = (batches, torch.randint(3, (2, 4))) if labeled else (batches,)
    with in_parts(network, 2):
        found = network(*(tensor.flatten(0, 1) for tensor in inputs))
    wanted = torch.cat([twin(*(tensor[k] for tensor in inputs)) for k in range(2)])
    torch.testing.assert_close(found, wanted, atol=1e-5, rtol=1e-5)
    ahead = torch.randn_like(found)
    found.backward(ahead)
    wanted.backward(ahead)
    for (name, ours), peer in zip(network.named_parameters(), twin.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, peer.grad, atol=1e-4, rtol=1e-4, msg=name)
    assert_same_state(network, twin, atol=1e-5, rtol=1e-5)


class HostReads(TorchDispatchMode):
    """Fails on operations that wait for a device, which a CUDA graph cannot capture."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert func.overloadpacket not in (torch.ops.aten._local_scalar_dense, torch.ops.aten.nonzero), func
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("d_norm", ["batch", "spectral"])
def test_batch_and_spectral_norm_never_wait_for_the_device(d_norm: str) -> None:
    schedule = "per_step" if d_norm == "spectral" else "per_forward"
    network = make_networks("dcgan", width=4, latent_dim=8, d_norm=d_norm, sn_schedule=schedule).discriminator
    with HostReads():
        power_iterate(network)
        with in_parts(network, 2), shared_spectral_norm(network):
            network(torch.randn(4, 3, 32, 32)).sum().backward()
        with pytest.raises(AssertionError, match="_local_scalar_dense"):
            float(network.logit.bias.detach())


def test_parts_compile_into_one_graph() -> None:
    ours, peer = peers()
    compiled = torch.compile(ours, backend="aot_eager", fullgraph=True)
    x = torch.randn(4, 4, 3, 3)
    with in_parts(ours, 2):
        found = compiled(x)
    torch.testing.assert_close(found, torch.cat([peer(x[:2]), peer(x[2:])]))
    assert_same_state(ours, peer)


PROCESSES = 2


def normalize_in_one_process(rank: int, folder: Path, parts: int, affine: bool) -> None:
    """Normalizes this process's rows of each part and saves the results."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=PROCESSES)
    try:
        ours, _ = peers(affine=affine)
        assert synchronize(nn.Sequential(ours, nn.ReLU()), dist.group.WORLD) == 1
        given = torch.load(folder / "given.pt")
        x, ahead = (share_of(given[name], rank, parts).requires_grad_(name == "x") for name in ("x", "ahead"))
        with in_parts(ours, parts):
            found = ours(x)
        gradients = torch.autograd.grad(found, [x, *ours.parameters()], ahead)
        twin = copy.deepcopy(ours).eval()  # as the EMA does
        assert twin.process_group is None
        twin(x)
        assert synchronize(ours, None) == 1
        state = {name: tensor.clone() for name, tensor in ours.state_dict().items()}
        ours(x[:2])  # on its own again: nobody else takes part
        torch.save({"found": found.detach(), "gradients": gradients, "state": state}, folder / f"{rank}.pt")
    finally:
        dist.destroy_process_group()


def share_of(x: Tensor, rank: int, parts: int) -> Tensor:
    """The rows (parts·B, ...) of one process out of (parts·PROCESSES·B, ...)."""
    return x.unflatten(0, (parts, PROCESSES, -1))[:, rank].flatten(0, 1).contiguous()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("parts", "affine"),
    [
        pytest.param(1, True, marks=pytest.mark.exhaustive),
        (2, True),
        pytest.param(1, False, marks=pytest.mark.exhaustive),
    ],
)
def test_two_processes_normalize_like_one_process(tmp_path: Path, parts: int, affine: bool) -> None:
    _, peer = peers(affine=affine)
    # A mean far from 0 shows whether squares are taken around it.
    x, ahead = torch.randn(8, 4, 3, 3) + 10 * torch.arange(8.0).view(8, 1, 1, 1) + 50, torch.randn(8, 4, 3, 3)
    torch.save({"x": x, "ahead": ahead}, tmp_path / "given.pt")
    torch.multiprocessing.spawn(normalize_in_one_process, (tmp_path, parts, affine), nprocs=PROCESSES)
    x.requires_grad_()
    wanted = torch.cat([peer(part) for part in x.chunk(parts)])
    of_x, *of_weights = torch.autograd.grad(wanted, [x, *peer.parameters()], ahead)
    results = [torch.load(tmp_path / f"{rank}.pt") for rank in range(PROCESSES)]
    for rank, result in enumerate(results):
        torch.testing.assert_close(result["found"], share_of(wanted.detach(), rank, parts), atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(result["gradients"][0], share_of(of_x, rank, parts), atol=1e-5, rtol=1e-5)
        for name, tensor in peer.state_dict().items():
            torch.testing.assert_close(result["state"][name], tensor, atol=1e-5, rtol=1e-5)
    for k, gradient in enumerate(of_weights):
        summed = results[0]["gradients"][1 + k] + results[1]["gradients"][1 + k]
        torch.testing.assert_close(summed, gradient, atol=1e-5, rtol=1e-5)
