"""What a network pair declares: its options, its limits, and the function that builds it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from gantrain.networks.layers import PRIORS
from gantrain.networks.normalization import NORMS
from gantrain.networks.spectral import SCHEDULES
from gantrain.options import between, choice, option, require, unread

LABELS = ("none", "acgan", "projection")
"""How a discriminator reads class labels."""
GENERATOR_LABELS = ("batch_norm", "embedding")
"""How a generator reads class labels."""


@dataclass(kw_only=True)
class NetworkOptions:
    """Options of every network pair, `model.*`."""

    width: int = option(
        128,
        "base number of feature maps (the papers': dcgan 128 at 32 pixels, sngan 64, resnet 256, poole 32), or units",
    )
    d_width: int | None = option(
        None, "width of the discriminator, if different; null: model.width (model=resnet sets 128)"
    )
    latent_dim: int = option(100, "size of the latent z")
    prior: str = option("normal", "distribution of z: normal N(0, I), uniform [-1, 1], or sphere of radius √dim")
    d_norm: str = option(
        "spectral",
        "normalization in the discriminator: spectral, none, and for dcgan and sngan batch, layer, instance or virtual",
    )
    sn_schedule: str = option(
        "per_forward",
        "spectral: a power iteration per_forward of D in training (the published method), or per_step of training",
    )
    g_norm: str = option("batch", "normalization in the generator: batch, layer, instance, virtual or none")

    def __post_init__(self) -> None:
        """Checks ranges."""
        between("model.width", self.width, 1, 2048)
        between("model.d_width", self.d_width, 1, 2048)
        between("model.latent_dim", self.latent_dim, 1, 65536)
        choice("model.prior", self.prior, PRIORS)
        choice("model.sn_schedule", self.sn_schedule, SCHEDULES)
        if self.d_norm != "spectral":
            unread("model.sn_schedule", self.sn_schedule, "per_forward", "model.d_norm=spectral")

    @property
    def discriminator_width(self) -> int:
        """Base number of feature maps in the discriminator."""
        return self.d_width or self.width


@dataclass(kw_only=True)
class ConvOptions(NetworkOptions):
    """Options of pairs for images."""

    g_dropout: float = option(0.0, "rate of dropout after the generator's activations, in training; 0: off")
    d_dropout: float = option(
        0.0, "rate of dropout after the discriminator's activations (poole has its own already); 0: off"
    )
    sync_batch_norm: bool = option(
        False,
        "compute the statistics of batch norm in training over all processes of torchrun, not over each one's rows",
    )
    virtual_reference: int = option(64, "images in the reference batch of virtual batch norm")

    def __post_init__(self) -> None:
        """Checks ranges, and that every value is used."""
        super().__post_init__()
        require(0 <= self.g_dropout < 1, "model.g_dropout", self.g_dropout, "must be in [0, 1); 0 turns it off")
        require(0 <= self.d_dropout < 1, "model.d_dropout", self.d_dropout, "must be in [0, 1); 0 turns it off")
        between("model.virtual_reference", self.virtual_reference, 2, 4096)
        norms = (self.d_norm, self.g_norm)
        if "batch" not in norms:
            unread("model.sync_batch_norm", self.sync_batch_norm, False, "model.d_norm or g_norm=batch")
        if "virtual" not in norms:
            unread("model.virtual_reference", self.virtual_reference, 64, "model.d_norm or g_norm=virtual")


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """The images that a pair is built for, and how its networks read class labels.

    Attributes:
        image_size: height and width in pixels.
        classes: number of classes; 0 for networks that read no labels.
        labels: of the discriminator, see `LABELS`.
        g_labels: of the generator: batch_norm (a gain and a bias for each class) or embedding (appended to z).
    """

    image_size: int
    classes: int = 0
    labels: str = "none"
    g_labels: str = "batch_norm"

    @property
    def batch_norm_classes(self) -> int:
        """Number of classes of class-conditional batch norm; 0 if the generator does not use it."""
        return self.classes if self.g_labels == "batch_norm" else 0

    @property
    def embedded_classes(self) -> int:
        """Number of classes embedded next to z; 0 if the generator does not do so."""
        return self.classes if self.g_labels == "embedding" else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkSpec:
    """A pair of networks that `model.name` can choose.

    Attributes:
        name: value of `model.name`, and name of its file configs/model/NAME.yaml.
        title: short description for the help text.
        build: (options, target) -> (generator, discriminator) with fresh weights, drawn from the global RNG on the CPU.
            The generator maps z (N, latent_dim) to images (N, 3, size, size) in `image_range` or to points (N, 2), the
            discriminator maps these to logits (N,). With classes both also take labels (N,), and the discriminator
            returns (logits, class scores (N, classes)). Spectral norm is added afterwards.
        options: dataclass of the `model.*` keys that it reads.
        image_range: of the generator's images; None for a pair for points.
        image_sizes: heights and widths that it can be built for.
        d_norms: allowed values of `model.d_norm`.
        g_norms: allowed values of `model.g_norm`.
        fixed: keys that must have one value, with the reason: {"d_dropout": (0.0, "which has its own")}.
        has_dropout: whether the discriminator has dropout even with `model.d_dropout=0`.
        prefers_channels_last: whether it runs faster on a CPU with memory format channels_last.
    """

    name: str
    title: str
    build: Callable[[Any, Target], tuple[nn.Module, nn.Module]]
    options: type[NetworkOptions] = ConvOptions
    image_range: tuple[float, float] | None = (-1.0, 1.0)
    image_sizes: tuple[int, ...] = (32,)
    d_norms: tuple[str, ...] = ("spectral", *NORMS)
    g_norms: tuple[str, ...] = NORMS
    fixed: Mapping[str, tuple[object, str]] = field(default_factory=dict)
    has_dropout: bool = False
    prefers_channels_last: bool = True

    @property
    def points(self) -> bool:
        """Whether the pair is for points instead of images."""
        return self.image_range is None

    def check(self, options: NetworkOptions) -> None:
        """Checks that the pair has these normalizations; ConfigError if not."""
        for key, known in (("d_norm", self.d_norms), ("g_norm", self.g_norms)):
            value = getattr(options, key)
            rule = f"does not exist for model.name={self.name}; choose one of [{', '.join(known)}]"
            require(value in known, f"model.{key}", value, rule)
