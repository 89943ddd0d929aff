"""Runs: from a checked configuration to the printed results."""

import contextlib
import logging
from functools import partial
from pathlib import Path
from typing import Any

import torch

from gantrain.builders.data import check_classes, load_data, prepare_data
from gantrain.builders.device import arithmetic, make_device, peak_memory, reset_peak_memory
from gantrain.builders.measuring import build_metrics, find_weights
from gantrain.builders.tensorboard_page import write_introduction
from gantrain.builders.training import build_trainer
from gantrain.config import (
    MAY_CHANGE_ON_RESUME,
    Config,
    ConfigError,
    flatten,
    from_dict,
    printable,
    to_dict,
)
from gantrain.data import PointSet
from gantrain.objectives import divergence_names
from gantrain.run_io.metrics_jsonl import METRICS
from gantrain.run_io.run_folder import ANIMATION, RunFolder, check_free, check_free_space
from gantrain.run_io.silent_folder import SilentFolder
from gantrain.run_io.status import FAILED
from gantrain.system.distributed import Processes, broadcast_task, current_processes, receive_task
from gantrain.training.checkpoint import BEST, LAST, CheckpointError, load_newest, set_aside_damaged
from gantrain.training.plan import Outcome
from gantrain.training.trainer import Prune, StoppedByDoctorError, Trainer

CHECKPOINTS = 4
"""Number of checkpoint files at one time: last.pt, previous.pt, best.pt and one being written."""
log = logging.getLogger(__name__)

FAILS_UNNORMALIZED = ("js", "hellinger", "kl", "pearson")
"""Generators that cover little of the digits without the exact rule, see docs/results/objectives.md."""


def warnings_for(config: Config) -> list[str]:
    """Warnings about configurations that are allowed but known to fail."""
    found = []
    regularizers = config.regularizer.build()
    penalized = any(regularizer.needs_input_gradient for regularizer in regularizers)
    constrained = bool(regularizers) or config.model.d_norm == "spectral"
    if config.loss.disc == "wasserstein" and not constrained:
        found.append(
            "loss.disc=wasserstein needs a Lipschitz discriminator, and nothing constrains this one: "
            "set model.d_norm=spectral, regularizer=gp or regularizer=clip"
        )
    if penalized and config.model.d_norm == "batch":
        found.append(
            "a gradient penalty needs each example's own gradient, but with batch norm in the discriminator each logit "
            "depends on the complete batch: set model.d_norm=layer, spectral or none"
        )
    gen = config.loss.gen
    not_normalized = not (config.loss.rule == "exact" and config.loss.normalize_ratio)
    same_as_measured = config.loss.disc in ("gan", "js") and config.model.name != "poole"  # js has gan's gradients
    if gen in FAILS_UNNORMALIZED and not_normalized and same_as_measured:
        found.append(
            f"loss.gen={gen} covered far less of the digits than alt without the exact rule and a normalized ratio, "
            f"since the discriminator wins; loss=exact loss.gen={gen} sets both (loss.rule=exact "
            "loss.normalize_ratio=true) and covers about as much, with model.d_norm=spectral over longer runs too "
            "(docs/results/objectives.md)"
        )
    if config.loss.disc == "pearson" and config.loss.param == "fgan":
        objective = config.loss.make()
        if objective.gen in divergence_names() and objective.max_log_ratio is None:
            found.append(
                "a pearson discriminator's logits below -2 correspond to no ratio, and the run stops when a divergence "
                "generator gets one: set loss.max_log_ratio=10 or loss.param=log_ratio"
            )
    return found


def with_changes(run: Path, tree: dict[str, Any], asked: dict[str, Any]) -> Config:
    """The configuration of a resumed run, with the keys that may change on resume.

    Args:
        run: its folder, for the error message.
        tree: its nested configuration.
        asked: dotted keys given on the command line.

    Raises:
        ConfigError: another key differs.
    """
    stored = flatten(tree)
    differ = [
        f"{key}: {stored.get(key)!r} in the run, {value!r} now"
        for key, value in asked.items()
        if key not in MAY_CHANGE_ON_RESUME and value != stored.get(key)
    ]
    if differ:
        raise ConfigError(
            f"resume={str(run)!r} continues with the run's own configuration, but these keys differ: "
            f"{'; '.join(differ)}. Leave them out, or start a new run. May change: {', '.join(MAY_CHANGE_ON_RESUME)}"
        )
    for key, value in asked.items():
        if key in MAY_CHANGE_ON_RESUME and key != "resume":
            *sections, last = key.split(".")
            branch = tree
            for section in sections:
                branch = branch[section]
            branch[last] = value
    return from_dict(tree)


