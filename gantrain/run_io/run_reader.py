"""Reads run folders for reports, `watch` and sweeps; runs may be unfinished or have been moved."""

import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from gantrain.formatting import flatten
from gantrain.run_io.metrics_jsonl import METRICS, RunFolderError, read_rows
from gantrain.run_io.run_folder import CONFIG, JOB, OVERRIDES, REASON, RUN, SAMPLES
from gantrain.run_io.status import FINISHED, INTERRUPTED, RUNNING, Status, read_status

BROKEN = "broken"
"""State of a run whose process has ended without writing one, for example after SIGKILL."""


@dataclass(frozen=True)
class RunRecord:
    """The content of a run's folder.

    Attributes:
        folder: the run's folder.
        config: its configuration, flat with dotted keys; the requested one if it was refused.
        overrides: `key=value` words of the command line; in a sweep those of this job.
        job: its number in its sweep; None for a single run.
        status: content of status.json.
        state: one of `status.STATES`, or `broken`.
        reason: why it failed, or was stopped, pruned or skipped.
        starts: versions, commit, device and command of each start.
        rows: of metrics.jsonl, in order.
    """

    folder: Path
    config: dict[str, Any]
    overrides: tuple[str, ...]
    job: int | None
    status: Status
    state: str
    reason: str | None
    starts: tuple[dict[str, Any], ...]
    rows: tuple[dict[str, Any], ...]

    @property
    def name(self) -> str:
        """Name of its folder."""
        return self.folder.name

    def series(self, name: str, kind: str = "train") -> list[tuple[int, float]]:
        """(step, value) of a scalar in rows of kind `train` or `diagnostic`, without values that are not finite."""
        return [(row["step"], row[name]) for row in self.rows if row["kind"] == kind and row.get(name) is not None]

    @cached_property
    def measured(self) -> dict[str, list[dict[str, Any]]]:
        """Rows of kind `metric` by name and network, e.g. `fid_ema`; each has step, value and protocol."""
        found: dict[str, list[dict[str, Any]]] = {}
        for row in self.rows:
            if row["kind"] == "metric":
                found.setdefault(f"{row['name']}_{row['protocol']['network']}", []).append(row)
        return found

    @property
    def findings(self) -> list[dict[str, Any]]:
        """Rows of kind `doctor`: name, step, evidence, advice."""
        return [row for row in self.rows if row["kind"] == "doctor"]

    @cached_property
    def grids(self) -> dict[int, Path]:
        """Sample grids by step."""
        found = {p for p in (self.folder / SAMPLES).glob("*.png") if re.fullmatch(r"\d+", p.stem)}
        return {int(path.stem): path for path in sorted(found)}


def find_runs(places: Iterable[Path]) -> list[Path]:
    """Folders of the runs in these folders, at any depth, each once and sorted.

    Raises:
        RunFolderError: a folder does not exist, or none contains a run.
    """
    found: dict[Path, None] = {}
    places = list(places)
    for place in places:
        if not os.path.isdir(place):
            raise RunFolderError(
                f"{str(place)!r} is not a folder; give the folder of a run or a sweep, or a parent of such folders"
            )
        inside = []
        for folder, folders, files in os.walk(place):
            if CONFIG in files or JOB in files:
                folders.clear()  # a run's folder contains no other run
                inside.append(Path(folder))
            folders[:] = [name for name in folders if not name.startswith(".")]
        found |= dict.fromkeys(sorted(inside))
    if not found:
        names = ", ".join(repr(str(place)) for place in places)
        raise RunFolderError(f"no run in {names}; python -m gantrain trains one in outputs/")
    return list(found)


def read_run(folder: Path) -> RunRecord:
    """Reads a run's folder.

    Raises:
        RunFolderError: a file is damaged; the message names it.
    """
    job = _json(folder / JOB, dict) or {}
    if not _is_job(job):
        raise _damaged(folder / JOB, TypeError("job must be a number and config an object"))
    try:
        config = flatten(_yaml(folder / CONFIG, dict) or job.get("config", {}))
    except RecursionError as error:
        raise _damaged(folder / CONFIG, error) from None
    starts = _json(folder / RUN, list) or []
    if not all(isinstance(start, dict) for start in starts):
        raise _damaged(folder / RUN, TypeError("an entry is not an object"))
    rows = read_rows(folder / METRICS) if (folder / METRICS).is_file() else []
    status = read_status(folder) or _status_of_rows(config, rows)
    state = state_of(status)
    return RunRecord(
        folder=folder,
        config=config,
        overrides=tuple(read_overrides(folder)),
        job=job.get("job"),
        status=status,
        state=state,
        reason=_reason(folder / REASON, status) if state != RUNNING else None,
        starts=tuple(starts),
        rows=tuple(rows),
    )


def read_overrides(folder: Path) -> list[str]:
    """The `key=value` words that a run was started with, from Hydra's file; [] without it.

    Raises:
        RunFolderError: the file is damaged.
    """
    return [str(word) for word in _yaml(folder / OVERRIDES, list) or []]


def _is_job(job: dict[str, Any]) -> bool:
    """Whether each field has its type."""
    return type(job.get("job")) in (int, type(None)) and isinstance(job.get("config", {}), dict)


def state_of(status: Status) -> str:
    """The status's state, or `broken` if its process has ended."""
    return BROKEN if status.state == RUNNING and not status.is_alive else status.state


def _reason(path: Path, status: Status) -> str | None:
    return path.read_text(encoding="utf-8", errors="replace").strip() if path.is_file() else status.reason


def _status_of_rows(config: dict[str, Any], rows: list[dict[str, Any]]) -> Status:
    """A status for runs of versions that wrote no status.json."""
    asked = config.get("schedule.steps", 0)
    steps = asked if type(asked) is int and asked >= 0 else 0
    step = max((row["step"] for row in rows), default=0)
    figures = {f"{row['name']}_{row['protocol']['network']}": row["value"] for row in rows if row["kind"] == "metric"}
    findings = [row["name"] for row in rows if row["kind"] == "doctor"]
    state = FINISHED if rows and step >= steps else INTERRUPTED
    return Status(state=state, step=step, steps=steps, metric_values=figures, findings=findings)


def _yaml(path: Path, kind: type) -> Any:
    """The content of a YAML file; None if it does not exist or is of another kind."""
    if not path.is_file():
        return None
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise _damaged(path, error) from None
    return content if isinstance(content, kind) else None


def _json(path: Path, kind: type) -> Any:
    if not path.is_file():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise _damaged(path, error) from None
    if not isinstance(content, kind):
        raise _damaged(path, TypeError(f"not a {kind.__name__}"))
    return content


def _damaged(path: Path, error: Exception) -> RunFolderError:
    reason = str(error).splitlines()[0] if str(error) else type(error).__name__
    return RunFolderError(f"{str(path)!r} cannot be read ({reason}); repair it, or leave out its folder {path.parent}")
