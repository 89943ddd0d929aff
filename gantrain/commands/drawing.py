"""Samples of a trained run: z and labels, the discriminator's log-ratios, and images.

z and labels are chosen before the images are generated, so that ranking and rejection keep no images in memory.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from gantrain.commands.trained import TrainedRun
from gantrain.config import ConfigError
from gantrain.metrics.rejection import PERCENTILE, Accepted, RejectionError, rejection_sample
from gantrain.metrics.sampling import draw_images
from gantrain.networks import sample_latent
from gantrain.networks.latent_paths import truncate_normal
from gantrain.objectives import ObjectiveError

BATCH = 100


@dataclass(frozen=True, slots=True)
class Latents:
    """Inputs of the generator, on the run's device, and log-ratios of its outputs.

    Attributes:
        z: (N, latent_dim).
        labels: (N,); None if the networks read no labels.
        log_ratio: the discriminator's log q/p (N,), see `discriminate`; None if it was not computed.
        acceptance: acceptance rate of rejection sampling; None without it.
    """

    z: Tensor
    labels: Tensor | None = None
    log_ratio: Tensor | None = None
    acceptance: float | None = None

    def ranked(self, *, by_label: bool = False) -> "Latents":
        """Sorted by descending `log_ratio`; with `by_label` within each label, labels ascending."""
        assert self.log_ratio is not None
        order = self.log_ratio.argsort(descending=True, stable=True)
        if by_label and self.labels is not None:
            order = order[self.labels[order].argsort(stable=True)]
        labels = None if self.labels is None else self.labels[order]
        return replace(self, z=self.z[order], labels=labels, log_ratio=self.log_ratio[order])


def draw_samples(
    trained: TrainedRun, count: int, seed: int, *, rejection: bool = False, percentile: float | None = PERCENTILE
) -> tuple[Latents, Tensor]:
    """Latents, see `choose_latents`, and their images; without rejection those that training measures."""
    latents = choose_latents(trained, count, seed, rejection=rejection, percentile=percentile)
    return latents, generate(trained, latents.z, latents.labels)


def choose_latents(
    trained: TrainedRun,
    count: int,
    seed: int,
    labels: Tensor | None = None,
    *,
    truncation: float | None = None,
    rejection: bool = False,
    percentile: float | None = PERCENTILE,
) -> Latents:
    """Draws z and labels.

    Args:
        trained: the run.
        count: number of samples.
        seed: of z, labels and rejection.
        labels: (count,); None draws them uniformly if the networks read labels.
        truncation: limit of the normal prior, see `truncate_normal`.
        rejection: discriminator rejection sampling, which sets `log_ratio`. Given labels are kept; drawn labels are
            accepted together with their images, which also corrects the frequency of classes.
        percentile: of `rejection_sample`.

    Raises:
        ConfigError: truncation of another prior, rejection without a ratio, or too few accepted samples.
    """
    networks, device = trained.networks, trained.device
    check_truncation(trained, truncation)
    source = torch.Generator(device).manual_seed(seed)
    labels = None if labels is None else labels.to(device)
    if rejection:
        check_ratio(trained, "rejection=true")
        return _accept(trained, count, source, labels, percentile)
    z = sample_latent(networks.prior, (count, networks.latent_dim), source)  # in one call, as in training
    if truncation is not None:
        z = truncate_normal(z, truncation)
    if labels is None and networks.classes:
        labels = torch.randint(networks.classes, (count,), generator=source, device=device)
    return Latents(z, labels)


def generate(trained: TrainedRun, z: Tensor, labels: Tensor | None) -> Tensor:
    """uint8 images (N, 3, H, W), or points (N, 2), of z (N, latent_dim) and labels (N,)."""
    networks = trained.networks
    return draw_images(networks.generator, z, labels, image_range=networks.image_range, batch_size=BATCH)


@torch.no_grad()
def discriminate(trained: TrainedRun, z: Tensor, labels: Tensor | None) -> Tensor:
    """The discriminator's estimate of log q/p (N,) at the images of z (N, latent_dim); -inf where it is undefined.

    The images are floats as in training, not rounded to 8 bits, and batch norm uses its running statistics. p is the
    density of the raw generator with the run's augmentation and instance noise; for images of the EMA the estimate is
    less accurate.

    Raises:
        ObjectiveError: the discriminator estimates no ratio.
    """
    objective, networks = trained.config.loss.make(), trained.networks
    inputs = (z,) if labels is None else (z, labels)
    found = []
    for part in zip(*(tensor.split(BATCH) for tensor in inputs), strict=True):
        output = networks.discriminator(networks.generator(*part), *part[1:])
        found.append(objective.log_ratio(output if labels is None else output[0]))
    return torch.cat(found).nan_to_num(nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf)


def check_ratio(trained: TrainedRun, reader: str) -> None:
    """Checks that the discriminator estimates a ratio, for an option that needs it.

    Raises:
        ConfigError: the discriminator does not; the message names objectives that do.
    """
    try:
        trained.config.loss.make().log_ratio(torch.zeros(1))
    except ObjectiveError as error:
        raise ConfigError(f"{reader} uses the ratio q/p of the run's discriminator, but loss.{error}") from None


def check_truncation(trained: TrainedRun, truncation: float | None) -> None:
    """Checks that the prior has tails to truncate.

    Raises:
        ConfigError: it is not normal.
    """
    if truncation is not None and trained.networks.prior != "normal":
        raise ConfigError(
            f"truncation={truncation:g} cuts the tails of a normal prior, but the run has "
            f"model.prior={trained.networks.prior}: leave it out"
        )


def _accept(
    trained: TrainedRun, count: int, source: torch.Generator, labels: Tensor | None, percentile: float | None
) -> Latents:
    """Rejection sampling, for each of the given labels separately."""
    networks, device = trained.networks, source.device

    def draw(label: int | None) -> tuple[tuple[Tensor, ...], Tensor]:
        z = sample_latent(networks.prior, (BATCH, networks.latent_dim), source)
        if not networks.classes:
            return (z,), discriminate(trained, z, None)
        if label is None:
            drawn = torch.randint(networks.classes, (BATCH,), generator=source, device=device)
        else:
            drawn = torch.full((BATCH,), label, device=device)
        return (z, drawn), discriminate(trained, z, drawn)

    def accept(wanted: int, label: int | None) -> Accepted:
        try:
            return rejection_sample(lambda: draw(label), wanted, source, percentile=percentile)
        except RejectionError as error:
            raise ConfigError(f"rejection=true: {error}") from None

    if labels is None:
        parts, order = [accept(count, None)], torch.arange(count, device=device)
    else:
        parts = [accept(int((labels == label).sum()), int(label)) for label in labels.unique()]
        order = labels.argsort(stable=True).argsort()  # from sorted by label to the requested order
    samples = [torch.cat(part)[order] for part in zip(*(part.samples for part in parts), strict=True)]
    return Latents(
        z=samples[0],
        labels=samples[1] if networks.classes else None,
        log_ratio=torch.cat([part.log_ratio for part in parts])[order],
        acceptance=sum(part.rate * part.drawn for part in parts) / sum(part.drawn for part in parts),
    )
