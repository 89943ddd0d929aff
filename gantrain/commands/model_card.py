"""The README of an exported generator: properties, metrics, and code that loads it."""

import json
from collections.abc import Sequence
from typing import Any

import gantrain
from gantrain.commands.trained import TrainedRun
from gantrain.networks import count_parameters
from gantrain.run_io.metrics_jsonl import METRICS, read_rows

PRIORS = {
    "normal": "z = random.standard_normal((16, {dim}), dtype=np.float32)",
    "uniform": "z = random.uniform(-1, 1, (16, {dim})).astype(np.float32)",
    "sphere": "z = random.standard_normal((16, {dim}), dtype=np.float32)\n"
    "z *= np.float32({dim} ** 0.5) / np.linalg.norm(z, axis=1, keepdims=True)",
}


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
        trained: the run.
        formats: formats of the exported files.
        difference: largest difference between ONNX Runtime's and PyTorch's pixels; None without an ONNX file.
    """
    config, networks = trained.config, trained.networks
    assert networks.image_range is not None, "points are not exported"
    size, (low, high) = config.data.image_size, networks.image_range
    labeled = f", of one of {networks.classes} classes" if networks.classes else ""
    known = [
        ("objective", f"`{config.loss.make()}`"),
        ("data", f"`{config.data.name}`, {size} pixels"),
        ("network", f"`{config.model.name}` of width {config.model.width}, {_parameters(trained)} parameters"),
        ("training", f"{trained.step:,} generator steps of batch {config.schedule.batch_size}, seed {config.seed}"),
        ("weights", _weights(trained)),
        ("z", f"{networks.latent_dim} entries, {networks.prior} prior"),
        ("images", f"(N, 3, {size}, {size}), values in [{low:g}, {high:g}]"),
    ]
    if networks.classes:
        known.append(("classes", _shortened(trained.classes)))
    if config.paper.source:
        known.append(("paper", config.paper.source))
    files = {"config.yaml": "the configuration of the run"}
    if "safetensors" in formats:
        files["generator.safetensors"] = "the weights, under the names of the state_dict"
    if difference is not None:
        files["generator.onnx"] = (
            f"the generator as ONNX, with a dynamic batch size; pixels differ from PyTorch by at most {difference:.1g}"
        )
    sections = [
        f"---\nlibrary_name: gantrain\npipeline_tag: unconditional-image-generation\n"
        f"tags: [gan, {config.model.name}, {config.data.name}]\n---",
        f"# {config.name}",
        f"The generator of a GAN, which draws color images of {size}×{size} pixels{labeled}. Trained with "
        f"gantrain {gantrain.__version__}.",
        _table(("property", "value"), known),
        "## Metrics\n\n" + _metrics(trained),
        "## Files\n\n" + _table(("file", "content"), [(f"`{name}`", text) for name, text in files.items()]),
    ]
    if "safetensors" in formats:
        sections.append("## Load it with gantrain\n\nIn this folder:\n\n" + _fenced(_by_gantrain(trained)))
    if difference is not None:
        sections.append("## Load it with ONNX Runtime\n\nIn this folder:\n\n" + _fenced(_by_onnx(trained)))
    sections.append(
        f"## Data and license\n\n{config.data.spec.note} A generator can repeat training images. Whether it may be "
        "shared depends on the data; no license of the weights is implied. The license of gantrain (Apache-2.0) covers "
        "its code only."
    )
    return "\n\n".join(sections) + "\n"


def _parameters(trained: TrainedRun) -> str:
    return f"{count_parameters(trained.networks.generator):,}"


def _weights(trained: TrainedRun) -> str:
    kind = (
        f"running average (EMA) of decay {trained.config.schedule.ema_decay:g}"
        if trained.network == "ema"
        else "as trained, without averaging"
    )
    return kind + (", from the checkpoint of the best measurement" if trained.checkpoint == "best" else "")


def _metrics(trained: TrainedRun) -> str:
    """Table of the network's metrics, with the protocols that metrics.jsonl has for these values."""
    suffix = f"_{trained.network}"
    own = {name.removesuffix(suffix): value for name, value in trained.metric_values.items() if name.endswith(suffix)}
    if not own:
        return "No metric was measured during training."
    path = trained.folder / METRICS
    rows = [row for row in read_rows(path) if row["kind"] == "metric"] if path.is_file() else []
    protocols: dict[str, dict[str, Any]] = {}
    for row in rows:  # the last row with this value
        if row["protocol"].get("network") == trained.network and row["value"] == own.get(row["name"]):
            protocols[row["name"]] = row["protocol"]
    table = []
    for name, value in own.items():
        found = ", ".join(f"{key} {inner}" for key, inner in protocols.get(name, {}).items() if key != "network")
        table.append((f"`{name}`", f"{value:.5g}", found or "unknown"))
    return "Last values measured during training.\n\n" + _table(("metric", "value", "protocol"), table)


def _by_gantrain(trained: TrainedRun) -> str:
    classes = trained.networks.classes
    labels = f"labels = torch.arange(16) % {classes}\n" if classes else ""
    return (
        "from pathlib import Path\n"
        "import torch, yaml\n"
        "from safetensors.torch import load_file\n"
        "from gantrain.builders import build_networks\n"
        "from gantrain.config import from_dict\n"
        "from gantrain.networks import sample_latent\n\n"
        'config = from_dict(yaml.safe_load(Path("config.yaml").read_text()))\n'
        f"networks = build_networks(config, classes={classes})\n"
        'networks.generator.load_state_dict(load_file("generator.safetensors"))\n'
        "z = sample_latent(networks.prior, (16, networks.latent_dim), torch.Generator().manual_seed(0))\n"
        f"{labels}"
        f"images = networks.generator.eval()(z{', labels' if classes else ''}).detach()"
    )


def _by_onnx(trained: TrainedRun) -> str:
    networks = trained.networks
    assert networks.image_range is not None, "points are not exported"
    low, high = networks.image_range
    from_zero = f"(images + {-low:g})" if low else "images"
    labels = f', "labels": np.arange(16) % {networks.classes}' if networks.classes else ""
    return (
        "import numpy as np, onnxruntime\n\n"
        "random = np.random.default_rng(0)\n"
        f"{PRIORS[networks.prior].format(dim=networks.latent_dim)}\n"
        'session = onnxruntime.InferenceSession("generator.onnx", providers=["CPUExecutionProvider"])\n'
        f'(images,) = session.run(None, {{"z": z{labels}}})\n'
        f"pixels = np.uint8(np.round({from_zero} * {255 / (high - low):g})).transpose(0, 2, 3, 1)"
    )


def _fenced(code: str) -> str:
    return f"```python\n{code}\n```"


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [head, tuple("---" for _ in head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def _shortened(names: tuple[str, ...]) -> str:
    return ", ".join(names[:20]) + (f", … ({len(names)} in all)" if len(names) > 20 else "")
