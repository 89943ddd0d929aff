"""Samples of a trained run: choice of z and labels, the discriminator's log-ratios, and images.

z and labels are chosen before the images are generated, so that 100,000 samples can be ranked or rejected without
keeping their images in memory.
"""

from collections.abc import Iterator
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Latents:
    """Inputs of the generator, and log-ratios of its outputs.

    Attributes:
        z: (N, latent_dim), on the run's device.
        labels: (N,); None if the networks read none.
        log_ratio: the discriminator's log q/p (N,), see `discriminate`; None if it was not computed.
        acceptance: acceptance rate of rejection sampling; None without it.
    """

    z: Tensor
    labels: Tensor | None
    log_ratio: Tensor | None = None
    acceptance: float | None = None

    def __getitem__(self, chosen: Tensor) -> "Latents":
        """The samples at these indices or of this mask."""
        labels, log_ratio = (None if part is None else part[chosen] for part in (self.labels, self.log_ratio))
        return replace(self, z=self.z[chosen], labels=labels, log_ratio=log_ratio)


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawing(Latents):
    """Samples with their images, uint8 (N, 3, H, W), or points (N, 2), on the run's device."""

    images: Tensor


def draw_samples(
    trained: TrainedRun, count: int, seed: int, *, rejection: bool = False, percentile: float | None = PERCENTILE
) -> Drawing:
    """Images of a run's generator, see `choose_latents`; without rejection the images that training measures."""
    latents = choose_latents(trained, count, seed, rejection=rejection, percentile=percentile)
    return Drawing(
        z=latents.z,
        labels=latents.labels,
        log_ratio=latents.log_ratio,
        acceptance=latents.acceptance,
        images=torch.cat(list(generate(trained, latents))),
    )


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
        return _accepted(trained, count, source, labels, percentile)
    z = sample_latent(networks.prior, (count, networks.latent_dim), source)  # in one call, as in training
    if truncation is not None:
        z = truncate_normal(z, truncation)
    if labels is None and networks.classes:
        labels = torch.randint(networks.classes, (count,), generator=source, device=device)
    return Latents(z=z, labels=labels)


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
    found = []
    for k, part in enumerate(z.split(BATCH)):
        if labels is None:
            logits = networks.discriminator(networks.generator(part))
        else:
            of_part = labels.split(BATCH)[k]
            logits, _ = networks.discriminator(networks.generator(part, of_part), of_part)
        found.append(objective.log_ratio(logits))
    return torch.cat(found).nan_to_num(nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf)


def with_log_ratio(trained: TrainedRun, latents: Latents) -> Latents:
    """The same samples with `log_ratio`."""
    if latents.log_ratio is not None:
        return latents
    return replace(latents, log_ratio=discriminate(trained, latents.z, latents.labels))


def ranked(latents: Latents, *, in_rows: bool = False) -> Latents:
    """Sorts by descending `log_ratio`; with `in_rows` within each label, labels ascending."""
    assert latents.log_ratio is not None, "call with_log_ratio first"
    order = latents.log_ratio.argsort(descending=True, stable=True)
    if in_rows and latents.labels is not None:
        order = order[latents.labels[order].argsort(stable=True)]
    return latents[order]


def check_ratio(trained: TrainedRun, reader: str) -> None:
    """Checks that the discriminator estimates a ratio, for an option that needs it.

    Raises:
        ConfigError: it does not; the message names objectives that do.
    """
    try:
        trained.config.loss.make().log_ratio(torch.zeros(1))
    except ObjectiveError as error:
        raise ConfigError(f"{reader} uses the ratio q/p of the run's discriminator, and loss.{error}") from None


def check_truncation(trained: TrainedRun, truncation: float | None) -> None:
    """Checks that the prior has tails to truncate.

    Raises:
        ConfigError: it is not normal.
    """
    if truncation is not None and trained.networks.prior != "normal":
        raise ConfigError(
            f"truncation={truncation:g} cuts the tails of a normal prior, and the run's is "
            f"model.prior={trained.networks.prior}, which has none: leave it out"
        )


def generate(trained: TrainedRun, latents: Latents) -> Iterator[Tensor]:
    """Yields batches of images, uint8 (B, 3, H, W), or points (B, 2)."""
    labels = latents.labels
    for k, z in enumerate(latents.z.split(BATCH)):
        yield draw_images(
            trained.networks.generator,
            z,
            None if labels is None else labels.split(BATCH)[k],
            image_range=trained.networks.image_range,
            batch_size=BATCH,
        )


def _accepted(
    trained: TrainedRun, count: int, source: torch.Generator, labels: Tensor | None, percentile: float | None
) -> Latents:
    networks = trained.networks

    def draw(label: int | None) -> tuple[tuple[Tensor, ...], Tensor]:
        z = sample_latent(networks.prior, (BATCH, networks.latent_dim), source)
        if not networks.classes:
            return (z,), discriminate(trained, z, None)
        if label is None:
            of_z = torch.randint(networks.classes, (BATCH,), generator=source, device=source.device)
        else:
            of_z = torch.full((BATCH,), label, device=source.device)
        return (z, of_z), discriminate(trained, z, of_z)

    def accept(wanted: int, label: int | None) -> Accepted:
        try:
            return rejection_sample(lambda: draw(label), wanted, source, percentile=percentile)
        except RejectionError as error:
            raise ConfigError(f"rejection=true: {error}") from None

    if labels is None:
        parts = [accept(count, None)]
        order = torch.arange(count, device=source.device)
    else:
        parts = [accept(int((labels == label).sum()), int(label)) for label in labels.unique()]
        order = labels.argsort(stable=True).argsort()  # from sorted by label to the requested order
    samples = [torch.cat(part)[order] for part in zip(*(part.samples for part in parts), strict=True)]
    kept = sum(part.rate * part.drawn for part in parts)
    return Latents(
        z=samples[0],
        labels=samples[1] if networks.classes else None,
        log_ratio=torch.cat([part.log_ratio for part in parts])[order],
        acceptance=kept / sum(part.drawn for part in parts),
    )
