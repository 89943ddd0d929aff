"""Arguments of a training step besides the networks and the objective."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch.optim import Optimizer

from gantrain.data import BatchSampler
from gantrain.system.distributed import SINGLE_PROCESS, Processes
from gantrain.training.ema import Ema
from gantrain.training.regularizers import Regularizer
from gantrain.training.schedules import DiscriminatorSteps
from gantrain.training.tricks import Trick


@dataclass(frozen=True, slots=True)
class Optimizers:
    """Adam of either network (`make_adam`), the largest norm of a gradient (0: no limit) and the generator's EMA."""

    generator: Optimizer
    discriminator: Optimizer
    grad_clip_norm: float = 0.0
    ema: Ema | None = None


@dataclass(frozen=True, slots=True)
class DataSources:
    """Sources of examples and random numbers, all on one device.

    Attributes:
        batches: real examples, with labels if the networks read them.
        latents: generator for z and for the labels of fakes.
        draws: generator for all other random numbers: augmentation, noise, penalties, history.
    """

    batches: BatchSampler
    latents: torch.Generator
    draws: torch.Generator


@dataclass(frozen=True, slots=True)
class ClassLoss:
    """Weights of AC-GAN's classification loss in the losses of D and G (Odena et al. 2016, arXiv:1610.09585)."""

    weight_d: float
    weight_g: float


@dataclass(frozen=True, slots=True, kw_only=True)
class StepOptions:
    """Options of a training step.

    Attributes:
        d_steps: discriminator steps before each generator step.
        regularizers: constraints on the discriminator, in the order in which their penalties are added.
        tricks: in the order in which they are applied.
        class_loss: AC-GAN's loss; None without AC-GAN.
        reuse_fakes: whether the generator step uses the fakes of the last discriminator step instead of new
            ones.
        bf16: whether the networks run under bfloat16 autocast.
        joint: whether D processes real and fake images in one batch, with separate batch norm statistics for each half.
        processes: those that train together, each with its rows of every batch.
        buffer_size: largest number of iterations before the buffer is cleared.
    """

    d_steps: DiscriminatorSteps = DiscriminatorSteps(1)
    regularizers: Sequence[Regularizer] = ()
    tricks: Sequence[Trick] = ()
    class_loss: ClassLoss | None = None
    reuse_fakes: bool = False
    bf16: bool = False
    joint: bool = False
    processes: Processes = SINGLE_PROCESS
    buffer_size: int = 1
