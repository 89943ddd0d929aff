"""`model.*`: the pair of networks, their norms, and the prior of z."""

from dataclasses import dataclass

from gantrain.options import between, choice, option, require, unread

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
SN_SCHEDULES = ("per_forward", "per_step")


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
        "normalization in the discriminator: spectral, none, and for dcgan and sngan batch, layer, instance or virtual",
    )
    sn_schedule: str = option(
        "per_forward",
        "spectral: a power iteration per_forward of D in training (the published method), or per_step of training",
    )
    g_norm: str = option("batch", "normalization in the generator: batch, layer, instance, virtual or none")
    g_dropout: float = option(0.0, "rate of dropout after the generator's activations, in training; 0 is off")
    d_dropout: float = option(
        0.0, "rate of dropout after the discriminator's activations (poole has its own already); 0 is off"
    )
    sync_batch_norm: bool = option(
        False, "statistics of batch norm in training over the rows of all processes of torchrun, not of each one's own"
    )
    virtual_reference: int = option(64, "images in the reference batch of virtual batch norm")
    d_pattern: str = option("paper", "sngan: the discriminator's widths of the paper's table or of its released code")
    maxout_count: str = option(
        "after", "poole: feature maps counted after the maximum (the paper) or before (ALI's code)"
    )

    def __post_init__(self) -> None:
        """Checks names and ranges."""
        choice("model.name", self.name, MODEL_NAMES)
        between("model.width", self.width, 1, 2048)
        between("model.latent_dim", self.latent_dim, 1, 65536)
        choice("model.prior", self.prior, PRIORS)
        require(
            self.d_norm in D_NORMS[self.name],
            "model.d_norm",
            self.d_norm,
            f"does not exist for model.name={self.name}; choose one of [{', '.join(D_NORMS[self.name])}]",
        )
        choice("model.sn_schedule", self.sn_schedule, SN_SCHEDULES)
        if self.d_norm != "spectral":
            unread("model.sn_schedule", self.sn_schedule, "per_forward", "model.d_norm=spectral")
        between("model.d_width", self.d_width, 1, 2048)
        choice("model.g_norm", self.g_norm, G_NORMS)
        require(0 <= self.g_dropout < 1, "model.g_dropout", self.g_dropout, "must lie in [0, 1); 0 turns it off")
        require(0 <= self.d_dropout < 1, "model.d_dropout", self.d_dropout, "must lie in [0, 1); 0 turns it off")
        if self.name == "poole":
            unread("model.d_dropout", self.d_dropout, 0.0, "the pairs whose tables have no dropout of their own")
        if self.name == "mlp":
            for key in ("g_dropout", "d_dropout"):
                unread(f"model.{key}", getattr(self, key), 0.0, "the convolutional pairs")
            require(self.g_norm == "none", "model.g_norm", self.g_norm, "does not exist for model=mlp; use none")
        between("model.virtual_reference", self.virtual_reference, 2, 4096)
        if "batch" not in (self.d_norm, self.g_norm):
            unread("model.sync_batch_norm", self.sync_batch_norm, False, "model.d_norm or g_norm=batch")
        if "virtual" not in (self.d_norm, self.g_norm):
            unread("model.virtual_reference", self.virtual_reference, 64, "model.d_norm or g_norm=virtual")
        choice("model.d_pattern", self.d_pattern, D_PATTERNS)
        if self.name != "sngan":
            unread("model.d_pattern", self.d_pattern, "paper", "model=sngan")
        choice("model.maxout_count", self.maxout_count, MAXOUT_COUNTS)
        if self.maxout_count == "before":
            width = self.d_width or self.width
            require(width % 2 == 0, "model.width", width, "must be even for model.maxout_count=before")
        if self.name != "poole":
            unread("model.maxout_count", self.maxout_count, "after", "model=poole")
