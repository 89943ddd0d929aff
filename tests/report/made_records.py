"""Run records made in memory: a configuration, metrics over the steps, and a status."""

from pathlib import Path
from typing import Any

from gantrain.run_io.run_reader import RunRecord
from gantrain.run_io.status import FINISHED, Status

CONFIG: dict[str, Any] = {
    "name": "made",
    "seed": 0,
    "loss.disc": "gan",
    "loss.gen": "alt",
    "loss.alpha_disc": None,
    "loss.alpha_gen": None,
    "schedule.steps": 20,
    "data.name": "digits",
    "data.root": None,
}


def record(
    name: str = "run",
    *,
    measured: dict[str, dict[int, float | None]] | None = None,
    protocol: dict[str, Any] | None = None,
    state: str = FINISHED,
    step: int = 20,
    time: float = 0.0,
    reason: str | None = None,
    overrides: tuple[str, ...] = (),
    left_out: tuple[str, ...] = (),
    config: dict[str, Any] | None = None,
    rows: tuple[dict[str, Any], ...] = (),
    **changes: Any,
) -> RunRecord:
    """A run of `CONFIG` with these changes (a__b is the key a.b), metrics of the EMA by step, and other rows."""
    complete = CONFIG if config is None else config
    complete = {key: value for key, value in complete.items() if key not in left_out}
    complete |= {key.replace("__", "."): value for key, value in changes.items()}
    measurements = tuple(
        {
            "step": at,
            "kind": "metric",
            "name": metric,
            "value": value,
            "protocol": {"samples": 50, **(protocol or {}), "network": "ema", "step": at},
        }
        for metric, of_steps in (measured or {}).items()
        for at, value in of_steps.items()
    )
    status = Status(state=state, step=step, steps=20, time=time)
    return RunRecord(Path(name), complete, overrides, None, status, state, reason, (), (*measurements, *rows))