def resumed_config(run: Path, asked: dict[str, Any], *, may_be_done: bool = False) -> tuple[Config, dict[str, Any]]:
    """Configuration and checkpoint of a run to resume.

    Args:
        run: its folder.
        asked: dotted keys given on the command line; only those of `MAY_CHANGE_ON_RESUME` may differ from the run's.
        may_be_done: whether to accept a run that has done all its steps and was killed before its final status.

    Raises:
        CheckpointError: there is no usable checkpoint.
        ConfigError: a key differs, or the run is finished.
    """
    state = load_newest(run)
    config = with_changes(run, to_dict(stored_config(state, run)), asked)
    if config.schedule.steps <= state["step"] and not may_be_done:
        raise ConfigError(
            f"resume={str(run)!r} has completed its {state['step']} steps; set a larger schedule.steps to train longer"
        )
    return config, state


def stored_config(state: dict[str, Any], folder: Path) -> Config:
    """The configuration stored in a checkpoint.

    Args:
        state: the checkpoint.
        folder: of the run, for the error message.

    Raises:
        CheckpointError: the configuration does not match this version's schema.
    """
    try:
        return from_dict(state["config"])
    except ConfigError as error:
        raise CheckpointError(
            f"the checkpoint in {str(folder)!r} contains a configuration that this version of gantrain does not accept "
            f"({str(error)[:500]}); use the version that wrote it (run.json names it)"
        ) from None


def run(
    config: Config, folder_path: Path, state: dict[str, Any] | None = None, *, prune: Prune | None = None
) -> Outcome:
    """Trains a run in a folder and prints its results.

    With torchrun only the main process calls this; the others call `run_worker`.

    Args:
        config: configuration of the run.
        folder_path: its folder.
        state: the checkpoint to resume from; None starts a new run.
        prune: may end the run early, see `Trainer`.

    Raises:
        GantrainError: a device, data, weights, a folder or a checkpoint cannot be used; training ran into a value that
            is not finite; or the doctor ended the run; its results are still saved and printed.
    """
    processes = current_processes()
    broadcast_task((to_dict(config), str(folder_path), state))
    check_shares(config, processes)
    device = make_device(config.device, processes)
    with arithmetic(config.precision, deterministic=config.deterministic, device=device):
        return _run(config, folder_path, state, prune, device, processes)


def run_worker() -> None:
    """Joins the run that the main process starts; returns if the main process ends without starting one."""
    task = receive_task()
    if task is not None:
        tree, folder, state = task
        run(from_dict(tree), Path(folder), state)


def check_shares(config: Config, processes: Processes) -> None:
    """Refuses a batch that the processes cannot split evenly.

    Raises:
        ConfigError: schedule.batch_size is not a multiple of the number of processes.
    """
    size, count = config.schedule.batch_size, processes.world_size
    if size % count:
        raise ConfigError(
            f"schedule.batch_size={size} is the total of {count} processes and cannot be split evenly among "
            f"them: set a multiple of {count}"
        )


