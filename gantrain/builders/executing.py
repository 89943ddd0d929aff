"""Chooses how the training step runs: executor, memory layout, one batch or two in D."""

import torch

from gantrain.config import Config
from gantrain.system.distributed import SINGLE_PROCESS, Processes
from gantrain.training.executors import CompiledExecutor, CudaGraphExecutor
from gantrain.training.train_step import Executor, TrainStep


def choose_executor(
    config: Config, device: torch.device, processes: Processes = SINGLE_PROCESS
) -> tuple[Executor, str]:
    """The configured executor, or the closest that the device supports, and a description for the log."""
    cuda = device.type == "cuda"
    name = config.executor
    if name == "auto":
        name = "graph" if cuda else "eager"
    reason = {
        "eager": "operation by operation",
        "compiled": "Inductor, compiles for about a minute",
        "graph": "the complete iteration is one CUDA graph",
        "compiled_graph": "the complete iteration is one CUDA graph",
    }[name]
    if "graph" in name and (processes.world_size > 1 or not cuda):
        if processes.world_size > 1:
            reason = f"{processes.world_size} processes communicate during an iteration"
        else:
            reason = f"executor={name} needs a CUDA device"
        name = "eager" if name == "graph" else "compiled"
    executor: Executor = CompiledExecutor() if name.startswith("compiled") else TrainStep.body
    return (CudaGraphExecutor(executor) if "graph" in name else executor), f"{name} ({reason})"


def is_channels_last(config: Config, device: torch.device) -> bool:
    """Whether networks and images are laid out as NHWC.

    The default is True on a CPU for pairs that are faster with it; it has not been measured on GPUs.
    """
    if config.channels_last is not None:
        return config.channels_last
    return device.type == "cpu" and config.model.spec.prefers_channels_last


def is_joint_batch(config: Config, device: torch.device) -> bool:
    """Whether the discriminator processes real and fake images in one batch.

    The default is True where this is faster and changes only rounding: not with spectral norm per forward pass, which
    would do one power iteration less, and not with dropout, which would draw in another order; on a CPU only with
    channels_last.
    """
    if config.joint_batch is not None:
        return config.joint_batch
    model = config.model
    iterates = model.d_norm == "spectral" and model.sn_schedule == "per_forward"
    has_dropout = model.d_dropout > 0 or model.spec.has_dropout
    is_faster = device.type == "cuda" or is_channels_last(config, device)
    return is_faster and not iterates and not has_dropout
