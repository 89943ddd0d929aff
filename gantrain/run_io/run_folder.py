"""The folder of a run: its configuration, metrics, samples and TensorBoard files."""

import dataclasses
import functools
import importlib.metadata
import json
import logging
import math
import platform
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
import yaml
from torch import Tensor

from gantrain.diagnostics.doctor import Finding
from gantrain.diagnostics.statistics import Reliability
from gantrain.metrics.metric import MetricValue
from gantrain.run_io.metrics_jsonl import METRICS, RowWriter, RunFolderError, finite, read_rows
from gantrain.run_io.reliability import draw_reliability
from gantrain.run_io.status import STATUS, Status, write_status
from gantrain.run_io.tensorboard import BestValues, remove_end, with_bands, write_end
from gantrain.system.atomic_io import PART, replace_text
from gantrain.system.locks import owner_file

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

CONFIG, RUN = "config.yaml", "run.json"
CHECKPOINTS = "*.pt"
SAMPLES, ANIMATION = "samples", Path("training.gif")
REAL, GENERATED = "samples/real", "samples/generated"
MOST_FRAMES = 200
STATUS_SECONDS = 2.0
JOB, REASON, LOCK = "job.json", "error.txt", ".lock"
"""Files written around a run: its number in a sweep and its configuration, why it ended, and the lock."""
SWEEP = "sweep.json"
"""A sweep's `words`, and its number of `jobs`, null where it is unknown in advance."""
HOLD = (LOCK, owner_file(Path(LOCK)).name)
HYDRA, TRAIN_LOG = ".hydra", "train.log"
OVERRIDES = Path(HYDRA) / "overrides.yaml"
AROUND = (JOB, STATUS, REASON, HYDRA, TRAIN_LOG, *HOLD)
PACKAGES = ("gantrain", "torch", "torchvision", "torch-fidelity", "hydra-core", "omegaconf", "tensorboard", "numpy")


log = logging.getLogger(__name__)


class RunFolder:
    """Writes config.yaml, run.json, metrics.jsonl, samples/ and tensorboard/ of one run.

    Attributes:
        path: the folder.
        samples: folder of the sample grids.
        tensorboard: folder of the event files.
    """

    def __init__(
        self,
        path: Path,
        config: dict[str, Any],
        device: str,
        *,
        resume_step: int | None = None,
        introduce: "Callable[[SummaryWriter], None] | None" = None,
    ) -> None:
        """Creates a new run in `path`, or continues the existing one after `resume_step`.

        Args:
            path: the folder.
            config: nested, from `gantrain.config.to_dict`.
            device: name of the device.
            resume_step: step of the checkpoint; None for a new run. Later rows and events are dropped.
            introduce: writes what TensorBoard shows of a new run besides its values.

        Raises:
            RunFolderError: `path` contains another run, or cannot be written.
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
                _remove_parts(path)
            self._rows = RowWriter(path / METRICS, resume_step=resume_step)
            _append_start(path / RUN, device, resume_step)
        except FileExistsError:
            raise taken(path) from None
        except OSError as error:
            raise RunFolderError(f"{str(path)!r} cannot be written ({error}); choose another hydra.run.dir") from None
        self._last_status = -math.inf
        self._writer = self._open_writer(resume_step)
        if resume_step is None:
            self._best = BestValues()
            if introduce is not None:
                introduce(self._writer)
        else:
            self._best = BestValues(read_rows(path / METRICS))
            remove_end(self.tensorboard)

    def _open_writer(self, resume_step: int | None) -> "SummaryWriter":
        from torch.utils.tensorboard import SummaryWriter

        purge_step = None if resume_step is None else resume_step + 1
        return SummaryWriter(str(self.tensorboard), purge_step=purge_step)

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
        """A finding of the doctor."""
        self._row({"step": step, "kind": "doctor", **dataclasses.asdict(finding)})

    def measurements(self, step: int, network: str, values: list[MetricValue]) -> None:
        """Metrics, one row each with its protocol; in TensorBoard also the best value so far."""
        for value in values:
            protocol = {**value.protocol, "network": network, "step": step}
            self._row({"step": step, "kind": "metric", "name": value.name, "value": value.value, "protocol": protocol})

    def grid(self, step: int, picture: Tensor, name: str) -> Path:
        """A picture, floats (3, H, W) in [0, 1], as samples/NAME.png and in TensorBoard."""
        from PIL import Image

        path = self.samples / f"{name}.png"
        part = self.samples / f".{name}{PART}.png"
        pixels = picture.mul(255).add(0.5).clamp(0, 255).permute(1, 2, 0).to("cpu", torch.uint8)
        Image.fromarray(pixels.numpy()).save(part)
        part.replace(path)
        self._writer.add_image(REAL if name == "real" else GENERATED, picture, step)
        return path

    def animate(self) -> Path | None:
        """Writes samples/training.gif from at most 200 evenly chosen grids; None if there are no grids."""
        from PIL import Image

        pictures = sorted(self.samples.glob("[0-9]*.png"))
        if not pictures:
            return None
        every = -(-len(pictures) // MOST_FRAMES)
        chosen = pictures[-1::-every][::-1]  # includes the last one
        frames = (Image.open(picture).convert("RGB") for picture in chosen)
        path = self.samples / ANIMATION
        part = path.with_name(f".{path.stem}{PART}.gif")
        durations = [200] * (len(chosen) - 1) + [2000]  # milliseconds
        next(frames).save(part, save_all=True, append_images=frames, duration=durations, loop=0)
        part.replace(path)
        return path

    def status(self, status: Status, *, now: bool) -> None:
        """Writes status.json, at most every two seconds unless `now`."""
        if now or time.monotonic() - self._last_status >= STATUS_SECONDS:
            self._last_status = time.monotonic()
            write_status(
                self.path,
                dataclasses.replace(status, metric_values=finite(status.metric_values), best=finite(status.best)),
            )

    def end(self, state: str, step: int, reason: str | None = None) -> None:
        """Records in TensorBoard how the run ended.

        Args:
            state: one of `status.STATES`.
            step: generator steps done.
            reason: of a failure or an early end.
        """
        self._writer.flush()
        write_end(self.tensorboard, state, step, reason)

    def sync(self) -> None:
        """Writes everything logged so far to disk; called before a checkpoint, which later rows follow."""
        self._writer.flush()
        self._rows.sync()

    def close(self) -> None:
        """Closes the files."""
        self._writer.close()
        self._rows.close()

    def _row(self, row: dict[str, Any]) -> None:
        """Writes a row to metrics.jsonl and TensorBoard."""
        self._rows.write(row)
        step, kind = row["step"], row["kind"]
        if kind == "metric":
            name, value = f"{row['name']}_{row['protocol']['network']}", row["value"]
            self._writer.add_scalar(f"metric/{name}", value, step)
            if self._best.update(row["name"], row["protocol"]["network"], value):
                self._writer.add_scalar(f"best/{name}", value, step)
        elif kind == "doctor":
            finding = Finding(**{f.name: row[f.name] for f in dataclasses.fields(Finding)})
            self._writer.add_text(f"doctor/{finding.name}", f"step {finding.step}: {finding.text}", step)
        else:
            values = {name: value for name, value in row.items() if name not in ("step", "kind", "reliability")}
            for name, value in (values | with_bands(values)).items():
                self._writer.add_scalar(name, value, step)
            if "reliability" in row:
                curve = draw_reliability(Reliability(**row["reliability"]))
                self._writer.add_image("D/reliability", curve, step)


def as_grid(images: Tensor, columns: int) -> Tensor:
    """uint8 images (N, 3, H, W) as a grid with white lines between them, floats (3, H', W') in [0, 1]."""
    from torchvision.utils import make_grid

    picture: Tensor = make_grid(images.float() / 255, nrow=columns, padding=2, pad_value=1.0)
    return picture


def check_free(path: Path) -> None:
    """Refuses a folder for a new run that is not empty.

    Raises:
        RunFolderError: it contains a run or other files.
    """
    if path.is_dir() and any(inside.name not in AROUND for inside in path.iterdir()):
        raise taken(path)


def read_content(path: Path) -> dict[str, Any]:
    """Content of a JSON object file; {} if it does not exist or cannot be read."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def taken(path: Path) -> RunFolderError:
    """The error for a new run in a folder that is not empty."""
    return RunFolderError(
        f"{str(path)!r} is not empty and will not be overwritten: continue the run in it with "
        f"resume={path}, or choose another folder with hydra.run.dir=..."
    )


