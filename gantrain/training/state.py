"""The state of a training step in a checkpoint: networks, optimizers, order of the data and random numbers."""

import logging
from typing import Any

import torch

from gantrain.training.checkpoint import load_network
from gantrain.training.optimizers import load_adam
from gantrain.training.train_step import TrainStep

RNG = ("rng_cpu", "rng_cuda")
"""Keys for the states of the default generators, which dropout uses."""

log = logging.getLogger(__name__)


def training_state(train_step: TrainStep) -> dict[str, Any]:
    """Everything that later steps depend on; all processes call it together."""
    state = {
        "step": train_step.step,
        "generator": train_step.networks.generator.state_dict(),
        "discriminator": train_step.networks.discriminator.state_dict(),
        "optimizer_g": train_step.optimizer_g.state_dict(),
        "optimizer_d": train_step.optimizer_d.state_dict(),
        "batches": train_step.batches.state_dict(),
        "train_step": train_step.state_dict(),
        "rng_cpu": torch.get_rng_state(),
    }
    if train_step.ema is not None:
        state |= {"ema": train_step.ema.network.state_dict(), "ema_updates": train_step.ema.updates}
    if train_step.device.type == "cuda":
        state["rng_cuda"] = torch.cuda.get_rng_state(train_step.device)
    if train_step.processes.world_size > 1:  # each draws its own dropout
        state["rng_of_ranks"] = train_step.processes.gather_objects({key: state[key] for key in RNG if key in state})
    return state


def load_training_state(train_step: TrainStep, state: dict[str, Any], *, seed: int) -> None:
    """Restores what `training_state` returned.

    Args:
        train_step: receives it, in place.
        state: of the same configuration; the device and the number of processes may differ.
        seed: of the run, for what cannot continue exactly.

    Raises:
        LookupError, RuntimeError, TypeError, ValueError: it belongs to another configuration.
    """
    load_network(train_step.networks.generator, state["generator"], "the generator")
    load_network(train_step.networks.discriminator, state["discriminator"], "the discriminator")
    load_adam(train_step.optimizer_g, state["optimizer_g"])
    load_adam(train_step.optimizer_d, state["optimizer_d"])
    train_step.batches.load_state_dict(state["batches"])
    if not train_step.load_state_dict(state["train_step"], step=state["step"]):
        log.warning(
            "the run was trained on another kind of device: it continues with the same networks and data order, "
            "but with new random numbers for z, flips and dropout"
        )
    if train_step.ema is not None:
        load_network(train_step.ema.network, state["ema"], "the EMA")
        train_step.ema.updates = state["ema_updates"]
    processes = train_step.processes
    of_ranks = state.get("rng_of_ranks", [{key: state[key] for key in RNG if key in state}])
    if len(of_ranks) != processes.world_size:
        log.warning(
            "the run was trained by %d processes and continues with %d: batches and networks are the same up to "
            "rounding, dropout draws new random numbers",
            len(of_ranks),
            processes.world_size,
        )
        torch.manual_seed(processes.rank_seed(seed, train_step.step))
        return
    own = of_ranks[processes.rank]
    torch.set_rng_state(own["rng_cpu"])
    if train_step.device.type == "cuda" and "rng_cuda" in own:
        torch.cuda.set_rng_state(own["rng_cuda"], train_step.device)
