"""The interface of a trick."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gantrain.system.distributed import SINGLE_PROCESS, Processes

Decision = Hashable
"""What a trick decides on the host before an iteration, see `Trick.prepare`."""

Note = Callable[[str, Tensor], None]
"""Logs a named scalar of the current iteration."""


@dataclass(frozen=True, slots=True)
class TrickSetup:
    """Properties of the run that tricks are built with.

    Attributes:
        device: device of training.
        steps: generator steps of the run.
        batch_size: real images of a discriminator step, over all processes.
        example_shape: of one image (3, H, W) or point (2,).
        image_range: of the images; None for points.
        labeled: whether the networks read labels.
        boundary: the logit between "real" and "fake" under the objective; None where its sign has no meaning.
        processes: the processes that train together.
    """

    device: torch.device
    steps: int
    batch_size: int
    example_shape: tuple[int, ...]
    image_range: tuple[float, float] | None
    labeled: bool = False
    boundary: float | None = None
    processes: Processes = SINGLE_PROCESS


class Trick:
    """Base class: changes nothing.

    `prepare` and `finish` run on the host around each iteration. All other methods run inside it and may be captured
    in a CUDA graph: they work on tensors that stay in place, and their only input from the host is what `prepare`
    returned. Random numbers come from the generator `draws`, through `gantrain.system.distributed.rand` and the like.

    Attributes:
        name: key of its state in checkpoints.
    """

    name = ""

    def prepare(self, step: int, epoch: int) -> Decision:
        """Decides what the next iteration does, after `step` generator steps in `epoch` (from 0).

        Each distinct value needs its own CUDA graph, so there should be few. A number that changes at every step
        belongs in a tensor that this method fills.
        """
        return None

    @property
    def is_capturable(self) -> bool:
        """Whether the next iteration can be captured and replayed; False if its operations change each time."""
        return True

    def augment_inputs(self, images: Tensor, draws: torch.Generator, decision: Decision) -> Tensor:
        """Transforms images (N, 3, H, W), real or fake, before D sees them, in the steps of both networks."""
        return images

    def replace_fakes(
        self, fake: Tensor, labels: Tensor | None, draws: torch.Generator, d_step: int, decision: Decision
    ) -> tuple[Tensor, Tensor | None]:
        """The fakes (N, 3, H, W) and labels (N,) that discriminator step `d_step` of the iteration learns from."""
        return fake, labels

    def select_fakes(
        self, fake_logits: Tensor, real_logits: Tensor | None, decision: Decision
    ) -> tuple[Tensor, Tensor | None]:
        """The logits (N,) of fakes that the generator learns from, and of real images if its loss needs them."""
        return fake_logits, real_logits

    def after_discriminator_update(self, real_logits: Tensor, note: Note) -> None:
        """Receives the logits (N,) of the real images of all processes; may log scalars."""

    def finish(self, d_steps: int) -> None:
        """Called after an iteration with that many discriminator steps."""

    def tensors(self) -> dict[str, Tensor]:
        """The tensors that an iteration changes, by name."""
        return {}

    def state_dict(self) -> dict[str, Any]:
        """State for a checkpoint: `tensors` by default."""
        return dict(self.tensors())

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restores the state in place."""
        for name, tensor in self.tensors().items():
            tensor.copy_(state[name])


class TrickOptions:
    """Base class of option dataclasses."""

    __slots__ = ()

    def build(self, setup: TrickSetup) -> Trick | None:
        """The trick; None if it is off."""
        raise NotImplementedError
