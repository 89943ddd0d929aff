"""Run folders written as a run writes them, without training: for what reads runs."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
import yaml

from gantrain.config import to_dict
from gantrain.diagnostics.doctor import Finding
from gantrain.metrics.metric import MetricValue
from gantrain.run_io.run_folder import JOB, OVERRIDES, RunFolder
from gantrain.run_io.status import FINISHED, Status
from tests.conftest import TINY, compose

PROTOCOL = {"samples": 1000, "reference": "cifar10 train", "reference_samples": 1000, "weights": "fid-helper"}


def write_request(folder: Path, job: int | None, overrides: Sequence[str], config: dict[str, Any]) -> None:
    """What a run's folder holds before the run has been checked: job.json, and Hydra's file of overrides."""
    (folder / OVERRIDES).parent.mkdir(parents=True, exist_ok=True)
    (folder / JOB).write_text(json.dumps({"job": job, "config": config}))
    (folder / OVERRIDES).write_text(yaml.safe_dump(list(overrides), allow_unicode=True))


def write_run(
    folder: Path,
    *overrides: str,
    steps: int = 1000,
    every: int = 100,
    measured: dict[str, Callable[[int], float]] | None = None,
    state: str = FINISHED,
    findings: tuple[Finding, ...] = (),
    job: int | None = None,
    grids: int = 4,
) -> Path:
    """A run of `steps` with a row of scalars each `every`, figures as functions of the step ten times, and grids."""
    config = compose(*TINY, *overrides, f"schedule.steps={steps}")
    tree = to_dict(config)
    write_request(folder, job, overrides, tree)
    written = RunFolder(folder, tree, "cpu")
    measured = measured or {"modes": lambda step: 100.0 + step / 10}
    source = torch.Generator().manual_seed(config.seed)
    figures: dict[str, float] = {}
    for step in range(every, steps + 1, every):
        values = {
            "loss/discriminator": 1.3 + 1 / step,
            "loss/generator": 0.8 - 1 / step,
            "D/real": 0.6,
            "D/generated": 0.4,
            "log_ratio/real": 0.5,
            "log_ratio/fake": -0.5 - step / steps,
            "log_ratio/fake_std": 0.7,
            "images_per_second": 1000.0,
            "cost/images": 8.0 * step,
            "cost/seconds": step / 100,
        }
        written.scalars(step, values)
        if step % max(every, steps // 10) == 0:
            found = [MetricValue(name, of_step(step), PROTOCOL) for name, of_step in measured.items()]
            written.measurements(step, "ema", found)
            figures = {f"{figure.name}_ema": figure.value for figure in found}
    for finding in findings:
        written.finding(finding.step, finding)
    for place in range(grids):
        picture = torch.rand((3, 70, 70), generator=source)
        written.grid(steps * place // max(1, grids - 1), picture, f"{steps * place // max(1, grids - 1):07d}")
    written.end(state, steps)
    status = Status(
        state=state,
        step=steps,
        steps=steps,
        images=8 * steps,
        seconds=steps / 100,
        images_per_second=1000.0,
        metric_values=dict(figures),
        findings=[finding.name for finding in findings],
    )
    written.status(status, now=True)
    written.close()
    return folder
