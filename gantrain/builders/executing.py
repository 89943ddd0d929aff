"""Which way an iteration runs, and why."""

import torch

from gantrain.config import Config
from gantrain.distributed import SINGLE_PROCESS, Processes
from gantrain.training.executors import CompiledExecutor, CudaGraphExecutor
from gantrain.training.train_step import Executor, run_eager


def choose_executor(
    config: Config, device: torch.device, processes: Processes = SINGLE_PROCESS
) -> tuple[Executor, str]:
    """The executor that the configuration asks for where the device has it, and words that say which and why."""
    asked = config.executor
    cuda = device.type == "cuda"
    name = ("graph" if cuda else "eager") if asked == "auto" else asked
    if processes.world_size > 1 and "graph" in name:
        name = "eager" if name == "graph" else "compiled"
        why = f"{processes.world_size} processes speak with each other in the midst of an iteration"
    elif not cuda and name in ("graph", "compiled_graph"):
        name = "eager" if name == "graph" else "compiled"
        why = f"executor={asked} needs a CUDA device"
    else:
        why = "the whole iteration is one CUDA graph" if "graph" in name else "operation by operation"
        why = "by Inductor, about a minute of compiling" if name == "compiled" else why
    executor: Executor = CompiledExecutor() if name.startswith("compiled") else run_eager
    return (CudaGraphExecutor(executor) if "graph" in name else executor), f"{name} ({why})"


def is_channels_last(config: Config, device: torch.device) -> bool:
    """Whether networks and images are laid out as NHWC.

    By default on a CPU, for the pairs that were measured to be faster; on a GPU nothing has been measured.
    """
    if config.channels_last is not None:
        return config.channels_last
    return device.type == "cpu" and config.model.spec.prefers_channels_last


def judges_jointly(config: Config, device: torch.device) -> bool:
    """Whether D sees real and fake images in one batch.

    By itself only where that changes no more than rounding: spectral norm of the published schedule goes on by one
    power iteration a forward pass, and dropout draws in another order. On a CPU it pays in channels_last.
    """
    if config.joint_batch is not None:
        return config.joint_batch
    model = config.model
    iterates = model.d_norm == "spectral" and model.sn_schedule == "per_forward"
    drops = model.d_dropout > 0 or model.spec.has_dropout
    pays = device.type == "cuda" or is_channels_last(config, device)
    return pays and not iterates and not drops
