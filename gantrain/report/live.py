"""How runs stand while they run: read anew as often as one likes, from status.json and what has changed.

Of a metrics.jsonl only the end is read, and only when a figure has been measured since; configurations once.
"""

import json
import os
import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import yaml

from gantrain.config import as_word, flatten
from gantrain.report.run_groups import is_varied
from gantrain.run_io.metrics_jsonl import METRICS, RunFolderError
from gantrain.run_io.run_folder import CONFIG, JOB, REASON, SWEEP, read_content
from gantrain.run_io.run_reader import BROKEN, find_runs, read_run, state_of
from gantrain.run_io.status import FINISHED, INTERRUPTED, PRUNED, RUNNING, STATUS, STOPPED, Status, read_status

T = TypeVar("T")

STARTING = "starting"
"""The state of a run whose folder is there, and no step done: it loads data, weights and networks."""
LIVE = (STARTING, RUNNING)
SILENT_SECONDS = 600.0
"""A run that starts and has not said a word for so long is broken; one that runs may be measuring."""
TAIL = 512 * 1024
"""Bytes of a metrics.jsonl in which the last two measurements are looked for: some hundred rows."""
LONGEST_NAME = 60
_TIME_OR_NUMBER = re.compile(r"(\d[\d-]*)(?:-|$)")


@dataclass(frozen=True, kw_only=True)
class LiveRun:
    """A run as it stands.

    Attributes:
        folder: where it lies.
        name: what tells it from the runs beside it.
        state: one of `logs.status.STATES`, `broken` for a process that is gone, or `starting`.
        status: what it tells of itself.
        figure: the figure that is followed, e.g. `fid_ema`: the first metric's headline; None before it is measured.
        before: the figure's measurement before the last; None without.
        is_examined: whether a doctor looks at it.
        reason: the first line of why it failed.
        silent: seconds since it last said how it stands.
    """

    folder: Path
    name: str
    state: str
    status: Status
    figure: str | None
    before: float | None
    is_examined: bool
    reason: str | None
    silent: float

    @property
    def last(self) -> float | None:
        """The figure's last value."""
        return None if self.figure is None else self.status.metric_values.get(self.figure)

    @property
    def best(self) -> tuple[float, int] | None:
        """The figure's best value and the step that it was measured at."""
        best = self.status.best
        return (best["value"], best["step"]) if best and best.get("value") is not None else None

    @property
    def share(self) -> float | None:
        """Of the steps asked for, those done, in [0, 1]."""
        return min(1.0, self.status.step / self.status.steps) if self.status.steps else None

    @property
    def seconds_left(self) -> float | None:
        """Of training, at the speed since the last start; None for a run that does not run, or that has not begun."""
        status = self.status
        if self.state != RUNNING or not (status.step and status.images and status.images_per_second > 0):
            return None
        images_left = status.images / status.step * (status.steps - status.step)
        return max(0.0, images_left / status.images_per_second)


@dataclass(frozen=True, kw_only=True)
class LiveSweep:
    """A sweep, from its sweep.json and its runs that are there.

    Attributes:
        folder: where it lies.
        jobs: how many it has; None where that is not known beforehand.
        runs: its runs so far.
    """

    folder: Path
    jobs: int | None
    runs: tuple[LiveRun, ...]

    @property
    def to_come(self) -> int | None:
        """Jobs that have not begun; None where it is not known how many there are."""
        return None if self.jobs is None else max(0, self.jobs - len(self.runs))

    @property
    def seconds_left(self) -> float | None:
        """Of training, if as many run at a time as now, and a job to come takes as long as the others on average.

        None where the number of jobs is not known, nothing runs, or nothing has shown yet how long a job takes.
        """
        running = [run for run in self.runs if run.state == RUNNING]
        left = [run.seconds_left for run in running]
        whole = [run.status.seconds for run in self.runs if run.state in (FINISHED, STOPPED, PRUNED)]
        whole += [run.status.seconds + known for run, known in zip(running, left, strict=True) if known is not None]
        if self.to_come is None or not running or not whole:
            return None
        mean = sum(whole) / len(whole)
        own = [mean if known is None else known for known in left]
        return max(max(own), (sum(own) + self.to_come * mean) / len(running))


