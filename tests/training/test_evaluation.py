"""Measuring beside training: the same run as one that waits, whatever happens meanwhile."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from gantrain import builders
from gantrain.config import Config, ConfigError
from gantrain.data import DataError
from gantrain.distributed import Processes
from gantrain.metrics.metric import Abandoned, MetricValue, draw_images, heed, may_be_abandoned
from gantrain.metrics.modes import ModesMetric
from gantrain.networks import make_networks
from gantrain.run_io.metrics_jsonl import read_rows
from gantrain.run_io.run_reader import read_run
from gantrain.training import evaluation, trainer
from gantrain.training.checkpoint import load_checkpoint
from gantrain.training.evaluation import Measuring
from gantrain.training.executors import CudaGraphExecutor
from gantrain.training.nan_guard import NotFiniteError
from gantrain.training.plan import Sampling
from gantrain.training.train_step import TrainStep
from tests.conftest import TINY, compose, python_path
from tests.same_runs import assert_same, figures_of, shown
from tests.training.test_runs import resume, train

BESIDE = "metrics.asynchronous=true"
SELDOM = "log.checkpoint_every_steps=1000"  # a last.pt would wait for what is measured

Measure = Callable[[ModesMetric, Tensor, Tensor | None], list[MetricValue]]


def state_of(run: Path, name: str) -> dict[str, Any]:
    state = load_checkpoint(run / name)
    del state["seconds"], state["logs"]
    del state["config"]["metrics"]["asynchronous"]
    return state


def rows_of(run: Path, *kinds: str) -> list[dict[str, Any]]:
    return [row for row in figures_of(run) if row["kind"] in kinds]


def assert_same_runs(one: Path, other: Path) -> None:
    """In all but the clock and the order of rows of different kinds."""
    for name in ("last.pt", "best.pt"):
        assert_same(state_of(one, name), state_of(other, name), name)
    for kind in ("train", "metric", "diagnostic", "doctor"):
        assert rows_of(one, kind) == rows_of(other, kind)
    assert shown(one) == shown(other)
    assert sorted(p.name for p in one.iterdir()) == sorted(p.name for p in other.iterdir())
    first, second = (read_run(run) for run in (one, other))
    assert (first.status.metric_values, first.status.best) == (second.status.metric_values, second.status.best)
    assert first.measured == second.measured


def measured_by(measure: Callable[[Measure, ModesMetric, Tensor, Tensor | None], Any]) -> Any:
    """A patch of the metric; what it is given first is the metric's own way."""
    own = ModesMetric.measure
    return lambda metric, images, labels: measure(own, metric, images, labels)


def step_measured() -> int | None:
    """The one that this thread measures; None where training waits."""
    name = threading.current_thread().name
    return int(name.rpartition(" ")[2]) if name.startswith("measuring step ") else None


def no_thread_is_left() -> bool:
    return not [thread for thread in threading.enumerate() if thread.name.startswith("measuring")]


def wait_for(event: threading.Event) -> None:
    """As a metric of many batches does."""
    deadline = time.monotonic() + 60
    while not event.wait(0.01):
        heed()
        assert time.monotonic() < deadline, "training waits for what waits for it"


def when_reached(step: int, monkeypatch: pytest.MonkeyPatch) -> threading.Event:
    """Set once training has done that step."""
    own, reached = TrainStep.run, threading.Event()

    def run(train_step: TrainStep) -> None:
        own(train_step)
        if train_step.step >= step:
            reached.set()

    monkeypatch.setattr(TrainStep, "run", run)
    return reached


