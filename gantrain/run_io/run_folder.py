"""The folder of a run: what was run, what came out, never overwritten by another run."""

import contextlib
import dataclasses
import importlib.metadata
import json
import math
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from PIL import Image
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from torchvision.utils import make_grid, save_image

from gantrain.atomic_io import PART, owner_of, replace_text
from gantrain.diagnostics.doctor import Finding
from gantrain.diagnostics.statistics import Reliability
from gantrain.metrics.metric import MetricValue
from gantrain.run_io.charts import with_bands
from gantrain.run_io.events import EventSums, are_whole, put_in_order, set_events_aside
from gantrain.run_io.metrics_jsonl import METRICS, Rows, RunFolderError, finite, read_rows
from gantrain.run_io.reliability import draw_reliability
from gantrain.run_io.status import STATUS, Status, write_status
from gantrain.run_io.tensorboard import Best, introduce, take_back_end, tell_end

CONFIG, RUN = "config.yaml", "run.json"
CHECKPOINTS = "*.pt"
SAMPLES, ANIMATION = "samples", Path("training.gif")
REAL, GENERATED = "samples/real", "samples/generated"
MOST_FRAMES = 200
STATUS_SECONDS = 2.0
JOB, REASON, LOCK = "job.json", "error.txt", ".lock"
"""What was asked for, why it ended, and what keeps a second process out: written around a run, not by it."""
SWEEP = "sweep.json"
"""What a sweep was asked for: its `words`, and how many `jobs` it has, null where that shows later."""
HOLD = (LOCK, owner_of(Path(LOCK)).name)
AROUND = (JOB, STATUS, REASON, *HOLD)
PACKAGES = ("gantrain", "torch", "torchvision", "torch-fidelity", "hydra-core", "omegaconf", "tensorboard", "numpy")


