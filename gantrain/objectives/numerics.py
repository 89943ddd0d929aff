"""Elementary functions, accurate over the full range of a float, with accurate gradients."""

from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor


def softplus(x: Tensor) -> Tensor:
    """log(1 + e^x), accurate to rounding for every x (`F.softplus` returns x above 20)."""
    return -F.logsigmoid(-x)


class _ExpSoftplus(torch.autograd.Function):
    """y = e^x·log(1 + e^{-x}), which tends to 1 for large x; dy/dx = y - σ(x)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        inner = x.clamp(max=30)
        y = torch.where(x > 30, 1 - (-x).exp() / 2, inner.exp() * softplus(-inner))
        ctx.save_for_backward(x, y)
        return y

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        x, y = ctx.saved_tensors
        return grad_outputs[0] * (y - torch.sigmoid(x))


def exp_softplus(x: Tensor) -> Tensor:
    """e^x·log(1 + e^{-x}), finite for every x; differentiable any number of times."""
    return cast(Tensor, _ExpSoftplus.apply(x))


class _Expm1Over(torch.autograd.Function):
    """(e^{order·x} - 1)/order with derivative e^{order·x}; autograd would divide by order first and overflow."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, order: float) -> Tensor:
        ctx.save_for_backward(x)
        ctx.order = order
        return torch.expm1(order * x) / order

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        (x,) = ctx.saved_tensors
        return grad_outputs[0] * (ctx.order * x).exp(), None


def expm1_over(order: float, x: Tensor) -> Tensor:
    """(e^{order·x} - 1)/order, or its limit x at order = 0; differentiable any number of times."""
    return x if order == 0 else cast(Tensor, _Expm1Over.apply(x, order))


def expm1(x: Tensor) -> Tensor:
    """e^x - 1 with derivative e^x; `torch.expm1`'s gradient is its result + 1, which is 0 in float32 below -17."""
    return expm1_over(1.0, x)


class _JeffreysLogRatio(torch.autograd.Function):
    """The solution x of x + 1 - e^{-x} = v: x = v - 1 + ω(1 - v) with Wright's omega function."""

    @staticmethod
    def forward(ctx: Any, v: Tensor) -> Tensor:
        # With l = -x this is e^l + l = y, convex and increasing. Newton's method from the right of the root
        # converges monotonically, and six steps reach float64 rounding.
        y = 1 - v
        root = torch.where(y < 1, y, y.clamp(min=1).log())
        for _ in range(6):
            exp_root = root.exp()
            root = root - (exp_root + root - y) / (exp_root + 1)
        x = -root
        ctx.save_for_backward(x)
        return x

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Any) -> Any:
        (x,) = ctx.saved_tensors
        return grad_outputs[0] * torch.sigmoid(x)


def jeffreys_log_ratio(v: Tensor) -> Tensor:
    """Log r where f'(r) = v for f(u) = (u - 1) log u; differentiable any number of times."""
    return cast(Tensor, _JeffreysLogRatio.apply(v))