def check_free_space(path: Path, checkpoint_bytes: int, checkpoints: int) -> None:
    """Refuses a run whose checkpoints do not fit on the disk.

    Args:
        path: folder of the run; it need not exist.
        checkpoint_bytes: size of one checkpoint.
        checkpoints: number of checkpoints that the run adds to the folder.

    Raises:
        RunFolderError: there is too little free space.
    """
    place = next(p for p in (path.absolute(), *path.absolute().parents) if p.is_dir())
    try:
        total, _, free = shutil.disk_usage(place)
    except OSError:
        return
    need = checkpoints * checkpoint_bytes
    if free < need and total > 0:  # a file system without a size reports 0
        raise RunFolderError(
            f"{str(path)!r}: the run's checkpoints take {need / 1e6:,.0f} MB, but {str(place)!r} has "
            f"{free / 1e6:,.0f} MB free; make room, choose another folder with hydra.run.dir (of a sweep "
            "hydra.sweep.dir), or lower model.width or tricks.history"
        )


def _remove_parts(folder: Path) -> None:
    """Removes temporary files of a killed run, but not those that other commands may be writing."""
    for name in (CHECKPOINTS, CONFIG, METRICS, RUN, STATUS):
        for left in folder.glob(f".{name}*{PART}"):
            if left.is_file():
                left.unlink()
    for left in (folder / SAMPLES).glob(f".*{PART}.*"):
        left.unlink()


def _append_start(path: Path, device: str, resume_step: int | None) -> None:
    """Adds an entry to run.json with versions, commit, device and command."""
    starts = []
    if path.is_file():
        try:
            starts = list(json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, TypeError):
            path.replace(path.with_name(f"{path.name}.damaged"))
    starts.append(
        {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
            "command": sys.argv,
            "resumed_at_step": resume_step,
            "git_commit": git_commit(),
            "versions": installed_versions(PACKAGES),
            "python": platform.python_version(),
            "device": device,
            "cpu_threads": torch.get_num_threads(),
        }
    )
    replace_text(path, json.dumps(starts, indent=1) + "\n")


def installed_versions(packages: tuple[str, ...]) -> dict[str, str | None]:
    """The version of each package, None if it is not installed."""
    found: dict[str, str | None] = {}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = None
    return found


@functools.cache
def git_commit() -> str | None:
    """The commit of the checkout that gantrain is imported from, with `-dirty` if it was changed; None without one."""
    checkout = Path(__file__).resolve().parents[2]
    if not (checkout / ".git").exists():
        return None
    command = ["git", "-C", str(checkout), "describe", "--always", "--abbrev=40", "--dirty", "--exclude=*"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
