"""From a checked configuration to the parts of a run; the only file that knows both."""

import math
import resource
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gantrain.config import (
    MAY_CHANGE_ON_RESUME,
    TOYS,
    Config,
    ConfigError,
    flatten,
    from_dict,
    to_dict,
)
from gantrain.data import BatchSampler, DataError, DataSet, ImageSet, PointSet, to_range
from gantrain.data.cifar10 import cifar10_root, load_cifar10, prepare_cifar10
from gantrain.data.digits import load_stacked_digits
from gantrain.data.folder import list_images, load_folder
from gantrain.data.points import GaussianMixture, grid, load_points, mixture, moons, ring
from gantrain.evidence.fidelity import NAMES as INCEPTION_METRICS
from gantrain.evidence.fidelity import check_classifier
from gantrain.evidence.inception import InceptionWeights, WeightsError, find_inception_weights
from gantrain.evidence.measurement import Metric
from gantrain.evidence.ratio_map import RatioMap
from gantrain.evidence.suite import RealImages, make_metrics
from gantrain.evidence.toys import PointsMetric
from gantrain.files import UnusableFolderError
from gantrain.logs.run_folder import RunFolder, RunFolderError, as_grid, check_free
from gantrain.networks import Network, NetworkPair, make_networks, sample_latent
from gantrain.objectives import DIVERGENCE_NAMES, Objective, ObjectiveError
from gantrain.training.augment import Augment
from gantrain.training.checkpoint import BEST, LAST, CheckpointError, load_checkpoint
from gantrain.training.diagnostics import Diagnostics
from gantrain.training.ema import Ema
from gantrain.training.iteration import Iteration, Records
from gantrain.training.practice import ClassLoss, DiscriminatorSteps, History, InstanceNoise, TopK
from gantrain.training.regularizers import Regularizer
from gantrain.training.schedules import cosine_decay, linear_decay, no_decay
from gantrain.training.trainer import Grid, Outcome, Plan, Sampling, StoppedByDoctorError, Trainer

STREAMS = ("weights", "data", "latents", "grid", "metrics", "draws", "reference")
"""What draws random numbers, each from its own stream of the run's seed."""
CLASSES_IN_A_GRID = 10
MAPPED_POINTS, MEASURED_POINTS = 1_500, 2_500
FAILS_UNNORMALISED = ("js", "hellinger", "kl", "pearson")
"""Generators measured on the digits, see docs/results/objectives.md; Poole's own discriminator was not."""
EXAMPLES_LOOKED_AT = 2048
"""Training and held-out examples that the diagnostics judge in turns."""
REFERENCE_SEED = 0  # of the choice of reference images: the same for every run
USER_ERRORS = (
    ConfigError,
    ObjectiveError,
    DataError,
    WeightsError,
    CheckpointError,
    RunFolderError,
    UnusableFolderError,
)
"""Bad input, told in words that need no traceback."""


@dataclass(frozen=True, slots=True)
class Protocol:
    """The metrics' numbers, with `null` resolved for the device and the data."""

    names: tuple[str, ...]
    samples: int
    reference_samples: int | None
    every: int


