"""The results of an evaluation: a table, a JSON file and figures."""

import json
import os
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import Tensor

from gantrain.config import ConfigError
from gantrain.metrics.metric import Metric, MetricValue
from gantrain.metrics.registry import METRICS
from gantrain.run_io.metrics_jsonl import finite
from gantrain.run_io.run_folder import git_commit, installed_versions
from gantrain.system.atomic_io import create_atomically, replace_text

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
    path: Path, values: list[MetricValue], description: Mapping[str, object], metrics: list[Metric], images: Tensor
) -> None:
    """Prints the table, draws the figures next to `path`, and writes `path`; all files atomically."""
    print_table(values)
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
    replace_text(path, json.dumps(finite(content), indent=1, ensure_ascii=False, allow_nan=False) + "\n")
    print("\n".join(str(file) for file in (path, *figures)))


def print_table(values: list[MetricValue]) -> None:
    """Prints a line per value: value, 95 % interval or standard deviation, the value of real images, the protocol."""
    seeds = next((value.protocol["seeds"] for value in values if "seeds" in value.protocol), None)
    spread = f"std of {seeds} seeds" if seeds else "95 % interval"
    columns: dict[str, list[str]] = {"metric": [], "value": [], spread: [], "real images": [], "protocol": []}
    for value in values:
        real = value.protocol.get("real")
        cells = (value.name, f"{value.value:.5g}", _spread(value), "" if real is None else f"{real:.4g}")
        for column, cell in zip(columns.values(), (*cells, _protocol(value)), strict=True):
            column.append(cell)
    shown = {title: column for title, column in columns.items() if any(column)}
    table = Table(box=None, pad_edge=False, header_style="", padding=(0, 2, 0, 0))
    for title in shown:
        table.add_column(title, no_wrap=title != "protocol", min_width=40 if title == "protocol" else None)
    for row in zip(*shown.values(), strict=True):
        table.add_row(*row)
    width = max(100, shutil.get_terminal_size((150, 40)).columns)
    Console(width=width, markup=False, emoji=False, highlight=False).print(table)


def _as_dict(value: MetricValue) -> dict[str, Any]:
    interval = {"interval": list(value.interval)} if value.interval else {}
    return {"name": value.name, "value": value.value, **interval, "protocol": value.protocol}


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
        with create_atomically(path) as part:
            figure.savefig(part, dpi=150, format="png")


def _figure_path(path: Path, metric_name: str) -> Path:
    return path.with_name(f"{path.stem}-{metric_name}.png")


def _files_of(path: Path) -> list[Path]:
    """The JSON file and every figure that may be drawn next to it."""
    return [path, *(_figure_path(path, metric.spec.name) for metric in METRICS if metric.spec.figure_size)]
