"""The results of an evaluation: a table, a JSON file and figures."""

import json
import os
import shutil
import sys
import textwrap
import time
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gantrain.config import ConfigError
from gantrain.metrics.metric import Metric, MetricValue
from gantrain.metrics.registry import METRICS
from gantrain.run_io.metrics_jsonl import finite
from gantrain.run_io.run_folder import git_commit, installed_versions
from gantrain.system.atomic_io import PART

OTHER_COLUMNS = ("real", "std", "interval_over", "bootstrap", "halves", "seeds", "kid_std", "inception_score_std")
FILE_ONLY = ("weights_origin", "classifier_digest")


def free_path(out: str | None, folder: Path, name: str) -> Path:
    """Path of the JSON file: `out`, or a new name in the folder.

    Raises:
        ConfigError: `out` or one of its figures exists, or its folder does not.
    """
    if out is None:
        path, number = folder / f"{name}.json", 1
        while any(file.exists() for file in _files_of(path)):
            number += 1
            path = folder / f"{name}-{number}.json"
    else:
        path = Path(out)
        if path.suffix != ".json":
            raise ConfigError(f"out={out!r} must end in .json")
        for file in _files_of(path):
            if file.exists():
                raise ConfigError(
                    f"out={out!r}: {str(file)!r} already exists and will not be overwritten; choose another name"
                )
    if not path.parent.is_dir() or not os.access(path.parent, os.W_OK):
        raise ConfigError(f"out={str(path)!r}: {str(path.parent)!r} is not a writable folder")
    return path


def write_results(
    path: Path, values: list[MetricValue], description: dict[str, object], metrics: list[Metric], images: Tensor
) -> None:
    """Prints the table, draws the figures next to `path`, and writes `path`; all files atomically."""
    print(as_table(values))
    figures = []
    for metric in metrics:
        if metric.spec.figure_size is not None:
            figures.append(_figure_path(path, metric.spec.name))
            _draw(metric, figures[-1], images)
    content = {
        **description,
        "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "command": sys.argv,
        "git_commit": git_commit(),
        "versions": installed_versions(("gantrain", "torch", "torch-fidelity")),
        "device": torch.cuda.get_device_name(images.device) if images.is_cuda else "cpu",
        "metric_values": [_as_dict(value) for value in values],
        "pictures": [figure.name for figure in figures],
    }
    part = path.with_name(f".{path.name}{PART}")
    part.write_text(json.dumps(finite(content), indent=1, ensure_ascii=False, allow_nan=False) + "\n", encoding="utf-8")
    part.replace(path)
    print("\n".join(str(file) for file in (path, *figures)))


def as_table(values: list[MetricValue]) -> str:
    """One line per value: value, 95 % interval or standard deviation, the value of real images, the protocol."""
    rows = [("metric", "value", _spread_title(values), "real images", "protocol")]
    for value in values:
        real = value.protocol.get("real")
        shown_real = "" if real is None else f"{real:.4g}"
        rows.append((value.name, f"{value.value:.5g}", _spread(value), shown_real, _protocol(value)))
    columns = [k for k in range(5) if any(row[k] for row in rows[1:])]
    widths = [max(len(row[k]) for row in rows) for k in columns[:-1]]
    room = max(40, shutil.get_terminal_size((150, 40)).columns - sum(widths) - 2 * len(widths))
    lines = []
    for row in rows:
        start = "  ".join(row[k].ljust(width) for k, width in zip(columns, widths, strict=False))
        first, *rest = textwrap.wrap(row[-1], room) or [""]
        lines.append(f"{start}  {first}".rstrip())
        lines += [" " * (len(start) + 2) + line for line in rest]
    return "\n".join(lines)


def _as_dict(value: MetricValue) -> dict[str, Any]:
    interval = {"interval": list(value.interval)} if value.interval else {}
    return {"name": value.name, "value": value.value, **interval, "protocol": value.protocol}


def _spread_title(values: list[MetricValue]) -> str:
    seeds = {value.protocol["seeds"] for value in values if "seeds" in value.protocol}
    return f"std of {seeds.pop()} seeds" if seeds else "95 % interval"


def _spread(value: MetricValue) -> str:
    if value.interval is not None:
        return f"{value.interval[0]:.4g} to {value.interval[1]:.4g}"
    return f"± {value.protocol['std']:.2g}" if "std" in value.protocol else ""


def _protocol(value: MetricValue) -> str:
    parts = []
    for key, item in value.protocol.items():
        if key not in (*OTHER_COLUMNS, *FILE_ONLY):
            shown = f"{item:.4g}" if isinstance(item, float) else f"{item:,}" if isinstance(item, int) else item
            parts.append(f"{key.replace('_', ' ')} {shown}")
    return "; ".join(parts)


def _draw(metric: Metric, path: Path, images: Tensor) -> None:
    import matplotlib
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with matplotlib.rc_context({"font.size": 9}):
        figure = Figure(figsize=metric.spec.figure_size, layout="constrained")
        FigureCanvasAgg(figure)
        metric.draw(figure, images)
        part = path.with_name(f".{path.stem}{PART}.png")
        figure.savefig(part, dpi=150)
        part.replace(path)


def _figure_path(path: Path, metric_name: str) -> Path:
    return path.with_name(f"{path.stem}-{metric_name}.png")


def _files_of(path: Path) -> list[Path]:
    """The JSON file and every figure that may be drawn next to it."""
    return [path, *(_figure_path(path, metric.spec.name) for metric in METRICS if metric.spec.figure_size)]
