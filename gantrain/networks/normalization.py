"""Normalizations: by the statistics of a batch, of a reference batch, of an example or of one of its channels."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch import Tensor, nn

NORMS = ("batch", "layer", "instance", "virtual", "none")
"""Names that `make_norm` knows."""


class BatchNorm2d(nn.BatchNorm2d):
    """`nn.BatchNorm2d` (Ioffe & Szegedy 2015) whose statistics in training may be of parts of a batch, or of processes.

    With its defaults it is `nn.BatchNorm2d` to the bit; parameters, buffers and their names always are.

    Attributes:
        parts: a batch is this many equal batches in a row, each normalized by its own statistics as if it came alone;
            the running statistics take them in order. One pass over real and fake images is then the same
            function as two. See `in_parts`.
        process_group: the processes over which statistics are taken, each with equally many examples; None is this
            one alone. See `synchronize`.
    """

    parts: int = 1
    process_group: "dist.ProcessGroup | None" = None

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102 - as nn.BatchNorm2d
        if not self.training or (self.parts == 1 and self.process_group is None):
            return super().forward(x)
        assert len(x) % self.parts == 0, f"{len(x)} examples are no {self.parts} equal parts"
        assert self.momentum is not None, "a cumulative average would wait for the device"
        assert self.num_batches_tracked is not None, "running statistics are kept"
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
        """By mean and variance in float32 over all processes, the variance around the mean that all of them share."""
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
        """The running statistics after parts (parts, C) of `count` values a channel; the variance gets unbiased."""
        assert self.running_mean is not None
        assert self.running_var is not None
        unbiased = variance * (count / (count - 1))
        for k in range(self.parts):
            self.running_mean.lerp_(mean[k], momentum)
            self.running_var.lerp_(unbiased[k], momentum)

    def __getstate__(self) -> dict[str, Any]:
        """For copies, such as the EMA's: a process group cannot be copied, and eval mode reads none."""
        return vars(self) | {"process_group": None}


class _AllReduce(torch.autograd.Function):
    """The sum over processes; its gradient is the sum of all processes' gradients, to any order."""

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
    """Inside, a training batch of the network is `parts` equal batches in a row to each `BatchNorm2d`."""
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
    """Has every `BatchNorm2d` take its statistics over the group's processes, or over its own again for None.

    Losses are then to be summed (or averaged) over processes: a gradient holds what an example does to the others'.

    Returns:
        How many layers there are.
    """
    layers = [layer for layer in network.modules() if isinstance(layer, BatchNorm2d)]
    for layer in layers:
        layer.process_group = group
    return len(layers)


class VirtualBatchNorm2d(nn.Module):
    """Normalizes by a reference batch joined with each example's own pixels (Salimans et al. 2016, §3.4).

    The first `reference_size` examples of a batch are the reference: they are normalized by their own statistics,
    and every other example by those of the reference and itself, weighed reference_size : 1. An example's
    output thus does not depend on the rest of its batch.
    """

    def __init__(self, channels: int, reference_size: int, eps: float = 1e-5) -> None:
        """Takes (reference_size + N, C, H, W), as `Network` prepares it."""
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
        share[of_reference] = 0  # the reference knows itself only
        apart = share * (1 - share) * (own_mean - mean).square()
        variance = torch.lerp(variance.expand_as(own_mean), own_variance, share) + apart
        mean = torch.lerp(mean.expand_as(own_mean), own_mean, share)
        scale = self.weight * (variance + self.eps).rsqrt()
        shift = self.bias - mean * scale
        return torch.addcmul(shift[:, :, None, None], x32, scale[:, :, None, None]).to(x.dtype)


def make_norm(kind: str, channels: int, *, reference_size: int = 0) -> nn.Module:
    """The normalization of that name, each with a gain and a bias a channel; `none` is the identity.

    `layer` normalizes over channels and pixels of an example (Ba et al. 2016), `instance` over the pixels of
    a channel of an example (Ulyanov et al. 2016).
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
