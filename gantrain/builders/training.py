"""Builds the trainer from the configuration: networks, data, the training step and its schedule."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from gantrain.builders.data import choose_examples, is_on_device, load_data
from gantrain.builders.device import generator_of, stream_seed
from gantrain.builders.executing import choose_executor, is_channels_last, is_joint_batch
from gantrain.builders.measuring import measuring_protocol
from gantrain.config import Config, to_dict
from gantrain.data import BatchSampler, DataSet, ImageSet, PointSet, to_range
from gantrain.diagnostics.ratio_map import RatioMap
from gantrain.metrics.metric import Metric
from gantrain.networks import Network, NetworkPair, Target, build_pair, sample_latent, synchronize, to_channels_last
from gantrain.objectives import Objective
from gantrain.run_io.run_folder import as_grid
from gantrain.system.distributed import SINGLE_PROCESS, Processes
from gantrain.training.diagnostics import Diagnostics
from gantrain.training.ema import Ema
from gantrain.training.optimizers import make_adam
from gantrain.training.plan import Grid, Plan, Sampling
from gantrain.training.schedules import DiscriminatorSteps, cosine_decay, linear_decay, no_decay
from gantrain.training.step_options import ClassLoss, DataSources, Optimizers, StepOptions
from gantrain.training.train_step import TrainStep
from gantrain.training.trainer import Trainer
from gantrain.training.tricks import Trick, TrickSetup

CLASSES_IN_A_GRID = 10
MAPPED_POINTS = 1_500
DIAGNOSTIC_EXAMPLES = 2048
"""Training and held-out examples from which the diagnostics take batches in turn."""


def build_networks(config: Config, classes: int) -> NetworkPair:
    """Fresh networks from the global RNG, on the CPU; `classes` is the number of classes in the data."""
    cond, model = config.cond, config.model
    target = Target(
        image_size=config.data.image_size,
        classes=0 if cond.name == "none" else classes,
        labels=cond.name,
        g_labels=cond.generator,
    )
    return build_pair(model.spec, model.options, target)


def make_plan(config: Config, device: torch.device) -> Plan:
    """Number of steps and intervals of the run, with each `null` resolved."""
    steps = config.schedule.steps
    return Plan(
        steps=steps,
        log_every=config.log.every_steps or max(1, min(100, steps // 100)),
        grids_every=config.log.grids_every_steps or max(1, steps // 20),
        checkpoint_every=config.log.checkpoint_every_steps or max(1, steps // 10),
        measure_every=measuring_protocol(config, device).every,
    )


def diagnostics_every(config: Config, log_every: int, device: torch.device) -> int:
    """Steps between two diagnostics, a multiple of `log_every`; 0: never."""
    every = config.log.diagnostics_every_steps
    if every is None:  # under 2 % of the training time
        every = 500 if config.data.spec.points else 250 if device.type == "cuda" else 50
    return -(-every // log_every) * log_every


def build_trainer(
    config: Config,
    training_set: DataSet,
    metrics: list[Metric],
    device: torch.device,
    processes: Processes = SINGLE_PROCESS,
) -> Trainer:
    """The seeded trainer with all its parts."""
    steps, schedule = config.schedule.steps, config.schedule
    plan, protocol = make_plan(config, device), measuring_protocol(config, device)
    on_device = processes.gather_objects(is_on_device(device, config.data.on_device, training_set))
    streamed = not all(on_device)  # the same choice in all processes, so that they draw the same examples
    examples = training_set if streamed else training_set.to(device)
    train_step = build_train_step(config, examples, device, processes, streamed=streamed, buffer_size=plan.log_every)
    train_step.executor, description = choose_executor(config, device, processes)
    decays = {
        "constant": no_decay,
        "linear": linear_decay(steps, schedule.lr_decay_from),
        "cosine": cosine_decay(steps, schedule.lr_decay_from),
    }
    return Trainer(
        train_step,
        plan=plan,
        sampling=Sampling(
            seed=stream_seed(config.seed, "metrics"),
            count=protocol.samples,
            batch_size=protocol.batch_size,
            networks=tuple(config.metrics.networks),
        ),
        metrics=metrics,
        grid=build_grid(config, train_step, examples),
        config=to_dict(config),
        classes=training_set.classes,
        learning_rate_factor=decays[schedule.lr_decay],
        diagnostics=build_diagnostics(config, train_step, training_set, plan.log_every, device),
        stop_at_a_finding=config.doctor.stop,
        executor=description,
        profiled=config.profile,
    )


def build_train_step(
    config: Config,
    examples: DataSet,
    device: torch.device,
    processes: Processes = SINGLE_PROCESS,
    *,
    streamed: bool = False,
    buffer_size: int = 1,
) -> TrainStep:
    """The training step with fresh networks.

    Args:
        config: configuration of the run.
        examples: the training set, on the device unless it is streamed.
        device: device of training.
        processes: the processes that train together.
        streamed: whether batches are copied from the host.
        buffer_size: largest number of iterations before the step's buffer is cleared.
    """
    torch.manual_seed(stream_seed(config.seed, "weights"))
    schedule, objective = config.schedule, config.loss.make()
    channels_last = is_channels_last(config, device)
    networks = build_networks(config, len(examples.classes))
    for network in (networks.generator, networks.discriminator):
        network.to(device).train()
        if channels_last:
            to_channels_last(network)
        if config.model.sync_batch_norm:
            synchronize(network, processes.group)
    d_steps = DiscriminatorSteps(schedule.d_steps, schedule.early_d_steps, schedule.early_until, schedule.early_every)
    batches = BatchSampler(
        examples.examples,
        labels=examples.labels if networks.classes else None,
        batch_size=schedule.batch_size,
        image_range=networks.image_range,
        flip=config.data.flip,
        dequantize=config.data.dequantize,
        seed=stream_seed(config.seed, "data"),
        at_once=d_steps.most + objective.needs_real_logits,
        device=device,
        streamed=streamed,
        channels_last=channels_last,
        processes=processes,
    )
    fix_references(config, networks, examples, device)
    if processes.world_size > 1:
        torch.manual_seed(processes.rank_seed(config.seed))  # equal weights in all processes, different dropout
    cond, optimizer = config.cond, config.optimizer
    return TrainStep(
        networks,
        objective,
        Optimizers(
            make_adam(networks.generator.parameters(), optimizer.lr_g, (optimizer.beta1_g, optimizer.beta2_g)),
            make_adam(networks.discriminator.parameters(), optimizer.lr_d, (optimizer.beta1_d, optimizer.beta2_d)),
            optimizer.grad_clip_norm,
            Ema(networks.generator, schedule.ema_decay) if schedule.ema_decay else None,
        ),
        DataSources(
            batches,
            latents=generator_of(device, config.seed, "latents"),
            draws=generator_of(device, config.seed, "draws", processes),
        ),
        StepOptions(
            d_steps=d_steps,
            regularizers=config.regularizer.build(),
            tricks=build_tricks(config, networks, batches, objective, processes),
            class_loss=ClassLoss(cond.weight_d, cond.weight_g) if cond.name == "acgan" else None,
            reuse_fakes=schedule.reuse_fakes,
            bf16=config.precision == "bf16",
            joint=is_joint_batch(config, device),
            processes=processes,
            buffer_size=min(buffer_size, schedule.steps),
        ),
    )


def build_diagnostics(
    config: Config, train_step: TrainStep, training_set: DataSet, log_every: int, device: torch.device
) -> Diagnostics | None:
    """The diagnostics; None if they are off.

    Held-out examples are the test split of the data, if there is one.
    """
    every = diagnostics_every(config, log_every, device)
    if every == 0:
        return None
    held_out = load_data(config, "test") if config.data.spec.has_test else None
    return Diagnostics(
        train_step,
        every=every,
        trained=choose_examples(training_set, DIAGNOSTIC_EXAMPLES, device),
        held_out=None if held_out is None else choose_examples(held_out, DIAGNOSTIC_EXAMPLES, device),
    )


def build_tricks(
    config: Config, networks: NetworkPair, batches: BatchSampler, objective: Objective, processes: Processes
) -> list[Trick]:
    """Augmentation and the other tricks that are on, in the order in which the step applies them."""
    setup = TrickSetup(
        device=batches.device,
        steps=config.schedule.steps,
        batch_size=batches.batch_size,
        example_shape=tuple(batches.images.shape[1:]),
        image_range=networks.image_range,
        labeled=batches.labels is not None,
        boundary=objective.boundary,
        processes=processes,
    )
    augment = config.augment.build(setup)
    return [*([] if augment is None else [augment]), *config.tricks.build(setup)]


def fix_references(config: Config, networks: NetworkPair, examples: DataSet, device: torch.device) -> None:
    """Fills the reference batches of virtual batch norm with training images, z and labels drawn by the seed."""
    source = generator_of(device, config.seed, "reference")
    for network, norm in (
        (networks.generator, config.model.g_norm),
        (getattr(networks.discriminator, "features", None), config.model.d_norm),
    ):
        if norm == "virtual":
            assert isinstance(network, Network)
            size = network.reference_size
            chosen = torch.randint(len(examples), (size,), generator=source, device=device)
            chosen = chosen.to(examples.labels.device)
            labels = examples.labels[chosen] if networks.classes else None
            if network is networks.generator:
                inputs = sample_latent(networks.prior, (size, networks.latent_dim), source)
            else:
                assert isinstance(examples, ImageSet)
                assert networks.image_range is not None
                inputs = to_range(examples.images[chosen], networks.image_range)
            network.set_reference(inputs, labels)


def build_grid(config: Config, train_step: TrainStep, examples: DataSet) -> Grid:
    """The sample grids: points on a map of the ratio, or images; with labels one class per row, over the same z."""
    networks, device = train_step.networks, train_step.device
    columns = math.isqrt(config.log.grid_images)
    source = generator_of(device, config.seed, "grid")
    if isinstance(examples, PointSet):
        points = examples.points[: 2 * MAPPED_POINTS].to(device)
        ratio_map = RatioMap(examples.density, points[:MAPPED_POINTS], train_step.objective)
        z = sample_latent(networks.prior, (MAPPED_POINTS, networks.latent_dim), source)
        return Grid(z, None, points[MAPPED_POINTS:], ratio_map.picture, animated=True)

    def draw(images: Tensor, discriminate: Callable[[Tensor], Tensor]) -> Tensor:
        return as_grid(images.cpu(), columns)

    if not networks.classes:
        z = sample_latent(networks.prior, (columns**2, networks.latent_dim), source)
        return Grid(z, None, examples.images[train_step.batches.order[: columns**2]], draw)
    rows = min(networks.classes, max(columns, CLASSES_IN_A_GRID))
    z = sample_latent(networks.prior, (columns, networks.latent_dim), source).repeat(rows, 1)
    labels = torch.arange(rows, device=z.device).repeat_interleave(columns)
    of_class = [(examples.labels == label).nonzero()[:columns, 0] for label in range(rows)]
    complete = [torch.cat((found, found.new_zeros(columns - len(found)))) for found in of_class]
    return Grid(z, labels, examples.images[torch.cat(complete)], draw)
