"""Figures of an evaluation as a table, as JSON and as pictures."""

import json
import os
import shutil
import sys
import textwrap
import time
from pathlib import Path

import torch
from torch import Tensor

from gantrain.atomic_io import PART
from gantrain.config import ConfigError
from gantrain.metrics.metric import Metric, MetricValue, Pictured
from gantrain.run_io.metrics_jsonl import finite
from gantrain.run_io.run_folder import git_commit, installed_versions

PICTURE_SIZES = {"classes": (8.0, 4.5), "colors": (6.5, 6.0), "neighbors": (10.0, 7.0)}
IN_OTHER_COLUMNS = ("real", "std", "interval_over", "bootstrap", "halves", "seeds", "kid_std", "inception_score_std")
OF_FILES = ("weights_origin", "classifier_digest")


def free_path(out: str | None, folder: Path, name: str) -> Path:
    """Where the JSON file goes: `out`, or a name in the folder that is not there yet.

    Raises:
        ConfigError: `out` exists, or its folder does not.
    """
    if out is None:
        path, number = folder / f"{name}.json", 1
        while path.exists() or any(picture.exists() for picture in _pictures_of(path)):
            number += 1
            path = folder / f"{name}-{number}.json"
    else:
        path = Path(out)
        taken = [place for place in (path, *_pictures_of(path)) if place.exists()]
        if taken:
            raise ConfigError(f"out={out!r}: {str(taken[0])!r} exists, and nothing is overwritten; give another out")
        if path.suffix != ".json":
            raise ConfigError(f"out={out!r} must end in .json")
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise ConfigError(f"out={str(path)!r}: {str(path.parent)!r} is no folder that can be written")
    return path


def write_figures(
    path: Path, found: list[MetricValue], what: dict[str, object], metrics: list[Metric], images: Tensor
) -> None:
    """Prints the table, draws the pictures beside `path`, and writes `path`, each whole or not at all."""
    print(as_table(found))
    pictures = []
    for metric in metrics:
        if isinstance(metric, Pictured) and metric.picture is not None:
            place = _picture_path(path, metric.picture)
            _draw(metric, place, images)
            pictures.append(place.name)
    content = {
        **what,
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "command": sys.argv,
        "git_commit": git_commit(),
        "versions": installed_versions(("gantrain", "torch", "torch-fidelity")),
        "device": torch.cuda.get_device_name(images.device) if images.is_cuda else "cpu",
        "metric_values": [
            {
                "name": figure.name,
                "value": figure.value,
                **({"interval": list(figure.interval)} if figure.interval else {}),
                "protocol": figure.protocol,
            }
            for figure in found
        ],
        "pictures": pictures,
    }
    part = path.with_name(f".{path.name}{PART}")
    part.write_text(json.dumps(finite(content), indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    part.replace(path)
    print("\n".join(str(place) for place in (path, *(path.with_name(name) for name in pictures))))


def as_table(found: list[MetricValue]) -> str:
    """A line a figure: value, 95 % interval or standard deviation, the same of real images, the protocol."""
    rows = [("figure", "value", _head_of_spread(found), "real images", "protocol")]
    for figure in found:
        real = figure.protocol.get("real")
        rows.append(
            (figure.name, f"{figure.value:.5g}", _spread(figure), "" if real is None else f"{real:.4g}", _short(figure))
        )
    kept = [k for k in range(5) if any(row[k] for row in rows[1:])]
    widths = [max(len(row[k]) for row in rows) for k in kept[:-1]]
    room = max(40, shutil.get_terminal_size((150, 40)).columns - sum(widths) - 2 * len(widths))
    lines = []
    for row in rows:
        head = "  ".join(row[k].ljust(width) for k, width in zip(kept, widths, strict=False))
        first, *rest = textwrap.wrap(row[-1], room) or [""]
        lines.append(f"{head}  {first}".rstrip())
        lines += [" " * (len(head) + 2) + line for line in rest]
    return "\n".join(lines)


def _head_of_spread(found: list[MetricValue]) -> str:
    seeds = {figure.protocol["seeds"] for figure in found if "seeds" in figure.protocol}
    return f"std of {seeds.pop()} seeds" if seeds else "95 % interval"


def _spread(figure: MetricValue) -> str:
    if figure.interval is not None:
        return f"{figure.interval[0]:.4g} to {figure.interval[1]:.4g}"
    return f"± {figure.protocol['std']:.2g}" if "std" in figure.protocol else ""


def _short(figure: MetricValue) -> str:
    words = []
    for key, value in figure.protocol.items():
        if key not in (*IN_OTHER_COLUMNS, *OF_FILES):
            shown = f"{value:.4g}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else value
            words.append(f"{key.replace('_', ' ')} {shown}")
    return "; ".join(words)


def _draw(metric: Pictured, path: Path, images: Tensor) -> None:
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    assert metric.picture is not None
    with matplotlib.rc_context({"font.size": 9}):
        picture = Figure(figsize=PICTURE_SIZES[metric.picture], layout="constrained")
        FigureCanvasAgg(picture)
        metric.draw(picture, images)
        part = path.with_name(f".{path.stem}{PART}.png")
        picture.savefig(part, dpi=150)
        part.replace(path)


def _picture_path(path: Path, picture: str) -> Path:
    return path.with_name(f"{path.stem}-{picture}.png")


def _pictures_of(path: Path) -> list[Path]:
    return [_picture_path(path, picture) for picture in PICTURE_SIZES]
