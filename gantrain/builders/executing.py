"""Which way an iteration runs, and why."""

import torch

from gantrain.config import Config
from gantrain.processes import ALONE, Processes
from gantrain.training.executors import Compiled, Graphed
from gantrain.training.iteration import Executor, eagerly


def choose_executor(config: Config, device: torch.device, processes: Processes = ALONE) -> tuple[Executor, str]:
    """The executor that the configuration asks for where the device has it, and words that say which and why."""
    asked = config.executor
    cuda = device.type == "cuda"
    name = ("graph" if cuda else "eager") if asked == "auto" else asked
    if processes.count > 1 and "graph" in name:
        name = "eager" if name == "graph" else "compiled"
        why = f"{processes.count} processes speak with each other in the midst of an iteration"
    elif not cuda and name in ("graph", "compiled_graph"):
        name = "eager" if name == "graph" else "compiled"
        why = f"executor={asked} needs a CUDA device"
    else:
        why = "the whole iteration is one CUDA graph" if "graph" in name else "operation by operation"
        why = "by Inductor, about a minute of compiling" if name == "compiled" else why
    executor: Executor = Compiled() if name.startswith("compiled") else eagerly
    return (Graphed(executor) if "graph" in name else executor), f"{name} ({why})"


def judges_jointly(config: Config, device: torch.device) -> bool:
    """Whether D sees real and fake images in one batch.

    By itself only where that changes no more than rounding: spectral norm of the published schedule goes on by one
    power iteration a forward pass, and dropout draws in another order.
    """
    if config.joint_batch is not None:
        return config.joint_batch
    model = config.model
    iterates = model.d_norm == "spectral" and model.sn_schedule == "per_forward"
    drops = model.d_dropout > 0 or model.name == "poole"
    return device.type == "cuda" and not iterates and not drops
