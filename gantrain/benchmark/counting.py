"""What an iteration is made of: operators, waits for the device, kernels, floating-point operations."""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch._C._autograd import DeviceType
from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook
from torch.profiler import ProfilerActivity, profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from gantrain.networks import NetworkPair
from gantrain.objectives import Objective

SCALAR_READ = torch.ops.aten._local_scalar_dense.default
TO_COPY, COPY_INTO = torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default
PROFILED = 3
"""Iterations under the profiler."""


@dataclass(slots=True)
class Operators:
    """What one call gave to the dispatcher.

    Attributes:
        count: aten operators, views among them.
        waits: of them, those that make the host wait for the device: scalars read, copies to the host. On a CPU every
            scalar read counts, as it would where the networks were on a GPU.
        flops: floating-point operations of convolutions and matrix products; a multiply-add is two.
    """

    count: int = 0
    waits: int = 0
    flops: int = 0


class _Count(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found = Operators()
        self.updating = False

    def begin_update(self, *_: object) -> None:
        """An optimizer's step begins: the scalars that it reads are its own counters, which lie on the host."""
        self.updating = True

    def end_update(self, *_: object) -> None:
        """It is over."""
        self.updating = False

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        self.found.count += 1
        self.found.waits += not self.updating and _waits(func, args, kwargs)
        return func(*args, **kwargs)


def _waits(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bool:
    if func is SCALAR_READ:
        return True
    if func is TO_COPY:
        target = kwargs.get("device")
        return args[0].is_cuda and target is not None and torch.device(target).type == "cpu"
    if func is COPY_INTO:
        return bool(args[1].is_cuda and not args[0].is_cuda and not kwargs.get("non_blocking", False))
    return False


def operators_of(work: Callable[[], object]) -> Operators:
    """What one call gives to the dispatcher, backward passes included."""
    with FlopCounterMode(display=False) as flops, _Count() as counted:
        hooks = [
            register_optimizer_step_pre_hook(counted.begin_update),
            register_optimizer_step_post_hook(counted.end_update),
        ]
        try:
            work()
        finally:
            for hook in hooks:
                hook.remove()
    found: Operators = counted.found
    found.flops = int(flops.get_total_flops())
    return found


def kernels_of(work: Callable[[], object], device: torch.device) -> float | None:
    """Kernels that one call starts on a GPU, those of replayed graphs included; None on a CPU.

    Copies and fills of memory are no kernels.
    """
    if device.type != "cuda":
        return None
    torch.cuda.synchronize(device)
    with profile(activities=[ProfilerActivity.CUDA, ProfilerActivity.CPU], acc_events=True) as profiler:
        for _ in range(PROFILED):
            work()
        torch.cuda.synchronize(device)
    kernels = [
        event
        for event in profiler.events() or []
        if event.device_type == DeviceType.CUDA
        and not getattr(event, "is_user_annotation", False)
        and not event.name.startswith(("Memcpy", "Memset", "Optimizer.", "ProfilerStep"))
    ]
    return len(kernels) / PROFILED


def iteration_flops(
    networks: NetworkPair, objective: Objective, *, batch_size: int, d_steps: int, image_size: int
) -> int:
    """Floating-point operations that k discriminator steps and one generator step cannot do without.

    Each discriminator step draws fakes without their graph and passes D forward and backward over real and fake images;
    the generator step spares the gradients of D's weights. Counted on PyTorch's device `meta`, which computes nothing;
    norms, activations, optimizers and spectral norm's power iteration are not part of it.
    """
    generator = copy.deepcopy(networks.generator).to("meta").train()
    discriminator = copy.deepcopy(networks.discriminator).to("meta").train()
    real = torch.empty(batch_size, 3, image_size, image_size, device="meta")
    z = torch.empty(batch_size, networks.latent_dim, device="meta")

    def discriminator_step() -> None:
        with torch.no_grad():
            fake: Tensor = generator(z)
        objective.discriminator_loss(discriminator(real), discriminator(fake)).backward()

    def generator_step() -> None:
        discriminator.requires_grad_(False)
        objective.generator_loss(discriminator(generator(z))).backward()

    with FlopCounterMode(display=False) as of_d:
        discriminator_step()
    with FlopCounterMode(display=False) as of_g:
        generator_step()
    return int(d_steps * of_d.get_total_flops() + of_g.get_total_flops())
