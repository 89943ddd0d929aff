"""`Config`: all sections, the checks that involve more than one, and the list of all keys."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass
from typing import get_args, get_origin, get_type_hints

from gantrain.config.cond import CondConfig
from gantrain.config.data import DataConfig
from gantrain.config.log import DoctorConfig, LogConfig
from gantrain.config.loss import LossConfig
from gantrain.config.metrics import MetricsConfig
from gantrain.config.model import ModelConfig
from gantrain.config.optimizer import OptimizerConfig, ScheduleConfig
from gantrain.config.paper import PaperConfig
from gantrain.config.regularizer import RegularizerConfig
from gantrain.config.sweep import SweepConfig
from gantrain.config.tricks import TricksConfig
from gantrain.data import DATASETS
from gantrain.metrics.metric import DIGITS, IMAGES, POINTS, MetricSpec
from gantrain.metrics.registry import find_specs
from gantrain.networks import NETWORKS
from gantrain.options import ConfigError, between, choice, option, require, unread
from gantrain.training.augment import AugmentOptions

PRECISIONS = ("tf32", "float32", "bf16")
EXECUTORS = ("auto", "eager", "compiled", "graph", "compiled_graph")

MAY_CHANGE_ON_RESUME = (
    *("resume", "schedule.steps", "device", "executor", "profile", "data.root", "data.on_device"),
    *("metrics.inception_weights", "doctor.stop"),
    *("sweep.resume", "sweep.retry", "sweep.invalid_pairs", "sweep.objective"),
    *("sweep.prune", "sweep.prune_percentile", "sweep.prune_after", "sweep.prune_from"),
)
"""Keys that do not change the training itself: paths, devices, number of steps, early stopping."""


@dataclass(slots=True, kw_only=True)
class Config:
    """The configuration of a run."""

    name: str = option("run", "name of the run, part of its folder's name")
    seed: int = option(0, "seed of the initial weights, latents, data order, flips and dropout")
    device: str = option("auto", "auto (CUDA if available), cpu, cuda or cuda:N")
    precision: str = option(
        "tf32",
        "tf32 (float32 with TF32 matrix products on CUDA), float32, or bf16 (autocast; weights, statistics, "
        "logits and losses stay float32)",
    )
    executor: str = option(
        "auto",
        "how a training step runs: eager, compiled (Inductor), graph (one CUDA graph), compiled_graph; auto "
        "is graph on CUDA, eager on a CPU",
    )
    channels_last: bool | None = option(
        None, "store networks and images as NHWC; null: on a CPU, except for model=poole"
    )
    joint_batch: bool | None = option(
        None,
        "pass real and fake images through D in one batch, with batch norm statistics for each half; null: if this "
        "changes only rounding and is faster (CUDA, or a CPU with channels_last)",
    )
    deterministic: bool = option(
        False, "use deterministic kernels, for bitwise reproducible runs and resumes; slower on CUDA"
    )
    profile: bool = option(
        False, "write a trace of ten training steps into the run's folder, for Perfetto and TensorBoard"
    )
    resume: str | None = option(None, "folder of a run to continue from its last checkpoint")
    model: ModelConfig = field(default_factory=ModelConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    regularizer: RegularizerConfig = field(default_factory=RegularizerConfig)
    cond: CondConfig = field(default_factory=CondConfig)
    augment: AugmentOptions = field(default_factory=AugmentOptions)
    tricks: TricksConfig = field(default_factory=TricksConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    data: DataConfig = field(default_factory=DataConfig)
    metrics: MetricsConfig = field(default_factory=MetricsConfig)
    log: LogConfig = field(default_factory=LogConfig)
    doctor: DoctorConfig = field(default_factory=DoctorConfig)
    sweep: SweepConfig = field(default_factory=SweepConfig)
    paper: PaperConfig = field(default_factory=PaperConfig)

    def __post_init__(self) -> None:
        """Checks ranges, and combinations of sections."""
        require(
            re.fullmatch(r"[\w.+=-][\w.+=, -]{0,127}", self.name) is not None and self.name not in (".", ".."),
            "name",
            self.name,
            "must be 1 to 128 characters: letters, digits and . + = - _ (it is part of a folder name)",
        )
        between("seed", self.seed, 0, 2**63 - 1)
        require(
            re.fullmatch(r"auto|cpu|cuda(:\d{1,4})?", self.device) is not None,
            "device",
            self.device,
            "is unknown; choose one of [auto, cpu, cuda, cuda:N]",
        )
        choice("precision", self.precision, PRECISIONS)
        choice("executor", self.executor, EXECUTORS)
        if self.deterministic and self.executor.startswith("compiled"):
            raise ConfigError(
                f"deterministic=true and executor={self.executor!r}: the compiler chooses kernels by timing; set "
                "executor=auto, graph or eager, or deterministic=false"
            )
        require(self.resume != "", "resume", self.resume, "must be a run's folder; leave it out for a new run")
        sizes = self.model.spec.image_sizes
        require(
            self.data.image_size in sizes,
            "data.image_size",
            self.data.image_size,
            f"does not fit model={self.model.name}, which supports {list(sizes)} pixels",
        )
        self._check_points()
        if self.cond.name != "none" and self.cond.generator == "batch_norm" and self.model.g_norm != "batch":
            raise ConfigError(
                f"cond.generator='batch_norm' puts class-conditional batch norm into the generator; "
                f"model.g_norm={self.model.g_norm!r} is another: set cond.generator=embedding or model.g_norm=batch"
            )
        if self.regularizer.clip and self.model.d_norm == "spectral":
            raise ConfigError(
                f"regularizer.clip={self.regularizer.clip:g} has no effect with model.d_norm='spectral', which "
                "divides the weights by their norm: set model.d_norm=none or batch, or regularizer.clip=0"
            )
        if self.augment.target is not None and self.loss.make().boundary is None:
            raise ConfigError(
                f"augment.target={self.augment.target:g} adapts to the sign of D on real images, which has "
                f"no meaning for loss.disc={self.loss.disc}: set augment.target=null, or another loss.disc"
            )
        self.metrics.check_data(self.data_kind, self.data.name)
        if self.metrics.reference_split == "test" and not self.data.spec.has_test:
            raise ConfigError(
                f"metrics.reference_split='test' does not exist for data={self.data.name}, which has no test split: "
                "use train"
            )
        if self.doctor.stop and self.log.diagnostics_every_steps == 0:
            raise ConfigError(
                "doctor.stop=true needs the doctor, which log.diagnostics_every_steps=0 turns off: leave it at "
                "null, or set doctor.stop=false"
            )
        if self.metric_names and "ema" in self.metrics.networks and self.schedule.ema_decay == 0:
            raise ConfigError(
                f"metrics.networks={self.metrics.networks} requires the EMA, which schedule.ema_decay=0 turns off: "
                "set metrics.networks=[raw] or an ema_decay such as 0.999"
            )

    @property
    def metric_names(self) -> tuple[str, ...]:
        """The requested metrics, with `auto` resolved for the data set."""
        return self.metrics.names_for(self.data_kind)

    @property
    def metric_specs(self) -> list[MetricSpec]:
        """The specs of these metrics."""
        return find_specs(self.metric_names, self.data_kind)

    @property
    def value_names(self) -> list[str]:
        """Names of the values of these metrics that have a direction, the headline first."""
        values = [value for spec in self.metric_specs for value in spec.values if value.better is not None]
        return [value.name for value in values if not value.conditional or self.cond.name != "none"]

    @property
    def data_kind(self) -> str:
        """The kind of data that metrics are computed on: images, digits or points."""
        return POINTS if self.data.spec.points else DIGITS if self.data.spec.labels_are_modes else IMAGES

    def _check_points(self) -> None:
        """Checks that points are used with model=mlp and without options for images."""
        points = self.data.spec.points
        if points != self.model.spec.points:
            models = [spec.name for spec in NETWORKS if spec.points]
            sets = [spec.name for spec in DATASETS if spec.points]
            hint = f"use model={models[0]}" if points else f"use data={sets[0]} or another of [{', '.join(sets)}]"
            raise ConfigError(
                f"model={self.model.name} does not fit data={self.data.name}, which consists of "
                f"{'points' if points else 'images'}: {hint}"
            )
        if not points:
            return
        require(
            self.cond.name == "none",
            "cond",
            self.cond.name,
            "needs labels, which model=mlp does not read; leave it at none",
        )
        require(
            not self.augment.policy, "augment.policy", self.augment.policy, "applies to images only; leave it at []"
        )
        unread("log.grid_images", self.log.grid_images, 64, "sets of images, not points")


def options(cls: type = Config, prefix: str = "") -> Iterator[tuple[str, object, str]]:
    """Yields (dotted name, default, help) of every key, sections last."""
    section = cls()
    for f in fields(cls):
        value = getattr(section, f.name)
        if is_dataclass(value):
            yield from options(type(value), f"{prefix}{f.name}.")
        else:
            yield prefix + f.name, value, f.metadata["help"]


KINDS = {
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    str: "text",
    list: "a list, written [A,B]",
    type(None): "null",
}


def kind_of(key: str, cls: type = Config) -> str | None:
    """The type of a dotted key or of a list's item as text, e.g. "a number or null"; None for other types."""
    section, _, rest = key.partition(".")
    name, bracket, _ = section.partition("[")
    hint = get_type_hints(cls).get(name)
    if is_dataclass(hint):
        return kind_of(rest, hint) if isinstance(hint, type) else None
    if hint is None or rest:
        return None
    parts = (list,) if get_origin(hint) is list and not bracket else get_args(hint) or (hint,)
    return " or ".join(KINDS[part] for part in parts) if set(parts) <= set(KINDS) else None