@pytest.mark.parametrize(
    "overrides",
    [
        ("metrics.every_steps=2", "log.checkpoint_every_steps=4", "model.d_dropout=0.3", "metrics.networks=[ema,raw]"),
        ("metrics.every_steps=3", SELDOM, "cond=acgan", "augment=ada", "tricks.history=20", "model.g_dropout=0.2"),
        ("metrics.every_steps=1", "model.g_norm=virtual", "model.virtual_reference=3", "model.d_norm=batch"),
    ],
    ids=["dropout, two networks", "labels, history", "every step"],
)
def test_a_run_measured_beside_training_equals_one_that_waits(tmp_path: Path, overrides: tuple[str, ...]) -> None:
    words = (*overrides, "schedule.steps=11", "log.diagnostics_every_steps=2")
    waiting = train(tmp_path / "waiting", *words, "metrics.asynchronous=false")
    assert_same_runs(train(tmp_path / "beside", *words, BESIDE), waiting)
    assert len(rows_of(waiting, "metric")) > 6
    assert no_thread_is_left()


def test_training_goes_on_meanwhile_and_rows_stand_under_the_step_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ("metrics.every_steps=3", "schedule.steps=8", SELDOM)
    waiting = train(tmp_path / "waiting", *words)
    reached = when_reached(5, monkeypatch)
    seen: list[int | None] = []

    def measure(own: Measure, metric: ModesMetric, images: Tensor, labels: Tensor | None) -> list[MetricValue]:
        seen.append(step_measured())
        wait_for(reached)
        return own(metric, images, labels)

    monkeypatch.setattr(ModesMetric, "measure", measured_by(measure))
    beside = train(tmp_path / "beside", *words, BESIDE)
    assert seen == [3, 6, None], "the last one has nothing to go on beside"
    order = [(row["kind"], row["step"]) for row in read_rows(beside / "metrics.jsonl") if row["kind"] != "diagnostic"]
    assert order.index(("train", 5)) < order.index(("metric", 3)) < order.index(("metric", 6))
    assert_same_runs(beside, waiting)


