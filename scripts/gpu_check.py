"""Tries the GPU path in one command of under nine minutes: make gpu-check.

In turn, as far as time is left: the tests marked `gpu` that are not slow; FID of CIFAR-10's 50,000 training images
against its 10,000 test images; a killed and resumed run; a DCGAN run as long as the time allows with FID of 50,000
samples; command lines of the README. It needs CIFAR-10 (GANTRAIN_DATA) and the Inception weights (GANTRAIN_INCEPTION),
but no network. $OUT, else outputs/gpu-check, receives results.json, results.md, metrics, sample grids and all
logs. The exit code is 0 if all parts passed. `--rehearse` runs every part on a CPU with tiny networks.
"""

import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from gantrain.run_io.metrics_jsonl import METRICS, read_rows
from gantrain.run_io.run_folder import git_commit
from gantrain.training.checkpoint import LAST, PREVIOUS, load_checkpoint

ROOT = Path(__file__).resolve().parents[1]
PUBLISHED_FID = 3.15
"""FID of the 50,000 training images against the 10,000 test images."""
FID_SECONDS = 40.0
"""Reserved for each of the two measurements of the long run."""
AFTER_LONG_RUN = 150.0
"""Seconds reserved for the parts after it."""


class Check:
    """Runs the parts and keeps their results and the time."""

    def __init__(self, out: Path, minutes: float, rehearse: bool) -> None:
        """`out` receives the results; no part starts that does not fit into `minutes`."""
        self.out, self.rehearse = out, rehearse
        self.deadline = time.monotonic() + 60 * minutes
        self.device = "cpu" if rehearse else "cuda"
        self.runs = ROOT / "outputs" / f"gpu-check-runs-{time.strftime('%Y%m%d-%H%M%S')}"
        self.results: dict[str, dict[str, Any]] = {}
        self.machine = {
            "device": platform.machine() if rehearse else torch.cuda.get_device_name(),
            "torch": torch.__version__,
            "cuda": torch.version.cuda,
            "python": platform.python_version(),
            "commit": git_commit(),
        }

    @property
    def left(self) -> float:
        """Seconds left."""
        return self.deadline - time.monotonic()

    def part(self, name: str, work: Callable[[], dict[str, Any]], needs: float) -> None:
        """Runs a part if `needs` seconds are left; if it fails, the next parts still run."""
        started = time.monotonic()
        try:
            if self.left < needs and not self.rehearse:
                raise TimeoutError(f"{self.left:.0f} s left, {needs:.0f} needed")
            result: dict[str, Any] = {"ok": True, **work()}
        except Exception as error:
            result = {"ok": False, "error": f"{type(error).__name__}: {error}"}
        self.results[name] = {**result, "seconds": round(time.monotonic() - started, 1)}
        print(f"{name}: {json.dumps(self.results[name])}", flush=True)
        document = {"machine": self.machine, "rehearsal": self.rehearse, "parts": self.results}
        (self.out / "results.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        lines = [f"# GPU check on {self.machine['device']}", "", *(f"- {k}: {v}" for k, v in self.machine.items())]
        lines += ["", "| part | results |", "| --- | --- |"]
        lines += [f"| {n} | {', '.join(f'{k} {v}' for k, v in found.items())} |" for n, found in self.results.items()]
        (self.out / "results.md").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def execute(self, name: str, *command: str, timeout: float) -> str:
        """Runs `python ...` and returns the last line of its output, all of which goes to NAME.log.

        Raises:
            RuntimeError: the exit code is not 0.
            subprocess.TimeoutExpired: after `timeout` seconds, or when no time is left.
        """
        path = self.out / f"{name}.log"
        with path.open("w", encoding="utf-8") as log:
            timeout = max(self.left, 600) if self.rehearse else max(min(timeout, self.left), 20)
            done = subprocess.run([sys.executable, *command], cwd=ROOT, stdout=log, stderr=log, timeout=timeout)
        lines = path.read_text(encoding="utf-8").strip().splitlines() or ["no output"]
        if done.returncode:
            raise RuntimeError(f"exit code {done.returncode}: {' / '.join(lines[-3:])}")
        return lines[-1]

    def words(self, *words: str) -> list[str]:
        """The words of a run; in a rehearsal with tiny networks, a tenth of the steps and no metrics."""
        if self.rehearse:
            steps = [int(word.partition("=")[2]) // 10 for word in words if word.startswith("schedule.steps=")]
            words = tuple(word for word in words if not word.startswith(("schedule.steps=", "metrics.")))
            words = (*words, "data=digits", "model.width=4", "schedule.batch_size=8", "metrics=none")
            words = (*words, *(f"schedule.steps={count}" for count in steps))
        return [f"device={self.device}", *words]

    def train(self, name: str, *words: str, timeout: float = 600) -> Path:
        """Trains in a folder of its own, which it returns; keeps the newest sample grid."""
        folder = self.runs / name
        where = f"hydra.{'sweep' if '-m' in words else 'run'}.dir={folder}"
        try:
            self.execute(name, "-m", "gantrain", *self.words(*words), where, timeout=timeout)
        finally:
            for grid in sorted((folder / "samples").glob("0*.png"))[-1:]:
                shutil.copy(grid, self.out / f"{name}.png")
        return folder


def rows_of(folder: Path, kind: str) -> list[dict[str, Any]]:
    """Rows of metrics.jsonl of one kind."""
    return [row for row in read_rows(folder / METRICS) if row["kind"] == kind]


def steady_speed(folder: Path) -> int:
    """Real images per second over the second half of a run; the first half loads and tunes kernels."""
    rows = rows_of(folder, "train")
    half, last = rows[len(rows) // 2 - 1], rows[-1]
    images, seconds = (last[f"cost/{name}"] - half[f"cost/{name}"] for name in ("images", "seconds"))
    return int(images / max(seconds, 1e-9))


def gpu_tests(check: Check) -> dict[str, Any]:
    """The quick GPU tests; none may skip on a GPU."""
    last = check.execute(
        "gpu-tests",
        *("-m", "pytest", "-q", "tests/gpu", "-m", "not slow", "-W", "default", "-p", "no:cacheprovider"),
        timeout=210,
    )
    if "skipped" in last and not check.rehearse:
        raise RuntimeError(last)
    return {"pytest": last}


def fid_of_test_images(check: Check) -> dict[str, Any]:
    """FID of the training against the test images, which is published."""
    from gantrain.data.cifar10 import cifar10_root, load_cifar10
    from gantrain.metrics.features import InceptionFeatures
    from gantrain.metrics.fid import fid, moments_of, reference_of
    from gantrain.metrics.inception import find_inception_weights

    count = 64 if check.rehearse else None
    inception = InceptionFeatures(find_inception_weights(None), device=torch.device(check.device))
    train, test = (
        inception.features(load_cifar10(cifar10_root(None), split).images[:count]) for split in ("train", "test")
    )
    value = fid(test, reference_of(moments_of(train)))
    if count is None and abs(value - PUBLISHED_FID) > 0.05:
        raise RuntimeError(f"FID {value:.4f} is not the published {PUBLISHED_FID}")
    return {"fid": round(value, 5)}


def kill_and_resume(check: Check) -> dict[str, Any]:
    """Kills and resumes a run; 0 is the weight difference of runs that are equal bit for bit."""
    every = 1 if check.rehearse else 25
    words = ["metrics=none", "log.every_steps=1", f"log.checkpoint_every_steps={every}", "schedule.steps=600"]
    undisturbed = check.train("undisturbed", *words)
    folder = check.runs / "killed"
    command = [sys.executable, "-m", "gantrain", *check.words(*words), f"hydra.run.dir={folder}"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not (folder / PREVIOUS).is_file() and process.poll() is None:  # the first checkpoint is that of step 0
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    reached = load_checkpoint(folder / LAST)["step"]
    if reached == 0:
        raise RuntimeError("no checkpoint after step 0")
    check.execute("resumed", "-m", "gantrain", f"resume={folder}", f"device={check.device}", timeout=120)
    one, other = (load_checkpoint(run / LAST)["generator"] for run in (undisturbed, folder))
    difference = max(float((one[key].double() - other[key].double()).abs().max()) for key in one)
    return {"resumed_at": reached, "largest_weight_difference": difference}


def long_run(check: Check) -> dict[str, Any]:
    """The default run on CIFAR-10 for as long as the time allows, with FID and KID of 50,000 samples."""
    started = time.monotonic()
    speed = steady_speed(check.train("speed", "schedule.steps=1000", "metrics=none", timeout=75))
    start_up = time.monotonic() - started - 1000 * 64 / speed
    training = check.left - AFTER_LONG_RUN - 2 * FID_SECONDS - start_up
    steps = min(100_000, max(1000, int(0.85 * training * speed / 64 / 1000) * 1000))
    words = [f"schedule.steps={steps}", "schedule.lr_decay=linear"]
    folder = check.runs / "dcgan"
    try:
        check.train("dcgan", *words, "metrics.names=[fid,kid]", f"metrics.every_steps={steps // 2}")
    finally:
        if (folder / METRICS).is_file():
            shutil.copy(folder / METRICS, check.out / "dcgan-metrics.jsonl")
    values = {f"{row['name']}_at_{row['step']}": round(row["value"], 5) for row in rows_of(folder, "metric")}
    return {"steps": steps, "images_per_second": speed, **values}


def short_run(check: Check, name: str, *words: str) -> dict[str, Any]:
    """A short run of one command line."""
    folder = check.train(name, "metrics=none", *words, timeout=75)
    last = rows_of(folder, "train")[-1]
    keys = ("D/real", "D/generated", "gradient_norm/generator")
    return {"images_per_second": steady_speed(folder), **{key: float(f"{last[key]:.3g}") for key in keys}}


def sweep(check: Check) -> dict[str, Any]:
    """A short sweep."""
    folder = check.train("sweep", "-m", "loss.gen=alt,kl", "schedule.steps=600", "metrics=none", timeout=110)
    finished = len(list(folder.glob(f"*/{LAST}")))
    if finished != 2:
        raise RuntimeError(f"{finished} of 2 jobs finished")
    return {"jobs": finished}


def main() -> int:
    """Runs the parts; 0 if all passed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=8.5)
    parser.add_argument("--rehearse", action="store_true", help="every part on a CPU with tiny networks")
    options = parser.parse_args()
    if not options.rehearse and not torch.cuda.is_available():
        print("gpu-check: PyTorch sees no CUDA device; --rehearse tries the script on a CPU", file=sys.stderr)
        return 2
    out = Path(os.environ.get("OUT") or ROOT / "outputs" / "gpu-check").resolve()
    out.mkdir(parents=True, exist_ok=True)
    check = Check(out, options.minutes, options.rehearse)
    check.part("tests", lambda: gpu_tests(check), needs=30)
    check.part("fid_of_test_images", lambda: fid_of_test_images(check), needs=60)
    check.part("kill_and_resume", lambda: kill_and_resume(check), needs=60)
    check.part("long_run", lambda: long_run(check), needs=120)
    kl = ("loss.gen=kl", "model.d_norm=batch", "schedule.steps=1500")
    check.part("kl", lambda: short_run(check, "kl", *kl), needs=30)
    poole = ("model=poole", "loss.gen=hellinger", "schedule.steps=1000")
    check.part("poole", lambda: short_run(check, "poole", *poole), needs=30)
    check.part("bf16", lambda: short_run(check, "bf16", "precision=bf16", "schedule.steps=1500"), needs=30)
    check.part("sweep", lambda: sweep(check), needs=45)
    print(f"results: {out}/results.md")
    return 0 if all(part["ok"] for part in check.results.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
