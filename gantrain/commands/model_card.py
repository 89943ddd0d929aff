"""The README of an exported generator (model_card.md.j2): properties, metrics, and code that loads it."""

import json
from pathlib import Path

from jinja2 import Environment, StrictUndefined

import gantrain
from gantrain.commands.trained import TrainedRun
from gantrain.networks import count_parameters
from gantrain.run_io.metrics_jsonl import METRICS, read_rows


def metadata_of(trained: TrainedRun) -> dict[str, str]:
    """Metadata of a file of weights."""
    networks, config = trained.networks, trained.config
    return {
        "made_by": f"gantrain {gantrain.__version__}",
        "name": config.name,
        "model": config.model.name,
        "objective": str(config.loss.make()),
        "data": config.data.name,
        "network": trained.network,
        "checkpoint": trained.checkpoint,
        "step": str(trained.step),
        "prior": networks.prior,
        "latent_dim": str(networks.latent_dim),
        "image_range": json.dumps(networks.image_range),
        "classes": json.dumps(list(trained.classes) if networks.classes else []),
    }


def model_card(trained: TrainedRun, formats: list[str], difference: float | None) -> str:
    """Markdown, with the front matter that model hubs read.

    Args:
        trained: a run of images.
        formats: formats of the exported files.
        difference: largest difference between ONNX Runtime's and PyTorch's pixels; None without an ONNX file.
    """
    networks = trained.networks
    assert networks.image_range is not None, "points are not exported"
    low, high = networks.image_range
    environment = Environment(
        undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, keep_trailing_newline=True
    )
    environment.filters["cell"] = lambda text: text.replace("|", "\\|")
    template = Path(__file__).with_name("model_card.md.j2").read_text(encoding="utf-8")
    return environment.from_string(template).render(
        version=gantrain.__version__,
        config=trained.config,
        objective=str(trained.config.loss.make()),
        size=trained.config.data.image_size,
        classes=list(trained.classes) if networks.classes else [],
        parameters=count_parameters(networks.generator),
        step=trained.step,
        network=trained.network,
        of_best=", from the checkpoint of the best measurement" if trained.checkpoint == "best" else "",
        latent_dim=networks.latent_dim,
        prior=networks.prior,
        low=f"{low:g}",
        high=f"{high:g}",
        offset=f"{0 - low:g}",
        scale=f"{255 / (high - low):g}",
        metrics=_metrics(trained),
        formats=formats,
        difference=None if difference is None else f"{difference:.1g}",
    )


def _metrics(trained: TrainedRun) -> list[tuple[str, str, str]]:
    """Name, value and protocol of the network's metrics; protocols are those of these values in metrics.jsonl."""
    suffix = f"_{trained.network}"
    values = {
        name.removesuffix(suffix): value for name, value in trained.metric_values.items() if name.endswith(suffix)
    }
    path = trained.folder / METRICS
    protocols = {
        row["name"]: row["protocol"]
        for row in (read_rows(path) if path.is_file() else [])
        if row["kind"] == "metric"
        and row["protocol"].get("network") == trained.network
        and row["value"] == values.get(row["name"])
    }
    described = {
        name: ", ".join(f"{key} {value}" for key, value in protocol.items() if key != "network")
        for name, protocol in protocols.items()
    }
    return [(name, f"{value:.5g}", described.get(name) or "unknown") for name, value in values.items()]
