"""The GPU path in one command of under nine minutes: make gpu-check.

In turn, each within the time that is left: the tests marked `gpu` that are not slow; FID of the 50,000 training
against the 10,000 test images; a killed and resumed run; a DCGAN run of as many steps as the time allows, with FID of
50,000 samples against the training set; the main command lines on CIFAR-10.

Needs CIFAR-10 (GANTRAIN_DATA) and the Inception weights (GANTRAIN_INCEPTION), and no network. Results lie in
$OUT, else outputs/gpu-check, in seven files: results.json, results.md, dcgan-metrics.jsonl, three sample grids and the
logs of all parts as one archive. The exit code says
whether all parts passed. `--rehearse` runs every part in small on a CPU, to see that the script itself works.
"""

import argparse
import json
import os
import platform
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from gantrain.run_io.metrics_jsonl import read_rows
from gantrain.run_io.run_folder import git_commit
from gantrain.training.checkpoint import load_checkpoint

ROOT = Path(__file__).resolve().parents[1]
PUBLISHED_FLOOR = 3.15  # FID of the 50,000 training against the 10,000 test images
MEASUREMENTS = 2  # of the long run
FID_SECONDS = 40.0  # kept for each measurement of the long run


class Check:
    """Runs the parts, keeps their figures and the clock."""

    def __init__(self, out: Path, minutes: float, rehearse: bool) -> None:
        """`out` receives every result; nothing starts that does not fit into `minutes`."""
        self.out, self.rehearse = out, rehearse
        self.deadline = time.monotonic() + 60 * minutes
        self.results: dict[str, Any] = {}
        self.device = "cpu" if rehearse else "cuda"
        self.runs = ROOT / "outputs" / f"gpu-check-runs-{time.strftime('%Y%m%d-%H%M%S')}"
        self.logs = self.runs / "logs"
        self.logs.mkdir(parents=True)

    @property
    def left(self) -> float:
        """Seconds left."""
        return self.deadline - time.monotonic()

    def part(self, name: str, work: Callable[[], dict[str, Any]], needs: float) -> None:
        """Runs one part if `needs` seconds are left; a failure is written down and the rest goes on."""
        started = time.monotonic()
        if self.left < needs and not self.rehearse:
            result: dict[str, Any] = {"ok": False, "error": f"skipped: {self.left:.0f} s were left, {needs:.0f} needed"}
        else:
            try:
                result = {"ok": True, **work()}
            except Exception as error:  # whatever broke, the other parts still have their time
                result = {"ok": False, "error": f"{type(error).__name__}: {error}"}
        result["seconds"] = round(time.monotonic() - started, 1)
        self.results[name] = result
        print(f"{name}: {json.dumps(result)}", flush=True)
        self.write()

    def write(self) -> None:
        """results.json and results.md, after every part."""
        facts = machine_facts(self.device)
        document = {"machine": facts, "rehearsal": self.rehearse, "parts": self.results}
        (self.out / "results.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
        lines = [f"# GPU check on {facts['device']}", ""]
        lines += [f"- {key}: {value}" for key, value in facts.items()]
        lines += ["", "| part | ok | figures |", "| --- | --- | --- |"]
        for name, result in self.results.items():
            figures = ", ".join(f"{key} {value}" for key, value in result.items() if key != "ok")
            lines.append(f"| {name} | {'yes' if result['ok'] else 'NO'} | {figures} |")
        (self.out / "results.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
        with tarfile.open(self.out / "logs.tar.gz", "w:gz") as archive:
            archive.add(self.logs, "logs")

    def run(self, name: str, *words: str, timeout: float | None = None) -> Path:
        """`python -m gantrain` with its own folder under outputs/; stderr and stdout go to logs/NAME.log."""
        folder = self.runs / name
        command = [sys.executable, "-m", "gantrain", f"device={self.device}", *words]
        command += [f"hydra.sweep.dir={folder}" if "-m" in words else f"hydra.run.dir={folder}"]
        with (self.logs / f"{name}.log").open("w", encoding="utf-8") as log:
            done = subprocess.run(
                command, cwd=ROOT, stdout=log, stderr=log, timeout=max(min(timeout or self.left, self.left), 20)
            )
        if done.returncode:
            tail = (self.logs / f"{name}.log").read_text(encoding="utf-8").strip().splitlines()[-3:]
            raise RuntimeError(f"exit code {done.returncode}: {' / '.join(tail)}")
        return folder

    def small(self, *words: str) -> list[str]:
        """Overrides that make a run small in a rehearsal."""
        if not self.rehearse:
            return list(words)
        kept = [word for word in words if not word.startswith(("schedule.steps=", "data="))]
        return [*kept, "data=digits", "model.width=4", "schedule.steps=8", "schedule.batch_size=8", "metrics=none"]


def machine_facts(device: str) -> dict[str, Any]:
    """What the figures were measured on."""
    name = torch.cuda.get_device_name() if device == "cuda" else f"cpu ({platform.machine()})"
    return {
        "device": name,
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
        "commit": git_commit(),
    }


def last_scalars(folder: Path) -> dict[str, Any]:
    """The last row of training scalars of a run."""
    return [row for row in read_rows(folder / "metrics.jsonl") if row["kind"] == "train"][-1]


def steady_speed(folder: Path) -> int:
    """Real images a second over the second half of a run: the first half loads and tunes kernels."""
    rows = [row for row in read_rows(folder / "metrics.jsonl") if row["kind"] == "train"]
    half, last = rows[len(rows) // 2 - 1], rows[-1]
    # the rows hold means since the start: images/step · step / mean = seconds
    seconds = [row["step"] / row["images_per_second"] for row in (half, last)]
    return int((last["step"] - half["step"]) / max(seconds[1] - seconds[0], 1e-9))


def gpu_tests(check: Check) -> dict[str, Any]:
    """The tests marked gpu that are not slow (`make gpu-test` has them all); on a GPU none of them may skip."""
    command = [sys.executable, "-m", "pytest", "-q", "tests/gpu", "-m", "not slow", "-W", "default"]
    command += ["-p", "no:cacheprovider"]
    path = check.logs / "gpu-tests.log"
    with path.open("w", encoding="utf-8") as log:
        code = subprocess.run(command, cwd=ROOT, stdout=log, stderr=log, timeout=210).returncode
    last = (path.read_text(encoding="utf-8").strip().splitlines() or ["no output"])[-1]
    if code or ("skipped" in last and not check.rehearse):
        raise RuntimeError(last)
    return {"pytest": last}


def one_run(check: Check, name: str, *words: str) -> dict[str, Any]:
    """A short run of a command line of the README on CIFAR-10."""
    folder = check.run(name, *check.small("metrics=none", *words), timeout=75)
    row = last_scalars(folder)
    for newest in sorted((folder / "samples").glob("0*.png"))[-1:]:
        if name != "bf16":
            shutil.copy(newest, check.out / f"{name}.png")
    keys = ("D/real", "D/generated", "logit/generated", "gradient_norm/generator")
    return {"images_per_second": steady_speed(folder), **{key: float(f"{row[key]:.3g}") for key in keys}}


def sweep(check: Check) -> dict[str, Any]:
    """The sweep of the README, short."""
    words = check.small("schedule.steps=600", "metrics=none")
    folder = check.run("sweep", "-m", "loss.gen=alt,rkl,hellinger,kl", *words, timeout=110)
    done = len(list(folder.glob("*/last.pt")))
    if done != 4:
        raise RuntimeError(f"{done} of 4 jobs of the sweep finished")
    return {"jobs": done}


def kill_and_resume(check: Check) -> dict[str, Any]:
    """SIGKILL, resume, and how far the weights lie from an uninterrupted run's (0 is bit for bit)."""
    steps = 200 if check.rehearse else 600
    words = check.small("metrics=none", "log.checkpoint_every_steps=50", "log.every_steps=10")
    words = [word for word in words if not word.startswith("schedule.steps=")] + [f"schedule.steps={steps}"]
    if check.rehearse:
        words += ["log.checkpoint_every_steps=5", "log.every_steps=1"]
    whole = check.run("resume-whole", *words)
    folder = check.runs / "resume-killed"
    command = [sys.executable, "-m", "gantrain", f"device={check.device}", *words, f"hydra.run.dir={folder}"]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    rows, limit = folder / "metrics.jsonl", time.monotonic() + 120
    while not (rows.is_file() and rows.stat().st_size > 8000) and process.poll() is None and time.monotonic() < limit:
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    reached = load_checkpoint(folder / "last.pt")["step"]
    with (check.logs / "resume.log").open("w", encoding="utf-8") as log:
        again = [sys.executable, "-m", "gantrain", f"resume={folder}", f"device={check.device}"]
        subprocess.run(again, cwd=ROOT, stdout=log, stderr=log, check=True, timeout=max(check.left, 30))
    starts = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    if not 0 < reached == starts[-1]["resumed_at_step"] < steps:
        raise RuntimeError(f"killed after the checkpoint of step {reached}, resumed at {starts[-1]['resumed_at_step']}")
    one, other = (load_checkpoint(run / "last.pt")["generator"] for run in (whole, folder))
    difference = max(float((one[key].double() - other[key].double()).abs().max()) for key in one)
    return {"killed_after_checkpoint": reached, "steps": steps, "largest_weight_difference": difference}


def fid_floor(check: Check) -> dict[str, Any]:
    """FID of the 50,000 training images against the 10,000 test images."""
    from gantrain.data.cifar10 import cifar10_root, load_cifar10
    from gantrain.metrics.features import InceptionFeatures
    from gantrain.metrics.inception import find_inception_weights
    from gantrain.metrics.inception_metrics import InceptionMetric

    root = cifar10_root(None)
    train, test = load_cifar10(root, "train"), load_cifar10(root, "test")
    count = 64 if check.rehearse else None
    inception = InceptionFeatures(find_inception_weights(None), device=torch.device(check.device))
    metric = InceptionMetric(("fid", "kid"), inception, reference=train.images[:count], reference_name=train.name)
    started = time.monotonic()
    figures = {figure.name: figure.value for figure in metric.measure(test.images[:count], None)}
    figures["seconds_for_test_images"] = round(time.monotonic() - started, 1)
    if count is None and abs(figures["fid"] - PUBLISHED_FLOOR) > 0.05:
        raise RuntimeError(f"FID {figures['fid']:.4f} is not the published {PUBLISHED_FLOOR}")
    return figures


def long_run(check: Check, reserve: float) -> dict[str, Any]:
    """CIFAR-10, DCGAN, the default objective, for as long as the time allows, with the full FID protocol."""
    started = time.monotonic()
    speed = steady_speed(check.run("speed", *check.small("schedule.steps=1000", "metrics=none"), timeout=75))
    start_up = time.monotonic() - started - 1000 * 64 / speed
    steps = 8
    if not check.rehearse:
        training = check.left - reserve - FID_SECONDS * MEASUREMENTS - start_up
        steps = min(100_000, max(1000, int(0.85 * training * speed / 64 / 1000) * 1000))
    words = [f"schedule.steps={steps}", "schedule.lr_decay=linear"]
    words += [f"metrics.every_steps={max(1, steps // MEASUREMENTS)}", "metrics.names=[fid,kid]"]
    if check.rehearse:
        words = check.small("schedule.lr_decay=linear")
    folder = check.runs / "dcgan"
    result: dict[str, Any] = {"steps": steps, "images_per_second": speed}
    try:
        check.run("dcgan", *words)
    except subprocess.TimeoutExpired:
        result["cut_off"] = True  # what it has reached is worth having too
    finally:
        if (folder / "metrics.jsonl").is_file():
            shutil.copy(folder / "metrics.jsonl", check.out / "dcgan-metrics.jsonl")
        for newest in sorted((folder / "samples").glob("0*.png"))[-1:]:
            shutil.copy(newest, check.out / "dcgan.png")
    rows = [row for row in read_rows(folder / "metrics.jsonl") if row["kind"] == "metric"]
    return result | {f"{row['name']}_at_{row['step']}": round(row["value"], 5) for row in rows}


def main() -> int:
    """Runs the parts; 0 if all passed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--minutes", type=float, default=8.5)
    parser.add_argument("--rehearse", action="store_true", help="every part in small on a CPU")
    arguments = parser.parse_args()
    if not arguments.rehearse and not torch.cuda.is_available():
        print("gpu-check: PyTorch sees no CUDA device here; --rehearse tries the script on a CPU", file=sys.stderr)
        return 2
    out = Path(os.environ.get("OUT") or ROOT / "outputs" / "gpu-check").resolve()
    out.mkdir(parents=True, exist_ok=True)
    check = Check(out, arguments.minutes, arguments.rehearse)
    after = 150.0  # for the parts behind the long run
    check.part("tests", lambda: gpu_tests(check), needs=30)
    check.part("fid_floor", lambda: fid_floor(check), needs=60)
    check.part("kill_and_resume", lambda: kill_and_resume(check), needs=60)
    check.part("long_run", lambda: long_run(check, after), needs=120)
    kl = ("loss.gen=kl", "loss.disc=gan", "model.d_norm=batch", "schedule.steps=1500")
    check.part("kl", lambda: one_run(check, "kl-batch-norm", *kl), needs=30)
    hellinger = ("model=poole", "loss.gen=hellinger", "schedule.steps=1000")
    check.part("poole", lambda: one_run(check, "poole-hellinger", *hellinger), needs=30)
    check.part("bf16", lambda: one_run(check, "bf16", "precision=bf16", "schedule.steps=1500"), needs=30)
    check.part("sweep", lambda: sweep(check), needs=45)
    print(f"results: {out}/results.md")
    return 0 if all(part["ok"] for part in check.results.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