@pytest.mark.parametrize(("every", "kept", "last"), [(4, 4, 0), (3, 3, 3), (3, 1000, 3)])
def test_a_run_interrupted_while_it_measures_goes_on_exactly(
    every: int, kept: int, last: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The measurement of step 4 or 6 never ends; its step is no last.pt yet, whose figures would be missing."""
    words = (f"metrics.every_steps={every}", f"log.checkpoint_every_steps={kept}", "schedule.steps=10")
    waiting = train(tmp_path / "waiting", *words)
    own_run = TrainStep.run

    def measure(own: Measure, metric: ModesMetric, images: Tensor, labels: Tensor | None) -> list[MetricValue]:
        if step_measured() in (4, 6):
            wait_for(threading.Event())
        return own(metric, images, labels)

    def run(train_step: TrainStep) -> None:
        if train_step.step == 7:
            raise KeyboardInterrupt
        own_run(train_step)

    with monkeypatch.context() as patch:
        patch.setattr(ModesMetric, "measure", measured_by(measure))
        patch.setattr(TrainStep, "run", run)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "beside", *words, BESIDE)
    assert no_thread_is_left()
    state = load_checkpoint(tmp_path / "beside" / "last.pt")
    assert state["step"] == last
    assert bool(state["metric_values"]) == (last > 0)
    assert max(row["step"] for row in rows_of(tmp_path / "beside", "train")) == 7
    assert_same_runs(resume(tmp_path / "beside"), waiting)


def test_a_step_to_be_kept_becomes_last_pt_whether_or_not_it_is_the_best(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Step 3 is the best, step 6 is not, and training stands at step 7 when its figure is there."""
    words = ("metrics.every_steps=3", "log.checkpoint_every_steps=3", "schedule.steps=12")
    own_run, modes = TrainStep.run, iter((5.0, 4.0, 4.0, 4.0))

    def measure(own: Measure, metric: ModesMetric, images: Tensor, labels: Tensor | None) -> list[MetricValue]:
        return [MetricValue("modes", next(modes))]

    def run(train_step: TrainStep) -> None:
        for thread in threading.enumerate():
            if thread.name.startswith("measuring"):
                thread.join()
        if train_step.step == 7:
            raise KeyboardInterrupt
        own_run(train_step)

    monkeypatch.setattr(ModesMetric, "measure", measured_by(measure))
    monkeypatch.setattr(TrainStep, "run", run)
    with pytest.raises(KeyboardInterrupt):
        train(tmp_path / "run", *words, BESIDE)
    best, last = (load_checkpoint(tmp_path / "run" / name) for name in ("best.pt", "last.pt"))
    assert (best["step"], last["step"]) == (3, 6)
    assert (best["metric_values"], last["metric_values"]) == ({"modes_ema": 5.0}, {"modes_ema": 4.0})
    assert best["best"] == last["best"] == {"name": "modes", "headline": "modes_ema", "value": 5.0, "step": 3}


@pytest.mark.slow
def test_a_run_killed_while_it_measures_goes_on_bit_for_bit(tmp_path: Path) -> None:
    """SIGKILL of a real process whose thread is at work."""
    words = [*TINY, BESIDE, "metrics.every_steps=5", "log.checkpoint_every_steps=5", "schedule.steps=30"]
    code = (
        "import sys, time, threading, pathlib\n"
        "from gantrain.__main__ import main\n"
        "from gantrain.metrics.modes import ModesMetric\n"
        "own = ModesMetric.measure\n"
        "def measure(metric, images, labels):\n"
        "    if threading.current_thread().name == 'measuring step 15':\n"
        "        pathlib.Path('at-work').touch()\n"
        "        time.sleep(1000)\n"
        "    return own(metric, images, labels)\n"
        "ModesMetric.measure = measure\n"
        "main()\n"
    )
    environment = {**os.environ, "PYTHONPATH": python_path()}
    (tmp_path / "start.py").write_text(code)
    with (tmp_path / "log.txt").open("wb") as log:
        killed = subprocess.Popen(
            [sys.executable, "start.py", *words, "hydra.run.dir=killed"],
            cwd=tmp_path,
            env=environment,
            stdout=log,
            stderr=log,
        )
    rows = tmp_path / "killed" / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not (
        (tmp_path / "at-work").exists() and any(row["step"] >= 17 for row in read_rows(rows))
    ):
        time.sleep(0.05)
    os.kill(killed.pid, signal.SIGKILL)
    assert killed.wait() == -signal.SIGKILL
    assert load_checkpoint(tmp_path / "killed" / "last.pt")["step"] == 10
    again = subprocess.run(
        [sys.executable, "-m", "gantrain", "resume=killed"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert again.returncode == 0, again.stderr
    whole = train(tmp_path / "whole", *words[len(TINY) :], "metrics.asynchronous=false")
    for name in ("last.pt", "best.pt"):
        states = [state_of(tmp_path / run, name) for run in ("killed", "whole")]
        for state in states:
            del state["config"]["resume"]
        assert_same(*states)
    assert rows_of(tmp_path / "killed", "metric") == rows_of(whole, "metric")
    assert not list((tmp_path / "killed").glob("*.part"))


@pytest.mark.parametrize("words", [("metrics.asynchronous=false",), (BESIDE,)], ids=["waits", "beside"])
def test_an_error_of_a_metric_is_the_runs(
    words: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def measure(own: Measure, metric: ModesMetric, images: Tensor, labels: Tensor | None) -> list[MetricValue]:
        raise DataError("nothing can be seen in these")

    monkeypatch.setattr(ModesMetric, "measure", measured_by(measure))
    with pytest.raises(DataError, match=r"^nothing can be seen in these$"):
        train(tmp_path / "run", *words, "metrics.every_steps=3", SELDOM, "schedule.steps=50")
    assert not rows_of(tmp_path / "run", "metric")
    assert 3 <= max(row["step"] for row in rows_of(tmp_path / "run", "train")) <= 6, "told by the next one that is due"
    assert load_checkpoint(tmp_path / "run" / "last.pt")["step"] == 0
    assert no_thread_is_left()


def test_what_was_measured_before_a_loss_is_not_finite_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noticed = threading.Event()

    def refuse(train_step: TrainStep, saved_step: int) -> None:
        if train_step.step == 5:
            noticed.set()
            raise NotFiniteError(f"last.pt holds step {saved_step}")

    def measure(own: Measure, metric: ModesMetric, images: Tensor, labels: Tensor | None) -> list[MetricValue]:
        wait_for(noticed)
        return own(metric, images, labels)

    monkeypatch.setattr(trainer, "check_finite", refuse)
    monkeypatch.setattr(ModesMetric, "measure", measured_by(measure))
    with pytest.raises(NotFiniteError, match=r"last\.pt holds step 3"):
        train(tmp_path / "run", BESIDE, "metrics.every_steps=3", SELDOM, "schedule.steps=50")
    assert [row["step"] for row in rows_of(tmp_path / "run", "metric")] == [3, 3]
    assert load_checkpoint(tmp_path / "run" / "best.pt")["step"] == 3
    assert load_checkpoint(tmp_path / "run" / "last.pt")["best"]["step"] == 3
    assert no_thread_is_left()


def test_where_memory_does_not_suffice_for_both_training_waits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("metrics.every_steps=3", "schedule.steps=10")
    waiting = train(tmp_path / "waiting", *words)
    seen: list[int | None] = []

    def measure(own: Measure, metric: ModesMetric, images: Tensor, labels: Tensor | None) -> list[MetricValue]:
        seen.append(step_measured())
        if step_measured() is not None:
            raise torch.OutOfMemoryError("CUDA out of memory.\nand more")
        return own(metric, images, labels)

    monkeypatch.setattr(ModesMetric, "measure", measured_by(measure))
    capsys.readouterr()
    beside = train(tmp_path / "beside", *words, BESIDE)
    assert seen == [3, None, None, None, None], "the first is taken again"
    assert capsys.readouterr().err.count("beside training (CUDA out of memory.): from step 3 on") == 1
    assert_same_runs(beside, waiting)


class Seen:
    """A metric that tells where it is taken."""

    headline = "fid"

    def __init__(self) -> None:
        self.steps: list[int | None] = []

    def measure(self, images: Tensor, labels: Tensor | None) -> list[MetricValue]:
        self.steps.append(step_measured())
        return [MetricValue("fid", float(images.float().mean()))]


def measured_steps(counts: list[int], *, asynchronous: bool | None, monkeypatch: pytest.MonkeyPatch) -> Seen:
    """Three measurements, while the allocator has given back memory as often as `counts` say."""
    seen, told = Seen(), iter([*counts, *counts[-1:] * 9])
    monkeypatch.setattr(evaluation, "memory_given_back", lambda _: next(told))
    torch.manual_seed(0)
    networks = make_networks("dcgan", width=2, latent_dim=4, prior="normal", image_size=32, d_norm="none")
    sampling = Sampling(seed=1, count=4, batch_size=3, networks=("raw",))
    made = Measuring([seen], sampling, networks, device=torch.device("cpu"), asynchronous=asynchronous)
    values = []
    for step in (1, 2, 3):
        made.begin(step, {"raw": networks.generator}, dict, kept=False, waits=False)
        assert made.is_under_way
        values += [figure.value for figure in made.findings().metric_values["raw"]]
        assert not made.is_under_way
    assert len(set(values)) == 1
    return seen


def test_by_itself_the_first_waits_and_others_only_if_memory_had_to_be_given_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert measured_steps([0, 0], asynchronous=None, monkeypatch=monkeypatch).steps == [None, 2, 3]
    assert measured_steps([4, 5], asynchronous=None, monkeypatch=monkeypatch).steps == [None, None, None]
    assert measured_steps([4, 5], asynchronous=True, monkeypatch=monkeypatch).steps == [1, 2, 3]
    assert measured_steps([0, 0], asynchronous=False, monkeypatch=monkeypatch).steps == [None, None, None]


def test_a_run_that_is_pruned_ends_when_the_figure_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reached, asked = when_reached(5, monkeypatch), []

    def measure(own: Measure, metric: ModesMetric, images: Tensor, labels: Tensor | None) -> list[MetricValue]:
        wait_for(reached)
        return own(metric, images, labels)

    def prune(step: int, figures: dict[str, float]) -> str | None:
        asked.append((step, sorted(figures)))
        return "far behind"

    monkeypatch.setattr(ModesMetric, "measure", measured_by(measure))
    config = compose(*TINY, BESIDE, "metrics.every_steps=3", SELDOM, "schedule.steps=50")
    outcome = builders.run(config, tmp_path / "run", prune=prune)
    assert outcome.pruned == "far behind"
    assert asked == [(3, ["modes_ema", "modes_kl_ema"])]
    assert 5 <= outcome.step <= 6, "before the next one is begun"
    assert load_checkpoint(tmp_path / "run" / "last.pt")["step"] == outcome.step
    assert json.loads((tmp_path / "run" / "status.json").read_text())["state"] == "pruned"
    assert {row["step"] for row in rows_of(tmp_path / "run", "metric")} == {3}


def test_a_graph_is_captured_after_what_is_being_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    begun, release = threading.Event(), threading.Event()

    class Slow(Seen):
        def measure(self, images: Tensor, labels: Tensor | None) -> list[MetricValue]:
            begun.set()
            wait_for(release)
            order.append("measured")
            return super().measure(images, labels)

    networks = make_networks("dcgan", width=2, latent_dim=4, prior="normal", image_size=32, d_norm="none")
    sampling = Sampling(seed=1, count=4, batch_size=3, networks=("raw",))
    made = Measuring([Slow()], sampling, networks, device=torch.device("cpu"), asynchronous=True)
    executor = CudaGraphExecutor()
    monkeypatch.setattr(executor, "_try", lambda *_: order.append("captured"))
    made.begin(1, {"raw": networks.generator}, dict, kept=False, waits=False)
    assert begun.wait(60)
    threading.Timer(0.3, release.set).start()
    executor._capture(None, None)  # type: ignore[arg-type]
    assert order == ["measured", "captured"]
    made.findings()


def test_what_nobody_waits_for_ends_at_its_next_batch() -> None:
    batches: list[int] = []
    abandoned = threading.Event()

    class Generator(torch.nn.Module):
        def forward(self, z: Tensor) -> Tensor:
            batches.append(len(z))
            if len(batches) == 2:
                abandoned.set()
            return z

    def draw() -> Tensor:
        return draw_images(Generator(), torch.zeros(9, 2), None, image_range=None, batch_size=3)

    with may_be_abandoned(abandoned), pytest.raises(Abandoned):
        draw()
    assert batches == [3, 3]
    assert len(draw()) == 9, "outside of it the event means nothing"


def test_what_is_decided_before_the_run(tmp_path: Path) -> None:
    cuda, cpu = torch.device("cuda", 0), torch.device("cpu")

    def decided(device: torch.device, *words: str, processes: Processes | None = None) -> bool | None:
        config: Config = compose("data=digits", *words)
        return builders.measures_asynchronously(config, device, processes or Processes())

    assert decided(cpu) is False
    assert decided(cuda) is None
    assert decided(cuda, "sweep.prune=true") is False
    assert decided(cuda, "metrics.precision=float32") is False
    assert decided(cuda, "metrics.precision=float32", "precision=float32") is None
    assert decided(cuda, "metrics.precision=bf16") is None
    assert decided(cuda, processes=Processes(count=2)) is False
    for device in (cpu, cuda):
        assert decided(device, BESIDE, "sweep.prune=true") is True
        assert decided(device, "metrics.asynchronous=false") is False
    with pytest.raises(
        ConfigError, match=r"metrics\.asynchronous=true with metrics\.precision='float32' and precision"
    ):
        compose(BESIDE, "metrics.precision=float32")
    compose(BESIDE, "metrics.precision=float32", "device=cpu")
    with pytest.raises(ConfigError, match=r"metrics\.asynchronous=true: 2 processes measure together"):
        builders.runs.check_shares(compose(BESIDE), Processes(count=2))
