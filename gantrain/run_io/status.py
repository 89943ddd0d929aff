"""status.json: the state of a run, which reports, `watch` and sweeps read while it trains."""

import dataclasses
import json
import os
import socket
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gantrain.system.atomic_io import replace_text

STATUS = "status.json"
RUNNING, FINISHED, STOPPED, PRUNED, SKIPPED, FAILED, INTERRUPTED = STATES = (
    "running",
    "finished",
    "stopped",
    "pruned",
    "skipped",
    "failed",
    "interrupted",
)
"""`stopped`: by the doctor; `pruned`, `skipped`: by a sweep. A killed run keeps `running`, see `is_alive`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Status:
    """The state of a run.

    Attributes:
        state: one of `STATES`.
        step: generator steps done.
        steps: generator steps of the complete run.
        images: real images that D has seen.
        seconds: training time over all starts of the run, without evaluation, grids and checkpoints.
        images_per_second: real images that D has seen per second of training time, since the last start.
        metric_values: latest value of each metric, by name and network, e.g. `fid_ema`.
        best: name, headline, value and step of the best evaluation by the first metric; {} without one.
        findings: names of the doctor's findings.
        reason: why the doctor or a sweep ended it; error.txt has the reason for a failure.
        value: the value that an optimizing sweep reads; None without one.
        time: time of writing, in seconds since 1970.
        host: host of the process.
        pid: id of the process.
    """

    state: str
    step: int = 0
    steps: int = 0
    images: int = 0
    seconds: float = 0.0
    images_per_second: float = 0.0
    metric_values: dict[str, float | None] = field(default_factory=dict)
    best: dict[str, Any] = field(default_factory=dict)
    findings: list[str] = field(default_factory=list)
    reason: str | None = None
    value: float | None = None
    time: float = 0.0
    host: str = ""
    pid: int = 0

    @property
    def is_alive(self) -> bool:
        """Whether a running run's process exists; assumed for processes of other hosts."""
        if self.state != RUNNING:
            return False
        if self.host != socket.gethostname():
            return True
        try:
            os.kill(self.pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True
        except OverflowError:  # not a process id
            return False
        return True


def write_status(folder: Path, status: Status) -> None:
    """Writes status.json atomically, with this process and the current time."""
    present = dataclasses.replace(status, time=time.time(), host=socket.gethostname(), pid=os.getpid())
    replace_text(folder / STATUS, json.dumps(dataclasses.asdict(present)) + "\n", durable=False)


def read_status(folder: Path) -> Status | None:
    """Reads status.json; None if it does not exist or cannot be read."""
    try:
        content = json.loads((folder / STATUS).read_text(encoding="utf-8"))
        known = {f.name for f in dataclasses.fields(Status)}
        status = Status(**{name: value for name, value in content.items() if name in known})
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return None
    return status if _is_sound(status) else None


def _is_sound(status: Status) -> bool:
    """Whether each field has its type."""
    counts = (status.step, status.steps, status.images, status.pid)
    times = (status.seconds, status.images_per_second, status.time)
    best = status.best
    return (
        status.state in STATES
        and all(type(count) is int and 0 <= count < 2**63 for count in counts)
        and all(_is_real(number) for number in times)
        and isinstance(status.metric_values, dict)
        and all(value is None or _is_real(value) for value in (status.value, *status.metric_values.values()))
        and isinstance(best, dict)
        and (not best or all(isinstance(best.get(key), str) for key in ("name", "headline")))
        and (not best or (_is_real(best.get("value")) and type(best.get("step")) is int))
        and isinstance(status.findings, list)
        and all(isinstance(name, str) for name in status.findings)
        and isinstance(status.reason, str | None)
        and isinstance(status.host, str)
    )


def _is_real(value: object) -> bool:
    """Whether it is a number that a float can hold, including NaN and infinity."""
    return isinstance(value, float) or (type(value) is int and abs(value) < 2**63)


def mark(folder: Path, state: str, *, value: float | None = None) -> None:
    """Changes the state in status.json and keeps its other fields."""
    before = read_status(folder) or Status(state=state)
    write_status(folder, dataclasses.replace(before, state=state, value=before.value if value is None else value))