def make_device(name: str) -> torch.device:
    """The device of that name.

    Raises:
        ConfigError: there is no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    device = torch.device(name)
    if device.type == "cuda":
        device = torch.device("cuda", device.index or 0)  # torch.cuda.set_device wants the number
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if device.index >= count:
            raise ConfigError(
                f"device={name!r} does not exist: PyTorch sees {count} CUDA devices here; use device=cpu or auto"
            )
    return device


def measuring_protocol(config: Config, device: torch.device) -> Protocol:
    """How much is measured, and how often: affordable on the device unless the keys say otherwise."""
    names, metrics = config.metric_names, config.metrics
    cuda = device.type == "cuda"
    by_inception = any(name in INCEPTION_METRICS for name in names)
    points = config.data.name in TOYS
    samples = metrics.samples or (
        MEASURED_POINTS if points else 10_000 if not by_inception else 50_000 if cuda else 1_024
    )
    reference = metrics.reference_samples
    if reference is None and not cuda:
        reference = samples
    every = metrics.every_steps
    if every is None:
        every = max(1, config.schedule.steps // (20 if points else 5)) if not by_inception else 10_000 if cuda else 0
    return Protocol(names, samples, reference, every)


def warnings_for(config: Config) -> list[str]:
    """What is allowed and known to go wrong."""
    found = []
    regularizer = config.regularizer
    penalised = bool(regularizer.gp or regularizer.dragan or regularizer.r1 or regularizer.r2)
    constrained = penalised or regularizer.clip or config.model.d_norm == "spectral"
    if config.loss.disc == "wasserstein" and not constrained:
        found.append(
            "loss.disc=wasserstein is a distance only for a Lipschitz discriminator, and nothing constrains this one: "
            "set model.d_norm=spectral, regularizer=gp or regularizer=clip"
        )
    if penalised and config.model.d_norm == "batch":
        found.append(
            "a gradient penalty is about each example's own gradient, and batch norm in the discriminator makes a "
            "logit depend on the whole batch, so that no such gradient exists: set model.d_norm=layer, spectral or none"
        )
    gen = config.loss.gen
    unhelped = not (config.loss.rule == "exact" and config.loss.normalize_ratio)
    same_as_measured = config.loss.disc in ("gan", "js") and config.model.name != "poole"  # js has gan's gradients
    if gen in FAILS_UNNORMALISED and unhelped and same_as_measured:
        found.append(
            f"loss.gen={gen} covered far less of the digits than alt without the exact rule and a normalised ratio, "
            f"since the discriminator wins; loss=exact loss.gen={gen} sets both (loss.rule=exact "
            "loss.normalize_ratio=true) and covers about as much, with model.d_norm=spectral over longer runs too "
            "(docs/results/objectives.md)"
        )
    if config.loss.disc == "pearson" and config.loss.param == "fgan":
        objective = config.loss.make()
        if objective.gen in DIVERGENCE_NAMES and objective.max_log_ratio is None:
            found.append(
                "a pearson discriminator's logits below -2 stand for no ratio, and the run stops when a divergence "
                "generator meets one: loss.max_log_ratio=10 or loss.param=log_ratio goes on"
            )
    return found


def prepare_data(config: Config) -> None:
    """Refuses data that are not there, before anything is loaded; downloads CIFAR-10 if it is absent."""
    if config.data.name == "cifar10":
        prepare_cifar10(cifar10_root(config.data.root))
    elif config.data.name == "folder":
        list_images(Path(config.data.root or ""))


def make_density(config: Config) -> GaussianMixture:
    """The density of a toy."""
    data = config.data
    if data.name == "mixture":
        means, stds, weights = (
            torch.tensor(part, dtype=torch.float64) for part in (data.means, data.stds, data.weights)
        )
        return mixture(means, stds, weights if data.weights else None)
    return {"ring": ring, "grid": grid, "moons": moons}[data.name]()


def load_data(config: Config, split: str) -> DataSet:
    """The configured data set, on the CPU."""
    if config.data.name in TOYS:
        return load_points(config.data.name, make_density(config), split)
    return load_images(config, split)


def load_images(config: Config, split: str) -> ImageSet:
    """The configured images, on the CPU."""
    if config.data.name == "digits":
        return load_stacked_digits(split)
    if config.data.name == "folder":
        return load_folder(Path(config.data.root or ""), config.data.image_size)
    return load_cifar10(cifar10_root(config.data.root), split)


def build_networks(config: Config, classes: int) -> NetworkPair:
    """Fresh networks from the global RNG, on the CPU; `classes` is how many the data have."""
    model = config.model
    return make_networks(
        model.name,
        width=model.width,
        d_width=model.d_width,
        latent_dim=model.latent_dim,
        prior=model.prior,
        d_norm=model.d_norm,
        g_norm=model.g_norm,
        g_dropout=model.g_dropout,
        d_dropout=model.d_dropout,
        virtual_reference=model.virtual_reference,
        maxout_count=model.maxout_count,
        d_pattern=model.d_pattern,
        image_size=config.data.image_size,
        labels=config.cond.name,
        g_labels=config.cond.generator,
        classes=classes,
    )


def find_weights(config: Config) -> InceptionWeights | None:
    """The Inception's weights if a metric needs them, refused here if they do not do."""
    names = config.metric_names
    if not any(name in INCEPTION_METRICS for name in names):
        return None
    weights = find_inception_weights(config.metrics.inception_weights)
    check_classifier(names, weights)
    return weights


