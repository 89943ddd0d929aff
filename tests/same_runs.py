"""Comparison of two runs in everything but measured times."""

from pathlib import Path
from typing import Any

import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from gantrain.run_io.metrics_jsonl import METRICS, read_rows

CLOCK = ("images_per_second", "cost/seconds", "diagnostics/share_of_time")


def assert_same(one: Any, other: Any, path: str = "") -> None:
    """Asserts equality of values and types, bit for bit."""
    assert type(one) is type(other), f"{path}: another type"
    if isinstance(one, torch.Tensor):
        assert one.dtype == other.dtype, f"{path}: another type"
        assert torch.equal(one, other), f"{path}: other numbers"
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), f"{path}: other keys"
        for key in one:
            assert_same(one[key], other[key], f"{path}.{key}")
    elif isinstance(one, list | tuple):
        assert len(one) == len(other), f"{path}: another length"
        for k, (a, b) in enumerate(zip(one, other, strict=True)):
            assert_same(a, b, f"{path}[{k}]")
    else:
        assert one == other, f"{path}: {one!r} for {other!r}"


def rows_without_times(folder: Path) -> list[dict[str, Any]]:
    """Every row of a run without measured times."""
    rows = read_rows(folder / METRICS)
    return [{name: value for name, value in row.items() if name not in CLOCK} for row in rows]


def shown(run: Path) -> dict[str, list[tuple[int, float]]]:
    """TensorBoard's scalars by tag, without measured times."""
    events = EventAccumulator(str(run / "tensorboard"), size_guidance={"scalars": 0})
    events.Reload()
    tags = [tag for tag in events.Tags()["scalars"] if tag not in CLOCK]
    return {tag: [(event.step, event.value) for event in events.Scalars(tag)] for tag in tags}