class RunFolder:
    """Writes config.yaml, run.json, metrics.jsonl, samples/ and tensorboard/ of one run."""

    def __init__(
        self,
        path: Path,
        config: dict[str, Any],
        device: str,
        *,
        resume_step: int | None = None,
        saved: dict[str, Any] | None = None,
        warnings: Sequence[str] = (),
    ) -> None:
        """Starts a new run in `path`, or goes on with the one there after `resume_step`.

        Args:
            path: the folder.
            config: nested, as `gantrain.config.to_dict` gives it; keys that are left out have their defaults.
            device: its name.
            resume_step: of the checkpoint; None for a new run.
            saved: what `saved` gave for the checkpoint; where metrics.jsonl or TensorBoard's files are not what they
                were then, they are kept under other names and written anew, which is said. None believes them.
            warnings: what is known to go wrong with this configuration.

        Raises:
            RunFolderError: another run lies in `path`, or it cannot be written.
        """
        self.path = path
        self.samples = path / SAMPLES
        self.tensorboard = path / "tensorboard"
        try:
            self.samples.mkdir(parents=True, exist_ok=True)
            text = yaml.safe_dump(config, sort_keys=False, allow_unicode=True)
            if resume_step is None:
                with (path / CONFIG).open("x", encoding="utf-8") as file:
                    file.write(text)
            else:
                replace_text(path / CONFIG, text)
                _drop_parts(path)
            packed = None if saved is None else bytes(saved["rows"].numpy())
            self._rows = Rows(path / METRICS, resume_step=resume_step, packed=packed)
            commit = _append_start(path / RUN, device, resume_step)
        except FileExistsError:
            raise taken(path) from None
        except OSError as error:
            raise RunFolderError(f"{str(path)!r} cannot be written ({error}); choose another hydra.run.dir") from None
        damaged = saved is not None and not are_whole(self.tensorboard, saved["events"])
        if damaged:
            set_events_aside(self.tensorboard)
        put_in_order(self.tensorboard)
        purge = None if resume_step is None or damaged else resume_step + 1
        self._writer = SummaryWriter(str(self.tensorboard), purge_step=purge)
        self._events = EventSums(self.tensorboard)
        self._last_status = -math.inf
        self._best = Best()
        if resume_step is None or damaged:
            asked = {"job": read_content(path / JOB), "sweep": read_content(path.parent / SWEEP)}
            introduce(self._writer, config, **asked, commit=commit, warnings=warnings)
        if resume_step is not None:
            take_back_end(self.tensorboard)
            rows = read_rows(path / METRICS)
            if damaged:
                self._show_again(rows, resume_step)
            else:
                self._best = Best(rows)

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """A row of training scalars, after `step` generator steps."""
        self._row({"step": step, "kind": "train", **values})

    def diagnostics(
        self, step: int, values: dict[str, float], curve: Reliability | None, logits: dict[str, Tensor]
    ) -> None:
        """A row of diagnostics; D's reliability curve and histograms of v in TensorBoard."""
        row: dict[str, Any] = {"step": step, "kind": "diagnostic", **values}
        if curve is not None:
            row["reliability"] = dataclasses.asdict(curve)
        for name, v in logits.items():
            kept = v[v.isfinite()]
            if len(kept):
                self._writer.add_histogram(f"v/{name}", kept, step)
        self._row(row)

    def finding(self, step: int, finding: Finding) -> None:
        """What the doctor found."""
        self._row({"step": step, "kind": "doctor", **dataclasses.asdict(finding)})

    def measurements(self, step: int, network: str, found: list[MetricValue]) -> None:
        """Metrics, each row with its protocol; in TensorBoard the best so far of each too."""
        for figure in found:
            protocol = {**figure.protocol, "network": network, "step": step}
            self._row(
                {"step": step, "kind": "metric", "name": figure.name, "value": figure.value, "protocol": protocol}
            )

    def grid(self, step: int, picture: Tensor, name: str) -> Path:
        """A picture of floats (3, H, W) in [0, 1] as samples/NAME.png and in TensorBoard."""
        path = self.samples / f"{name}.png"
        part = self.samples / f".{name}{PART}.png"
        save_image(picture, part)
        part.replace(path)
        self._writer.add_image(REAL if name == "real" else GENERATED, picture, step)
        return path

    def animate(self) -> Path | None:
        """At most 200 of the pictures so far, evenly, as samples/training.gif, five a second; None without any."""
        pictures = sorted(self.samples.glob("[0-9]*.png"))
        if not pictures:
            return None
        every = -(-len(pictures) // MOST_FRAMES)
        chosen = pictures[-1::-every][::-1]  # the last one always
        frames = (Image.open(picture).convert("RGB") for picture in chosen)
        path = self.samples / ANIMATION
        part = path.with_name(f".{path.stem}{PART}.gif")
        durations = [200] * (len(chosen) - 1) + [2000]  # milliseconds: the last one rests
        next(frames).save(part, save_all=True, append_images=frames, duration=durations, loop=0)
        part.replace(path)
        return path

    def status(self, status: Status, *, now: bool) -> None:
        """How the run stands, at most every two seconds unless `now`."""
        if now or time.monotonic() - self._last_status >= STATUS_SECONDS:
            self._last_status = time.monotonic()
            write_status(
                self.path,
                dataclasses.replace(status, metric_values=finite(status.metric_values), best=finite(status.best)),
            )

    def end(self, state: str, step: int, reason: str | None = None) -> None:
        """Tells TensorBoard how the run ended and why; what was written before is flushed.

        Args:
            state: one of `STATES`.
            step: generator steps done.
            reason: of a failure or an early end.
        """
        self.flush()
        tell_end(self.tensorboard, state, step, reason)

    def flush(self) -> None:
        """Everything written so far is on its way to disk."""
        self._writer.flush()
        self._rows.flush()

    def close(self) -> None:
        """Closes the files."""
        self._writer.close()
        self._rows.close()

    def saved(self) -> dict[str, Any]:
        """For a checkpoint: what stands in metrics.jsonl, and what TensorBoard's files are known by."""
        self.flush()
        rows = torch.frombuffer(bytearray(self._rows.packed()), dtype=torch.uint8)
        return {"rows": rows, "events": self._events.now()}

    def _row(self, row: dict[str, Any]) -> None:
        self._show(row)
        self._rows.write(row)

    def _show(self, row: dict[str, Any]) -> None:
        """A row in TensorBoard."""
        step, kind = row["step"], row["kind"]
        if kind == "metric":
            name, value = f"{row['name']}_{row['protocol']['network']}", row["value"]
            self._writer.add_scalar(f"metric/{name}", value, step)
            if self._best.improves(row["name"], row["protocol"]["network"], value):
                self._writer.add_scalar(f"best/{name}", value, step)
        elif kind == "doctor":
            found = Finding(**{f.name: row[f.name] for f in dataclasses.fields(Finding)})
            self._writer.add_text(f"doctor/{found.name}", f"step {found.step}: {found.words()}", step)
        else:
            values = {name: value for name, value in row.items() if name not in ("step", "kind", "reliability")}
            for name, value in (values | with_bands(values)).items():
                self._writer.add_scalar(name, value, step)
            if "reliability" in row:
                curve = draw_reliability(Reliability(**row["reliability"]))
                self._writer.add_image("D/reliability", curve, step)

    def _show_again(self, rows: list[dict[str, Any]], until: int) -> None:
        """TensorBoard from metrics.jsonl and the pictures; histograms stand nowhere else."""
        print(
            f"gantrain: warning: TensorBoard's files in {str(self.tensorboard)!r} are damaged or gone and are written "
            f"anew from {METRICS} and {SAMPLES}/, without histograms; what was there is kept as *.damaged.*",
            file=sys.stderr,
        )
        for row in rows:
            self._show({name: math.nan if value is None else value for name, value in row.items()})
        for path in sorted(self.samples.glob("*.png")):
            if path.stem == "real" or (path.stem.isdigit() and int(path.stem) <= until):
                with contextlib.suppress(OSError), Image.open(path) as picture:
                    pixels = torch.from_numpy(np.array(picture.convert("RGB"))).permute(2, 0, 1)
                    tag, step = (REAL, 0) if path.stem == "real" else (GENERATED, int(path.stem))
                    self._writer.add_image(tag, pixels, step)


def as_grid(images: Tensor, columns: int) -> Tensor:
    """uint8 images (N, 3, H, W) side by side with a white line between them, as floats (3, H', W') in [0, 1]."""
    picture: Tensor = make_grid(images.float() / 255, nrow=columns, padding=2, pad_value=1.0)
    return picture


def check_free(path: Path) -> None:
    """Refuses a folder for a new run that holds anything.

    Raises:
        RunFolderError: it does.
    """
    if path.is_dir() and any(inside.name not in AROUND for inside in path.iterdir()):
        raise taken(path)


def read_content(path: Path) -> dict[str, Any]:
    """Of a JSON file; {} where there is none that can be read."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def taken(path: Path) -> RunFolderError:
    """Why nothing new is begun in a folder that holds something."""
    return RunFolderError(
        f"{str(path)!r} is not empty, and nothing is overwritten: go on with the run in it by "
        f"resume={path}, or choose another folder with hydra.run.dir=..."
    )


def _drop_parts(folder: Path) -> None:
    """Removes what a killed write of the run itself left; a command's own, beside it, may be at work."""
    for name in (CHECKPOINTS, CONFIG, METRICS, RUN, STATUS):
        for left in folder.glob(f".{name}*{PART}"):
            if left.is_file():
                left.unlink()
    for left in (folder / SAMPLES).glob(f".*{PART}.*"):
        left.unlink()


def _append_start(path: Path, device: str, resume_step: int | None) -> str | None:
    """run.json: one entry a start, with versions, commit, machine and command; returns the commit."""
    starts = []
    if path.is_file():
        try:
            starts = list(json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError):
            path.replace(path.with_name(f"{path.name}.damaged"))
    commit = git_commit()
    starts.append(
        {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "command": sys.argv,
            "resumed_at_step": resume_step,
            "git_commit": commit,
            "versions": installed_versions(PACKAGES),
            "python": platform.python_version(),
            "device": device,
            "cpu_threads": torch.get_num_threads(),
        }
    )
    replace_text(path, json.dumps(starts, indent=1) + "\n")
    return commit


def installed_versions(packages: tuple[str, ...]) -> dict[str, str | None]:
    """The version of each package, None where it is not installed."""
    found: dict[str, str | None] = {}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = None
    return found


def git_commit() -> str | None:
    """The commit of the checkout that gantrain runs from, `-dirty` if it was changed; None outside of one."""
    checkout = Path(__file__).resolve().parents[2]
    if not (checkout / ".git").exists():
        return None
    command = ["git", "-C", str(checkout), "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