def build_metrics(
    config: Config, weights: InceptionWeights | None, training_set: DataSet, device: torch.device
) -> list[Metric]:
    """The metrics asked for, ready to measure."""
    protocol = measuring_protocol(config, device)
    if not protocol.names:
        return []
    if isinstance(training_set, PointSet):
        return [PointsMetric(training_set.density)]
    return make_metrics(
        protocol.names,
        real_images(config, training_set, protocol.names, protocol.reference_samples),
        weights=weights,
        batch_size=config.metrics.batch_size,
        device=device,
    )


def real_images(
    config: Config, training_set: ImageSet, names: tuple[str, ...], inception_samples: int | None
) -> RealImages:
    """What figures of a run are read against; `inception_samples` is None for all.

    Raises:
        ConfigError: the Inception is to see more than there are, or there are no classes to tell apart.
    """
    split = config.metrics.reference_split
    reference = training_set if split == "train" else load_images(config, split)
    seen = reference.images
    if any(name in INCEPTION_METRICS for name in names):
        seen, _ = choose_reference(reference, inception_samples)
    held_out = None
    if "classes" in names:
        check_classes("metrics.names=classes", training_set, training_set.labels)
        held_out = load_images(config, "test") if config.data.name == "cifar10" else None
    return RealImages(reference, seen, training_set, (training_set, held_out))


def check_classes(asker: str, images: DataSet, labels: Tensor) -> None:
    """Refuses images of a single class to what tells classes apart.

    Raises:
        ConfigError: there is only one.
    """
    if len(labels.unique()) < 2:
        raise ConfigError(
            f"{asker} needs images of at least two classes, and {images.name} has one: with data=folder each folder "
            "inside data.root is a class"
        )


def choose_reference(reference: ImageSet, count: int | None) -> tuple[Tensor, Tensor]:
    """`count` images of a set and their labels, chosen at random but alike for every run; all of them for None.

    Raises:
        ConfigError: the set has fewer.
    """
    if count is None or count == len(reference):
        return reference.images, reference.labels
    if count > len(reference):
        raise ConfigError(
            f"metrics.reference_samples={count}: {reference.name} has {len(reference)} images; choose at most as "
            "many (metrics.samples sets it where it is null, on a CPU)"
        )
    order = torch.randperm(len(reference), generator=torch.Generator().manual_seed(REFERENCE_SEED))
    return reference.images[order[:count]], reference.labels[order[:count]]