class LiveRuns:
    """The runs at and under some folders, looked at again and again."""

    def __init__(self, places: Sequence[Path]) -> None:
        """Takes the folders, which may hold no run yet."""
        self.places = list(places)
        self._configs: dict[Path, dict[str, Any]] = {}
        self._kept: dict[tuple[str, Path], tuple[tuple[int, int], Any]] = {}

    def look(self) -> tuple[list[LiveRun], list[LiveSweep]]:
        """All runs that are there, in the order of their folders, and the sweeps that they belong to."""
        try:
            folders = find_runs(place for place in self.places if place.is_dir())
        except RunFolderError:
            folders = []
        configs = {folder: self._config(folder) for folder in folders}
        names = names_of(configs)
        runs = [self._run(folder, configs[folder], names[folder]) for folder in folders]
        by_parent: dict[Path, list[LiveRun]] = {}
        for run in runs:
            by_parent.setdefault(run.folder.parent, []).append(run)
        sweeps = []
        for folder in dict.fromkeys((*self.places, *by_parent)):
            content = self._unless_changed("sweep", folder / SWEEP, read_content)
            if content:
                jobs = content.get("jobs")
                found = tuple(by_parent.get(folder, ()))
                sweeps.append(LiveSweep(folder=folder, jobs=jobs if isinstance(jobs, int) else None, runs=found))
        return runs, sweeps

    def _run(self, folder: Path, config: dict[str, Any], name: str) -> LiveRun:
        status = self._unless_changed("status", folder / STATUS, lambda path: read_status(path.parent))
        state = STARTING
        if status is None:
            record = self._unless_changed("rows", folder / METRICS, lambda path: _of_earlier_version(path.parent))
            status, state = record or (Status(state=RUNNING, steps=int(config.get("schedule.steps") or 0)), STARTING)
        else:
            state = state_of(status)
            if state == RUNNING and status.step == 0:
                state = STARTING
        silent = max(0.0, time.time() - (status.time or _changed(folder)))
        if state == STARTING and status.time == 0 and silent > SILENT_SECONDS:
            state = BROKEN
        figure = status.best.get("headline") or next(iter(status.metric_values), None)
        before = None
        if figure is not None:
            before = self._unless(
                ("before", folder),
                (hash(tuple(status.metric_values.items())), status.best.get("step", 0)),
                lambda: measurement_before(folder / METRICS, figure),
            )
        reason = self._unless_changed("reason", folder / REASON, _first_line) if state not in LIVE else None
        reason = reason or status.reason
        return LiveRun(
            folder=folder,
            name=name,
            state=state,
            status=status,
            figure=figure,
            before=before,
            is_examined=config.get("log.diagnostics_every_steps") != 0,
            reason=reason,
            silent=silent,
        )

    def _config(self, folder: Path) -> dict[str, Any]:
        if not self._configs.get(folder):
            try:
                content = yaml.safe_load((folder / CONFIG).read_text(encoding="utf-8"))
            except (OSError, UnicodeDecodeError, yaml.YAMLError):
                content = None
            content = content if isinstance(content, dict) else read_content(folder / JOB).get("config", {})
            self._configs[folder] = flatten(content)
        return self._configs[folder]

    def _unless_changed(self, kind: str, path: Path, read: Callable[[Path], T]) -> T | None:
        """What `read` gives of the file, read once for each change of it; None where there is no file."""
        try:
            stat = path.stat()
        except OSError:
            return None
        return self._unless((kind, path), (stat.st_mtime_ns, stat.st_ino), lambda: read(path))

    def _unless(self, key: tuple[str, Path], seen: tuple[int, int], read: Callable[[], T]) -> T:
        kept = self._kept.get(key)
        if kept is None or kept[0] != seen:
            self._kept[key] = kept = (seen, read())
        content: T = kept[1]
        return content


def names_of(configs: dict[Path, dict[str, Any]]) -> dict[Path, str]:
    """What tells each run from those in the same folder: its number or time, and the keys that vary.

    A folder that begins with no number keeps its own name, as does one whose keys would say too much.
    """
    beside: dict[Path, list[Path]] = {}
    for folder in configs:
        beside.setdefault(folder.parent, []).append(folder)
    names = {}
    for together in beside.values():
        told = [configs[folder] for folder in together if configs[folder]]
        keys = [
            key for key in dict.fromkeys(key for config in told for key in config) if is_varied(key) or key == "seed"
        ]
        varied = [key for key in keys if len({as_word(config[key]) for config in told if key in config}) > 1]
        short = _short_keys(varied)
        for folder in together:
            found = _TIME_OR_NUMBER.match(folder.name)
            config = configs[folder]
            words = [f"{short[key]}={as_word(config[key])}" for key in varied if key in config]
            name = " ".join([found.group(1).rstrip("-"), *words]) if found else ""
            names[folder] = name if words and name and len(name) <= LONGEST_NAME else folder.name
    return names


def measurement_before(path: Path, figure: str) -> float | None:
    """The last but one measurement of a figure such as `fid_ema`, if it stands near the end of metrics.jsonl."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - TAIL))
            lines = file.read().splitlines()
    except OSError:
        return None
    found = []
    for line in reversed(lines):
        if b'"kind": "metric"' not in line:
            continue
        try:
            row = json.loads(line)
            if f"{row['name']}_{row['protocol']['network']}" == figure:
                found.append(row["value"])
        except (ValueError, LookupError, TypeError):
            continue  # the first line read, or the last, may be cut
        if len(found) == 2:
            value: float | None = found[1]
            return value
    return None


def _short_keys(keys: Iterable[str]) -> dict[str, str]:
    """Each key by its last part, where no other ends in the same."""
    ends = [key.rpartition(".")[2] for key in keys]
    return {key: end if ends.count(end) == 1 else key for key, end in zip(keys, ends, strict=True)}


def _of_earlier_version(folder: Path) -> tuple[Status, str] | None:
    """A run that wrote no status.json, from its rows; None before there are any."""
    if (folder / METRICS).stat().st_size == 0:
        return None
    try:
        record = read_run(folder)
    except RunFolderError:
        return Status(state=INTERRUPTED), INTERRUPTED
    return record.status, record.state


def _changed(folder: Path) -> float:
    try:
        return folder.stat().st_mtime
    except OSError:
        return 0.0


def _first_line(path: Path) -> str | None:
    try:
        return next(iter(path.read_text(encoding="utf-8", errors="replace").strip().splitlines()), None)
    except OSError:
        return None
