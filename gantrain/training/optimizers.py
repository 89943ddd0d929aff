"""Adam with all state, including the learning rate, in tensors that are updated in place."""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

STATE = ("step", "exp_avg", "exp_avg_sq")
"""Adam's state of a parameter: its updates, and the moments of the gradient."""


def make_adam(parameters: Iterable[nn.Parameter], rate: float, betas: tuple[float, float]) -> Adam:
    """Fused Adam with initialized state and a tensor learning rate.

    Its step can be captured in a CUDA graph; `scale_learning_rate` changes the rate.

    Args:
        parameters: on one device.
        rate: the initial learning rate.
        betas: β1 and β2.
    """
    parameters = list(parameters)
    device = parameters[0].device
    cuda = device.type == "cuda"
    # CUDA's fused kernel reads the rate as float32; the CPU's computes with float64, as with a Python number.
    lr = torch.tensor(rate, dtype=torch.float32 if cuda else torch.float64, device=device)
    optimizer = Adam(parameters, lr, betas, fused=True, capturable=cuda)
    for group in optimizer.param_groups:
        group["initial_lr"] = rate
        group["factor"] = 1.0
    for p in parameters:
        optimizer.state[p] = {
            "step": torch.zeros((), dtype=torch.float32, device=device),
            "exp_avg": torch.zeros_like(p, memory_format=torch.preserve_format),
            "exp_avg_sq": torch.zeros_like(p, memory_format=torch.preserve_format),
        }
    return optimizer


def scale_learning_rate(optimizer: Optimizer, factor: float) -> None:
    """Sets the learning rate to `factor` times the initial one."""
    for group in optimizer.param_groups:
        if group["factor"] != factor:
            group["factor"] = factor
            group["lr"].fill_(group["initial_lr"] * factor)


def learning_rate(optimizer: Optimizer) -> float:
    """The current learning rate, without reading it from the device."""
    group = optimizer.param_groups[0]
    rate: float = group["initial_lr"] * group["factor"]
    return rate


def parameters_of(optimizer: Optimizer) -> list[nn.Parameter]:
    """Parameters of the optimizer."""
    return [p for group in optimizer.param_groups for p in group["params"]]


def adam_tensors(optimizer: Optimizer) -> Iterator[tuple[str, Tensor]]:
    """Tensors besides the parameters that a step changes, by name."""
    for number, p in enumerate(parameters_of(optimizer)):
        for name in STATE:
            yield f"{number}.{name}", optimizer.state[p][name]


def load_adam(optimizer: Optimizer, state: dict[str, Any]) -> None:
    """Copies the moments and step counts of a `state_dict` into place; sets them to 0 if it has none.

    `Optimizer.load_state_dict` would replace the tensors, and the hyperparameters with the saved ones.

    Raises:
        ValueError: they belong to other parameters.
    """
    parameters = parameters_of(optimizer)
    saved: dict[int, dict[str, Tensor]] = state["state"]
    if not isinstance(saved, dict) or (saved and len(saved) != len(parameters)):
        raise ValueError(f"moments of {len(saved)} parameters, but there are {len(parameters)}")
    for number, p in enumerate(parameters):
        for name in STATE:
            if saved:
                optimizer.state[p][name].copy_(saved[number][name])
            else:
                optimizer.state[p][name].zero_()