def build_trainer(config: Config, training_set: DataSet, metrics: list[Metric], device: torch.device) -> Trainer:
    """Everything that trains, seeded."""
    torch.manual_seed(stream_seed(config.seed, "weights"))
    schedule = config.schedule
    networks = build_networks(config, len(training_set.classes))
    for network in (networks.generator, networks.discriminator):
        network.to(device).train()
    optimizer = config.optimizer
    optimizer_g = torch.optim.Adam(
        networks.generator.parameters(), optimizer.lr_g, (optimizer.beta1_g, optimizer.beta2_g), fused=True
    )
    optimizer_d = torch.optim.Adam(
        networks.discriminator.parameters(), optimizer.lr_d, (optimizer.beta1_d, optimizer.beta2_d), fused=True
    )
    steps = schedule.steps
    protocol = measuring_protocol(config, device)
    plan = Plan(
        steps=steps,
        log_every=config.log.every_steps or max(1, min(100, steps // 100)),
        grids_every=config.log.grids_every_steps or max(1, steps // 20),
        checkpoint_every=config.log.checkpoint_every_steps or max(1, steps // 10),
        measure_every=protocol.every,
    )
    resident = training_set.to(device)
    objective = config.loss.make()
    batches = BatchSampler(
        resident.examples,
        labels=resident.labels if networks.classes else None,
        batch_size=schedule.batch_size,
        image_range=networks.image_range,
        flip=config.data.flip,
        dequantize=config.data.dequantize,
        seed=stream_seed(config.seed, "data"),
    )
    fix_references(config, networks, resident)
    d_steps = DiscriminatorSteps(schedule.d_steps, schedule.early_d_steps, schedule.early_until, schedule.early_every)
    acgan = config.cond.name == "acgan"
    iteration = Iteration(
        networks,
        objective,
        optimizer_g=optimizer_g,
        optimizer_d=optimizer_d,
        batches=batches,
        latents=_generator(device, config.seed, "latents"),
        ema=Ema(networks.generator, schedule.ema_decay) if schedule.ema_decay else None,
        d_steps=d_steps,
        bf16=config.precision == "bf16",
        records=Records(min(plan.log_every, steps), schedule.batch_size, d_steps.most, device),
        draws=_generator(device, config.seed, "draws"),
        regularizer=build_regularizer(config),
        augment=build_augment(config, objective, networks.image_range, device),
        noise=build_noise(config, networks.image_range),
        top_k=TopK(config.practice.top_k, config.practice.top_k_decay) if config.practice.top_k < 1 else None,
        history=build_history(config, batches, device),
        class_loss=ClassLoss(config.cond.weight_d, config.cond.weight_g) if acgan else None,
        clip_gradient=optimizer.clip_gradient,
    )
    diagnostics = build_diagnostics(config, iteration, training_set, plan.log_every, device)
    tree = to_dict(config)
    decays = {
        "constant": no_decay,
        "linear": linear_decay(steps, schedule.lr_decay_from),
        "cosine": cosine_decay(steps, schedule.lr_decay_from),
    }
    return Trainer(
        iteration,
        plan=plan,
        sampling=Sampling(
            seed=stream_seed(config.seed, "metrics"),
            count=protocol.samples,
            batch_size=config.metrics.batch_size,
            networks=tuple(config.metrics.networks),
        ),
        metrics=metrics,
        grid=build_grid(config, networks, batches, resident, objective),
        config=tree,
        classes=training_set.classes,
        flat_config=flatten(tree),
        learning_rate_factor=decays[schedule.lr_decay],
        diagnostics=diagnostics,
        stop_at_a_finding=config.doctor.stop,
    )


def build_diagnostics(
    config: Config, iteration: Iteration, training_set: DataSet, log_every: int, device: torch.device
) -> Diagnostics | None:
    """What looks at the run, at rows of scalars; None where it is off.

    Held-out examples are the test split of data that have one; of a folder, all images are trained on.
    """
    every = config.log.diagnostics_every_steps
    if every is None:  # under 2 % of the training time
        every = 500 if config.data.name in TOYS else 250 if device.type == "cuda" else 50
    if every == 0:
        return None
    held_out = load_data(config, "test") if config.data.name != "folder" else None
    return Diagnostics(
        iteration,
        every=-(-every // log_every) * log_every,
        trained=choose_some(training_set, EXAMPLES_LOOKED_AT, device),
        held_out=None if held_out is None else choose_some(held_out, EXAMPLES_LOOKED_AT, device),
    )


def choose_some(examples: DataSet, count: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """At most `count` examples of a set and their labels, at random but alike for every run."""
    order = torch.randperm(len(examples), generator=torch.Generator().manual_seed(REFERENCE_SEED))[:count]
    return examples.examples[order].to(device), examples.labels[order].to(device)


def build_regularizer(config: Config) -> Regularizer | None:
    """The discriminator's constraints; None where all are off."""
    made = Regularizer(
        gp=config.regularizer.gp,
        dragan=config.regularizer.dragan,
        one_sided=config.regularizer.one_sided,
        r1=config.regularizer.r1,
        r2=config.regularizer.r2,
        interval=config.regularizer.interval,
        clip=config.regularizer.clip,
    )
    return None if made == Regularizer() else made


def build_augment(
    config: Config, objective: Objective, image_range: tuple[float, float] | None, device: torch.device
) -> Augment | None:
    """The augmentation; None for an empty policy."""
    if not config.augment.policy:
        return None
    assert image_range is not None, "the configuration refuses augmentation of points"
    return Augment(
        tuple(config.augment.policy),
        p=config.augment.p,
        image_range=image_range,
        device=device,
        target=config.augment.target,
        boundary=objective.boundary or 0.0,
        speed_images=config.augment.speed_images,
    )


def build_noise(config: Config, image_range: tuple[float, float] | None) -> InstanceNoise | None:
    """The instance noise, of points in their own unit; None where it is off."""
    sigma = config.practice.instance_noise
    until = max(1, round(config.practice.instance_noise_until * config.schedule.steps))
    unit = 1.0 if image_range is None else (image_range[1] - image_range[0]) / 2
    return InstanceNoise(sigma, until, unit) if sigma else None


def build_history(config: Config, batches: BatchSampler, device: torch.device) -> History | None:
    """The buffer of earlier fakes; None where it is off."""
    capacity = config.practice.history
    if not capacity:
        return None
    images = torch.zeros(capacity, *batches.images.shape[1:], device=device)
    labels = None if batches.labels is None else torch.zeros(capacity, dtype=torch.long, device=device)
    return History(images, labels)


def fix_references(config: Config, networks: NetworkPair, resident: DataSet) -> None:
    """Fills the reference batches of virtual batch norm: training images, z and labels chosen by the seed."""
    device = resident.examples.device
    source = _generator(device, config.seed, "reference")
    for network, norm in (
        (networks.generator, config.model.g_norm),
        (getattr(networks.discriminator, "features", None), config.model.d_norm),
    ):
        if norm == "virtual":
            assert isinstance(network, Network)
            size = network.reference_size
            chosen = torch.randint(len(resident), (size,), generator=source, device=device)
            labels = resident.labels[chosen] if networks.classes else None
            if network is networks.generator:
                examples = sample_latent(networks.prior, (size, networks.latent_dim), source)
            else:
                assert isinstance(resident, ImageSet)
                assert networks.image_range is not None
                examples = to_range(resident.images[chosen], networks.image_range)
            network.set_reference(examples, labels)


def build_grid(
    config: Config, networks: NetworkPair, batches: BatchSampler, resident: DataSet, objective: Objective
) -> Grid:
    """What the grids show: points on a map of the ratio, or images; with labels a class a row over the same z."""
    columns = math.isqrt(config.log.grid_images)
    source = _generator(resident.examples.device, config.seed, "grid")
    if isinstance(resident, PointSet):
        ratio_map = RatioMap(resident.density, resident.points[:MAPPED_POINTS])
        learnt = "learnt log r" if objective.has_log_ratio else "v"
        z = sample_latent(networks.prior, (MAPPED_POINTS, networks.latent_dim), source)
        real = resident.points[MAPPED_POINTS : 2 * MAPPED_POINTS]
        return Grid(z, None, real, partial(ratio_map.picture, learnt=learnt), animated=True)

    def draw(images: Tensor, judge: Callable[[Tensor], Tensor]) -> Tensor:
        return as_grid(images.cpu(), columns)

    if not networks.classes:
        z = sample_latent(networks.prior, (columns**2, networks.latent_dim), source)
        return Grid(z, None, resident.images[batches.order[: columns**2]], draw)
    rows = min(networks.classes, max(columns, CLASSES_IN_A_GRID))
    z = sample_latent(networks.prior, (columns, networks.latent_dim), source).repeat(rows, 1)
    labels = torch.arange(rows, device=z.device).repeat_interleave(columns)
    of_class = [(resident.labels == label).nonzero()[:columns, 0] for label in range(rows)]
    complete = [torch.cat((found, found.new_zeros(columns - len(found)))) for found in of_class]
    return Grid(z, labels, resident.images[torch.cat(complete)], draw)


def resumed_config(run: Path, asked: dict[str, Any]) -> tuple[Config, dict[str, Any]]:
    """The configuration of a run to go on with, and its checkpoint.

    Args:
        run: its folder.
        asked: dotted keys given explicitly with this start; only those of `MAY_CHANGE_ON_RESUME` may differ
            from the run's.

    Raises:
        CheckpointError: there is no usable checkpoint.
        ConfigError: a key differs, or the run is finished.
    """
    state = load_checkpoint(run / LAST)
    stored = flatten(state["config"])
    differ = [
        f"{key}: {stored.get(key)!r} in the run, {value!r} now"
        for key, value in asked.items()
        if key not in MAY_CHANGE_ON_RESUME and value != stored.get(key)
    ]
    if differ:
        raise ConfigError(
            f"resume={str(run)!r} goes on with the run's own configuration, and these keys differ: "
            f"{'; '.join(differ)}. Leave them out, or start a new run. May change: {', '.join(MAY_CHANGE_ON_RESUME)}"
        )
    tree = state["config"]
    for key, value in asked.items():
        if key in MAY_CHANGE_ON_RESUME and key != "resume":
            *sections, last = key.split(".")
            branch = tree
            for section in sections:
                branch = branch[section]
            branch[last] = value
    config = from_dict(tree)
    if config.schedule.steps <= state["step"]:
        raise ConfigError(
            f"resume={str(run)!r} has done its {state['step']} steps; give a larger schedule.steps to go further"
        )
    return config, state


def run(config: Config, folder_path: Path, state: dict[str, Any] | None = None) -> Outcome:
    """Trains as configured, in that folder, from `state` if it is given; prints what came out.

    Raises:
        ValueError: one of gantrain's errors for users: a device, data, weights, a folder or a checkpoint.
        NotFiniteError: training ran into a value that is not finite.
        StoppedByDoctorError: the doctor ended the run, which is saved and reported all the same.
    """
    device = make_device(config.device)
    if state is None:
        check_free(folder_path)
    if device.type == "cuda":
        torch.cuda.set_device(device)
        torch.cuda.reset_peak_memory_stats(device)
        torch.backends.cudnn.benchmark = True
    for warning in warnings_for(config):
        print(f"gantrain: warning: {warning}", file=sys.stderr)
    weights = find_weights(config)
    prepare_data(config)
    training_set = load_data(config, "train")
    metrics = build_metrics(config, weights, training_set, device)
    if config.cond.name != "none":
        check_classes(f"cond={config.cond.name}", training_set, training_set.labels)
    trainer = build_trainer(config, training_set, metrics, device)
    if state is not None:
        try:
            trainer.load_state_dict(state)
        except (LookupError, RuntimeError, TypeError, ValueError, AttributeError, AssertionError) as error:
            reason = " ".join(str(error).split())[:300] or type(error).__name__
            raise CheckpointError(
                f"the checkpoint in {str(folder_path)!r} does not fit its configuration ({reason}); copy {BEST} over "
                f"{LAST} if there is one, or start the run anew"
            ) from None
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"
    folder = RunFolder(folder_path, trainer.config, name, resume_step=None if state is None else trainer.step)
    examples = "points" if isinstance(training_set, PointSet) else "images"
    print(
        f"{trainer.iteration.objective} on {len(training_set):,} {examples} of {training_set.name}, {name}",
        file=sys.stderr,
    )
    try:
        outcome = trainer.fit(folder)
    finally:
        folder.close()
    print(report(config, folder, outcome, device))
    if outcome.stopped is not None:
        raise StoppedByDoctorError(f"{outcome.stopped} doctor.stop=true: resume={folder_path} goes on all the same.")
    return outcome


def report(config: Config, folder: RunFolder, outcome: Outcome, device: torch.device) -> str:
    """What a run reached and where it lies, in a few lines."""
    lines = [f"\n{'Stopped' if outcome.stopped else 'Done'}: {outcome.step} steps of {config.name}"]
    lines += [f"  {name}: {value:.5g}" for name, value in outcome.figures.items()]
    if outcome.best:
        lines.append(f"  best {outcome.best['headline']}: {outcome.best['value']:.5g} at step {outcome.best['step']}")
    if config.about.source:
        lines.append(f"  {config.about.source}: {config.about.published or 'no figure published'}")
    lines += [
        f"  samples      {folder.samples}/{outcome.step:07d}.png",
        f"  TensorBoard  tensorboard --logdir {folder.tensorboard}",
        f"  metrics      {folder.path}/metrics.jsonl",
        f"  checkpoint   {folder.path}/{LAST}",
        f"  peak memory  {peak_memory(device)}",
    ]
    if outcome.diagnostics_share is not None:
        lines.append(f"  diagnostics  {outcome.diagnostics_share:.2%} of the training time")
    return "\n".join(lines)


def peak_memory(device: torch.device) -> str:
    """The most memory used so far, of the GPU too."""
    unit = 1 if sys.platform == "darwin" else 1024
    host = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30
    if device.type != "cuda":
        return f"{host:.2f} GiB"
    return f"{host:.2f} GiB, GPU {torch.cuda.max_memory_allocated(device) / 2**30:.2f} GiB"


def stream_seed(seed: int, stream: str) -> int:
    """The seed of one of `STREAMS`: 32 bits, since the CPU's generator reads no more."""
    return int(np.random.SeedSequence(seed, spawn_key=(STREAMS.index(stream),)).generate_state(1)[0])


def _generator(device: torch.device, seed: int, stream: str) -> torch.Generator:
    return torch.Generator(device).manual_seed(stream_seed(seed, stream))
