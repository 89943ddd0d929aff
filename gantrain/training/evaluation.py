"""Evaluation of a run's generators; training waits meanwhile."""

import torch
from torch import nn

from gantrain.metrics.metric import Metric, MetricValue
from gantrain.metrics.sampling import generate_images
from gantrain.networks import NetworkPair
from gantrain.system.distributed import SINGLE_PROCESS, Processes
from gantrain.training.plan import Sampling


def evaluate(
    generators: dict[str, nn.Module],
    metrics: list[Metric],
    sampling: Sampling,
    networks: NetworkPair,
    *,
    device: torch.device,
    processes: Processes = SINGLE_PROCESS,
) -> dict[str, list[MetricValue]]:
    """Metrics of each generator, from samples of a fixed seed; draws nothing from the default random generators.

    Args:
        generators: the networks to evaluate, by name.
        metrics: the metrics to compute.
        sampling: how many images to generate, and how.
        networks: the pair that gives latent distribution, image range and classes.
        device: device of the computation.
        processes: the processes that generate and measure together.

    Returns:
        The metric values of each generator, in the order of `metrics`.
    """
    results: dict[str, list[MetricValue]] = {}
    for name, generator in generators.items():
        images, labels = generate_images(
            generator,
            count=sampling.count,
            latent_dim=networks.latent_dim,
            prior=networks.prior,
            image_range=networks.image_range,
            batch_size=sampling.batch_size,
            seed=sampling.seed,
            device=device,
            classes=networks.classes,
            processes=processes,
        )
        results[name] = [value for metric in metrics for value in metric.measure(images, labels)]
    return results
