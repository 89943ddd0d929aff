"""Spectral norm (Miyato et al. 2018, arXiv:1802.05957): weights W/σ(W), with σ by power iteration.

`per_forward` is the published method, PyTorch's own: every forward pass in training mode does one power iteration of
every layer and divides its weight by σ. With `per_step` the training step does both: it calls `power_iterate` once per
iteration and `shared_spectral_norm` around the forward passes between two updates.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import _SpectralNorm
from torch.nn.utils.parametrize import register_parametrization

SCHEDULES = ("per_forward", "per_step")


class SpectralNorm(nn.Module):
    """W -> W/σ with σ = uᵀWv, as a parametrization; gradients pass through σ, to u and v held fixed.

    W (outputs, ...) is read as the matrix (outputs, inputs·kernel²). Buffers have the names of PyTorch's, so that a
    checkpoint of either schedule fits the other.

    Attributes:
        shared: W/σ while `shared_spectral_norm` holds it.
    """

    _u: Tensor
    _v: Tensor

    def __init__(self, u: Tensor, v: Tensor) -> None:
        """Vectors of length 1: u (outputs,), v (inputs·kernel²,)."""
        super().__init__()
        self.register_buffer("_u", u)
        self.register_buffer("_v", v)
        self.shared: Tensor | None = None

    def forward(self, weight: Tensor) -> Tensor:
        """(outputs, ...) -> the same shape, in float32 under autocast too."""
        if self.shared is not None:
            return self.shared
        with _no_autocast(weight.device.type):
            return weight / torch.dot(self._u, torch.mv(weight.flatten(1), self._v))


class _InFloat32(_SpectralNorm):
    """PyTorch's class without autocast, which on CUDA would compute u, v and σ in bfloat16, with an error of 2⁻⁹."""

    def forward(self, weight: Tensor) -> Tensor:
        with _no_autocast(weight.device.type):
            return super().forward(weight)


def add_spectral_norm(module: nn.Module, schedule: str = "per_forward") -> None:
    """Divides every convolution's and linear layer's weight by its largest singular value.

    Args:
        module: its layers' u and v are drawn from the global RNG and then iterated 15 times, alike in both schedules.
        schedule: when u and v move on and W/σ is computed: per_forward or per_step.
    """
    assert schedule in SCHEDULES, schedule
    for layer in list(module.modules()):
        if isinstance(layer, nn.Conv2d | nn.Linear):
            register_parametrization(layer, "weight", _InFloat32(layer.weight))
            if schedule == "per_step":
                chain = layer.get_submodule("parametrizations.weight")
                drawn = dict(chain.named_buffers())
                chain.register_module("0", SpectralNorm(drawn["0._u"], drawn["0._v"]))


@torch.no_grad()
def power_iterate(network: nn.Module, eps: float = 1e-12) -> None:
    """One power iteration of every layer normalized `per_step`: u <- Wv/|Wv|, then v <- Wᵀu/|Wᵀu|, in place.

    Nothing is read back from the device, and nothing happens to other networks. A graph of an earlier forward can no
    longer be differentiated: call it before the forwards of an iteration.
    """
    layers = _layers(network)
    if not layers:
        return
    matrices = [weight.flatten(1) for _, weight in layers]
    u, v = [norm._u for norm, _ in layers], [norm._v for norm, _ in layers]
    for matrix, into, other in zip(matrices, u, v, strict=True):
        torch.mv(matrix, other, out=into)
    _to_length_1(u, eps)
    for matrix, into, other in zip(matrices, v, u, strict=True):
        torch.mv(matrix.T, other, out=into)
    _to_length_1(v, eps)


@contextmanager
def shared_spectral_norm(network: nn.Module) -> Iterator[None]:
    """Inside, W/σ of every layer normalized `per_step` is the one computed on entry.

    All forwards inside then share one division, and its gradient is computed once for the sum of theirs. Weights must
    not change inside; whether gradients reach them is decided on entry (freeze them before). Does nothing to
    networks without such layers.
    """
    layers = _layers(network)
    before = [norm.shared for norm, _ in layers]
    try:
        with torch.enable_grad():  # the first forward inside may be one without gradients
            for norm, weight in layers:
                norm.shared = norm(weight)
        yield
    finally:
        for (norm, _), shared in zip(layers, before, strict=True):
            norm.shared = shared


def _no_autocast(device_type: str) -> AbstractContextManager[Any]:
    """Turns autocast off; device meta has no autocast."""
    return nullcontext() if device_type == "meta" else torch.autocast(device_type, enabled=False)


def _layers(network: nn.Module) -> list[tuple[SpectralNorm, Tensor]]:
    """Layers normalized per_step with their raw weights."""
    found = []
    for layer in network.modules():
        if isinstance(layer, nn.utils.parametrize.ParametrizationList) and isinstance(layer[0], SpectralNorm):
            found.append((layer[0], layer.original))
    return found


def _to_length_1(vectors: list[Tensor], eps: float) -> None:
    lengths = torch._foreach_norm(vectors)
    torch._foreach_clamp_min_(lengths, eps)
    torch._foreach_div_(vectors, lengths)
