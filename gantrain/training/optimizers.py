"""Adam whose state, learning rate included, lies in tensors that stay where they are."""

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Adam, Optimizer

MOMENTS = ("step", "exp_avg", "exp_avg_sq")


def make_adam(parameters: Iterable[nn.Parameter], rate: float, betas: tuple[float, float]) -> Adam:
    """Fused Adam, with moments from the start and the learning rate as a tensor.

    A step of it can be captured as a CUDA graph; the rate is changed by `scale_learning_rate`.

    Args:
        parameters: on one device.
        rate: the first learning rate.
        betas: β1 and β2.
    """
    parameters = list(parameters)
    device = parameters[0].device
    cuda = device.type == "cuda"
    # The fused kernel of CUDA reads a float32; the CPU's computes with a float64, as with a plain number.
    lr = torch.tensor(rate, dtype=torch.float32 if cuda else torch.float64, device=device)
    optimizer = Adam(parameters, lr, betas, fused=True, capturable=cuda)
    for group in optimizer.param_groups:
        group["first_lr"] = rate
        group["factor"] = 1.0
    for p in parameters:
        optimizer.state[p] = {
            "step": torch.zeros((), dtype=torch.float32, device=device),
            "exp_avg": torch.zeros_like(p, memory_format=torch.preserve_format),
            "exp_avg_sq": torch.zeros_like(p, memory_format=torch.preserve_format),
        }
    return optimizer


def scale_learning_rate(optimizer: Optimizer, factor: float) -> None:
    """Sets the learning rate to `factor` times the first, where it is not so already."""
    for group in optimizer.param_groups:
        if group["factor"] != factor:
            group["factor"] = factor
            group["lr"].fill_(group["first_lr"] * factor)


def learning_rate(optimizer: Optimizer) -> float:
    """The present learning rate, without asking the device."""
    group = optimizer.param_groups[0]
    rate: float = group["first_lr"] * group["factor"]
    return rate


def adam_tensors(optimizer: Optimizer) -> Iterator[tuple[str, Tensor]]:
    """What a step changes beside the parameters, by name."""
    for number, p in enumerate(_parameters(optimizer)):
        for name in MOMENTS:
            yield f"{number}.{name}", optimizer.state[p][name]


def load_adam(optimizer: Optimizer, state: dict[str, Any]) -> None:
    """Copies the moments and step counts of a `state_dict` into place; without them they become 0.

    `Optimizer.load_state_dict` would put other tensors in their place, and the saved hyperparameters with them.
    """
    parameters = _parameters(optimizer)
    saved: dict[int, dict[str, Tensor]] = state["state"]
    if not isinstance(saved, dict) or (saved and len(saved) != len(parameters)):
        raise ValueError(f"moments of {len(saved)} parameters, and there are {len(parameters)}")
    for number, p in enumerate(parameters):
        for name in MOMENTS:
            if saved:
                optimizer.state[p][name].copy_(saved[number][name])
            else:
                optimizer.state[p][name].zero_()


def _parameters(optimizer: Optimizer) -> list[nn.Parameter]:
    return [p for group in optimizer.param_groups for p in group["params"]]
