"""Batch norm (over parts of a batch and over processes), virtual batch norm, and the choice of a norm by name."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

NORMS = ("batch", "layer", "instance", "virtual", "none")
"""Names that `make_norm` accepts."""


class BatchNorm2d(nn.BatchNorm2d):
    """`nn.BatchNorm2d` (Ioffe & Szegedy 2015) that can normalize parts of a batch separately, or over processes.

    With the defaults it computes exactly what `nn.BatchNorm2d` does; with the same names of parameters and buffers.

    Attributes:
        parts: number of equal parts of a training batch that are normalized by their own statistics, as if each part
            were a batch; running statistics are updated part by part. One pass over real and fake images is then
            the same function as two passes. See `in_parts`.
        process_group: processes that compute statistics together, with equally many examples each; None for this
            process only. See `synchronize`.
    """

    parts: int = 1
    process_group: "dist.ProcessGroup | None" = None

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102 - as nn.BatchNorm2d
        if not self.training or (self.parts == 1 and self.process_group is None):
            return super().forward(x)
        assert len(x) % self.parts == 0, f"{len(x)} examples cannot be split into {self.parts} equal parts"
        assert self.momentum is not None, "a cumulative average would synchronize with the device"
        assert self.num_batches_tracked is not None, "running statistics are required"
        self.num_batches_tracked.add_(self.parts)
        if self.process_group is not None:
            return self._over_processes(x, self.process_group, self.momentum)
        return torch.cat(
            [
                F.batch_norm(
                    part, self.running_mean, self.running_var, self.weight, self.bias, True, self.momentum, self.eps
                )
                for part in x.chunk(self.parts)
            ]
        )

    def _over_processes(self, x: Tensor, group: "dist.ProcessGroup", momentum: float) -> Tensor:
        """Normalizes by float32 mean and variance over all processes; squares are taken around the common mean."""
        processes = dist.get_world_size(group)
        parts = x.float().unflatten(0, (self.parts, -1))
        pixels = (1, 3, 4)
        mean = _AllReduce.apply(parts.mean(pixels), group) / processes
        centered = parts - mean[:, None, :, None, None]
        variance = _AllReduce.apply(centered.square().mean(pixels), group) / processes
        self._track(mean.detach(), variance.detach(), processes * parts[0].numel() // x.shape[1], momentum)
        scale = (variance + self.eps).rsqrt()
        if self.affine:
            scale = scale * self.weight
        normal: Tensor = (centered * scale[:, None, :, None, None]).flatten(0, 1)
        if self.affine:
            normal = normal + self.bias[:, None, None]
        return normal.to(x.dtype)

    def _track(self, mean: Tensor, variance: Tensor, count: int, momentum: float) -> None:
        """Updates running statistics by mean and biased variance (parts, C) of `count` values per channel."""
        assert self.running_mean is not None
        assert self.running_var is not None
        unbiased = variance * (count / (count - 1))
        for k in range(self.parts):
            self.running_mean.lerp_(mean[k], momentum)
            self.running_var.lerp_(unbiased[k], momentum)

    def __getstate__(self) -> dict[str, Any]:
        """Copies, such as the EMA, have no process group: it cannot be copied, and eval mode does not use it."""
        return vars(self) | {"process_group": None}


class _AllReduce(torch.autograd.Function):
    """Sum over processes, differentiable to any order; the gradient is the sum of all processes' gradients."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, group: "dist.ProcessGroup") -> Tensor:
        ctx.group = group
        total = x.contiguous().clone()
        dist.all_reduce(total, group=group)
        return total

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return _AllReduce.apply(gradient, ctx.group), None


@contextmanager
def in_parts(network: nn.Module, parts: int) -> Iterator[None]:
    """Within the context, every `BatchNorm2d` of the network normalizes `parts` equal parts of a batch separately."""
    layers = [layer for layer in network.modules() if isinstance(layer, BatchNorm2d)]
    before = [layer.parts for layer in layers]
    for layer in layers:
        layer.parts = parts
    try:
        yield
    finally:
        for layer, count in zip(layers, before, strict=True):
            layer.parts = count


def synchronize(network: nn.Module, group: "dist.ProcessGroup | None") -> int:
    """Sets the process group over which every `BatchNorm2d` computes its statistics; None for this process only.

    Losses must then be summed or averaged over processes, since each example affects the outputs of all processes.

    Returns:
        The number of such layers.
    """
    layers = [layer for layer in network.modules() if isinstance(layer, BatchNorm2d)]
    for layer in layers:
        layer.process_group = group
    return len(layers)


class VirtualBatchNorm2d(nn.Module):
    """Normalizes each example by the statistics of a reference batch and itself (Salimans et al. 2016, §3.4).

    The first `reference_size` examples of a batch are the reference, which is normalized by its own statistics. Every
    other example is normalized together with the reference, so its output does not depend on the rest of its batch.
    """

    def __init__(self, channels: int, reference_size: int, eps: float = 1e-5) -> None:
        """Expects inputs (reference_size + N, C, H, W), as `Network` prepares them."""
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.reference_size = reference_size
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """(reference_size + N, C, H, W) -> the same shape."""
        x32 = x.float()
        own_variance, own_mean = torch.var_mean(x32, dim=(2, 3), correction=0)
        of_reference = slice(self.reference_size)
        spread, mean = torch.var_mean(own_mean[of_reference], dim=0, correction=0)
        variance = own_variance[of_reference].mean(dim=0) + spread
        share = torch.full((x.shape[0], 1), 1 / (self.reference_size + 1), device=x.device)
        share[of_reference] = 0  # the reference is normalized without other examples
        between = share * (1 - share) * (own_mean - mean).square()
        variance = torch.lerp(variance.expand_as(own_mean), own_variance, share) + between
        mean = torch.lerp(mean.expand_as(own_mean), own_mean, share)
        scale = self.weight * (variance + self.eps).rsqrt()
        shift = self.bias - mean * scale
        return torch.addcmul(shift[:, :, None, None], x32, scale[:, :, None, None]).to(x.dtype)


def make_norm(kind: str, channels: int, *, reference_size: int = 0) -> nn.Module:
    """Makes a normalization by name, with a gain and a bias for each channel; `none` is the identity.

    `layer` normalizes each example over channels and pixels (Ba et al. 2016), `instance` each channel of an example
    over pixels (Ulyanov et al. 2016).
    """
    if kind == "batch":
        return BatchNorm2d(channels)
    if kind == "layer":
        return nn.GroupNorm(1, channels)
    if kind == "instance":
        return nn.GroupNorm(channels, channels)
    if kind == "virtual":
        return VirtualBatchNorm2d(channels, reference_size)
    assert kind == "none", kind
    return nn.Identity()