def _run(
    config: Config,
    folder_path: Path,
    state: dict[str, Any] | None,
    prune: Prune | None,
    device: torch.device,
    processes: Processes,
) -> Outcome:
    if processes.is_main and state is None:
        check_free(folder_path)
    if device.type == "cuda":
        torch.cuda.set_device(device)
    reset_peak_memory(device)
    warnings = warnings_for(config)
    for warning in warnings:
        log.warning("%s", warning)
    weights = find_weights(config)
    with processes.main_process_first():  # downloads are shared
        prepare_data(config)
    training_set = load_data(config, "train")
    metrics = build_metrics(config, weights, training_set, device, processes)
    if config.cond.name != "none":
        check_classes(f"cond={config.cond.name}", training_set, training_set.labels)
    trainer = build_trainer(config, training_set, metrics, device, processes)
    trainer.prune = prune
    if state is not None:
        take_up(trainer, state, folder_path)
    device_name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    if processes.world_size > 1:
        device_name = f"{processes.world_size} x {device_name}"
    folder: RunFolder
    if processes.is_main:
        check_free_space(folder_path, trainer.checkpoint_bytes(), CHECKPOINTS if state is None else 1)
        if state is not None:
            set_aside_damaged(folder_path, state)
        resume_step = None if state is None else trainer.step
        introduce = partial(write_introduction, config=config, folder=folder_path, warnings=warnings)
        folder = RunFolder(folder_path, trainer.config, device_name, resume_step=resume_step, introduce=introduce)
    else:
        folder = SilentFolder(folder_path)
    log.info(
        "%s on %s %s of %s, %s; executor: %s",
        trainer.train_step.objective,
        f"{len(training_set):,}",
        "points" if isinstance(training_set, PointSet) else "images",
        training_set.name,
        device_name,
        trainer.executor,
    )
    try:
        outcome = trainer.fit(folder)
    except Exception as error:
        with contextlib.suppress(OSError):  # the disk may be full
            folder.end(FAILED, trainer.step, str(error) or type(error).__name__)
        raise
    finally:
        folder.close()
    print(printable(report(config, folder, outcome, device)), flush=True)
    if trainer.profile is not None and trainer.profile.path is not None:
        print(f"  trace        {trainer.profile.path} (ui.perfetto.dev, or TensorBoard with torch-tb-profiler)")
        print(f"               {trainer.profile.seconds:.1f} s of the training time", flush=True)
    if outcome.stopped is not None:
        raise StoppedByDoctorError(
            f"the doctor found a {outcome.stopped} and doctor.stop=true ended the run; its evidence and advice are in "
            f"{METRICS}, kind doctor. resume={folder_path} continues anyway"
        )
    return outcome


def take_up(trainer: Trainer, state: dict[str, Any], folder: Path) -> None:
    """Restores a trainer from a checkpoint.

    Raises:
        CheckpointError: the checkpoint does not fit the run's configuration.
    """
    try:
        trainer.load_state_dict(state)
    except (LookupError, RuntimeError, TypeError, ValueError, AttributeError, AssertionError) as error:
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        raise CheckpointError(
            f"the checkpoint in {str(folder)!r} does not fit its configuration ({reason}); copy {BEST} over "
            f"{LAST} if there is one, or start a new run"
        ) from None


def report(config: Config, folder: RunFolder, outcome: Outcome, device: torch.device) -> str:
    """Summary of a finished run: results and paths."""
    end = "Stopped" if outcome.stopped else "Pruned" if outcome.pruned else "Done"
    lines = [f"\n{end}: {outcome.step} steps of {config.name}{f' ({outcome.pruned})' if outcome.pruned else ''}"]
    lines += [f"  {name}: {value:.5g}" for name, value in outcome.metric_values.items()]
    if outcome.best:
        lines.append(f"  best {outcome.best['headline']}: {outcome.best['value']:.5g} at step {outcome.best['step']}")
    if config.paper.source:
        lines.append(f"  {config.paper.source}: {config.paper.published or 'no published value'}")
    lines += [
        f"  samples      {folder.samples}/{outcome.step:07d}.png",
        *([f"  animation    {folder.samples / ANIMATION}"] if (folder.samples / ANIMATION).is_file() else []),
        f"  TensorBoard  tensorboard --logdir {folder.tensorboard}",
        f"  metrics      {folder.path}/metrics.jsonl",
        f"  checkpoint   {folder.path}/{LAST}",
        f"  peak memory  {peak_memory(device)}",
    ]
    if outcome.findings:
        lines.append(f"  doctor       {', '.join(outcome.findings)} (advice: kind doctor in {METRICS})")
    if outcome.diagnostics_share is not None:
        lines.append(f"  diagnostics  {outcome.diagnostics_share:.2%} of the training time")
    return "\n".join(lines)
