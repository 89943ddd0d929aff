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
    """Parametrization W -> W/σ with σ = uᵀWv; gradients flow through σ, with u and v constant.

    W (outputs, ...) is viewed as a matrix (outputs, inputs·kernel²). Buffers are named as in PyTorch's class, so that
    checkpoints of both schedules are interchangeable.

    Attributes:
        shared: W/σ within `shared_spectral_norm`.
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
    """PyTorch's class without autocast, which on CUDA computes u, v and σ in bfloat16 with a relative error of 2⁻⁹."""

    def forward(self, weight: Tensor) -> Tensor:
        with _no_autocast(weight.device.type):
            return super().forward(weight)


def add_spectral_norm(module: nn.Module, schedule: str = "per_forward") -> None:
    """Divides every convolution's and linear layer's weight by its largest singular value.

    Args:
        module: the network; u and v of each layer are drawn from the global RNG, then iterated 15 times.
        schedule: when u, v and W/σ are updated: per_forward or per_step.
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

    Does not synchronize with the device; other networks are unchanged. Graphs of earlier forward passes can no longer
    be differentiated, so call it before the forward passes of an iteration.
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
    """Within the context, every layer normalized `per_step` uses the W/σ computed on entry.

    All forward passes share one division, whose gradient is computed once for their sum. Weights must not change within
    the context, and freezing must happen before it. Has no effect on networks without such layers.
    """
    layers = _layers(network)
    before = [norm.shared for norm, _ in layers]
    try:
        with torch.enable_grad():  # the first forward pass may be one without gradients
            for norm, weight in layers:
                norm.shared = norm(weight)
        yield
    finally:
        for (norm, _), shared in zip(layers, before, strict=True):
            norm.shared = shared


def _no_autocast(device_type: str) -> AbstractContextManager[Any]:
    """Disables autocast; the meta device has none."""
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
