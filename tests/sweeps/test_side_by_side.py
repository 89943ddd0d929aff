"""Several runs in one process: each is what it is alone, whatever the others set, fail at or draw."""

import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from gantrain.run_io.run_reader import find_runs, read_run
from gantrain.sweeps.side_by_side import _wait
from gantrain.training.checkpoint import LAST, load_checkpoint
from gantrain.turns import Surroundings, Turns, call_it, give_way, label, side_by_side
from tests.conftest import TINY
from tests.same_runs import figures_of
from tests.sweeps.test_sweep import outcome, sweep, wait_for_rows

SIDE = ("hydra/launcher=side_by_side", "hydra.launcher.runs=3")


def weights_of(folder: Path) -> dict[str, torch.Tensor]:
    state = load_checkpoint(folder / LAST)
    return {f"{name}.{key}": v for name in ("generator", "discriminator", "ema") for key, v in state[name].items()}


def assert_same_runs(one: Path, other: Path, count: int) -> None:
    """The same rows and weights, bit for bit, in folders of the same names."""
    runs = find_runs([one])
    assert len(runs) == count
    for folder in runs:
        twin = other / folder.name
        assert figures_of(folder) == figures_of(twin)
        weights, others = weights_of(folder), weights_of(twin)
        assert weights.keys() == others.keys()
        assert all(torch.equal(value, others[key]) for key, value in weights.items())


def test_runs_end_as_they_do_alone(tmp_path: Path, command: Any) -> None:
    """With dropout, which draws from the process's generator, and metrics, and flags that differ."""
    words = (*TINY, "model.d_dropout=0.3", "loss=exact", "metrics.every_steps=4", "log.diagnostics_every_steps=2")
    swept = ("deterministic=true,false", "precision=tf32,bf16")
    code, text = command("-m", *words, *swept, "hydra.sweep.dir=turns", *SIDE)
    assert code == 0, text
    assert "4 of 4 jobs: 4 finished" in text
    assert "job 3: step 6/6" in text
    assert command("-m", *words, *swept, "hydra.sweep.dir=alone")[0] == 0
    assert_same_runs(tmp_path / "alone", tmp_path / "turns", 4)
    starts = [json.loads((folder / "run.json").read_text())[0] for folder in find_runs([tmp_path / "turns"])]
    assert {start["side_by_side"] for start in starts} == {3}
    assert not torch.are_deterministic_algorithms_enabled()


def test_one_that_fails_stops_no_other(tmp_path: Path, command: Any) -> None:
    words = (*TINY, "metrics=none", "schedule.steps=40", "loss.disc=gan,pearson", "loss.gen=alt,neyman")
    code, text = command("-m", *words, "optimizer.lr_d=0.3", "hydra.sweep.dir=s", *SIDE)
    assert code == 1
    ends = [read_run(folder).state for folder in find_runs([tmp_path / "s"])]
    assert sorted(ends) == ["failed", "finished", "finished", "finished"]
    assert "is not finite with disc=pearson gen=neyman" in text
    assert "003-loss.disc=pearson,loss.gen=neyman: step" in text


@pytest.mark.exhaustive
@pytest.mark.slow
def test_an_interrupted_sweep_is_taken_up(tmp_path: Path) -> None:
    every = ("schedule.steps=120", "log.every_steps=1", "log.checkpoint_every_steps=5")
    words = (*TINY, "metrics=none", *every, "seed=0,1,2,3")
    process = sweep(tmp_path, "-m", *words, "hydra.sweep.dir=s", *SIDE)
    wait_for_rows(tmp_path / "s" / "001-seed=1", 20, process)
    process.send_signal(signal.SIGINT)
    code, text = outcome(process)
    assert code == 130, text
    assert "Traceback" not in text
    assert "3 interrupted" in text
    assert "1 not begun" in text
    code, text = outcome(sweep(tmp_path, "sweep.resume=s"))
    assert code == 0, text
    assert outcome(sweep(tmp_path, "-m", *words, "hydra.sweep.dir=alone"))[0] == 0
    assert_same_runs(tmp_path / "alone", tmp_path / "s", 4)


def test_a_device_that_is_none_is_its_jobs_failure_alone(command: Any) -> None:
    code, text = command("-m", *TINY, "metrics=none", "device=cpu,cuda:x,cpu", "hydra.sweep.dir=s", *SIDE)
    assert code == 1
    assert "3 of 3 jobs: 2 finished, 1 failed" in text, text
    assert "device='cuda:x' is not known" in text


def test_measuring_beside_training_is_not_for_runs_side_by_side(command: Any) -> None:
    code, text = command("-m", *TINY, "seed=0,1", "metrics.asynchronous=true", "hydra.sweep.dir=s", *SIDE)
    assert code == 1
    assert "metrics.asynchronous=true measures under the flags that training has" in text
    assert "2 of 2 jobs: 2 failed" in text


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("profile=true,false", "profile=true is for one run in a process"),
        ("executor=compiled,eager", "executor='compiled' keeps what it has compiled for the whole process"),
    ],
)
def test_what_pytorch_has_once_in_a_process_fails_its_own_run_alone(
    word: str, said: str, tmp_path: Path, command: Any
) -> None:
    code, text = command("-m", *TINY, "metrics=none", word, "hydra.sweep.dir=s", *SIDE)
    assert code == 1
    assert "2 of 2 jobs: 1 finished, 1 failed" in text
    refused, trained = (read_run(folder) for folder in find_runs([tmp_path / "s"]))
    assert said in (refused.reason or "")
    assert trained.state == "finished"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["hydra.launcher.runs=0"], "hydra.launcher.runs=0 must be a whole number from 1 to 256"),
        (["hydra.launcher.runs=many"], "hydra.launcher.runs='many' must be a whole number"),
        (["hydra.launcher.runs=2", "hydra.job.chdir=true"], "hydra.job.chdir=True is for a whole process"),
        (["hydra.launcher.runs=2", "+hydra.job.env_set.A=b"], "hydra.job.env_set={'A': 'b'} is for a whole process"),
    ],
)
def test_what_one_process_cannot_have_is_refused(words: list[str], said: str, tmp_path: Path, command: Any) -> None:
    code, text = command("-m", *TINY, "seed=0,1", "hydra/launcher=side_by_side", *words, "hydra.sweep.dir=s")
    assert code == 2
    assert said in text
    assert not (tmp_path / "s").exists()


def test_threads_draw_and_set_as_if_alone() -> None:
    """Draws from the default generator and flags, exchanged with the turn, against each thread by itself."""

    def work(seed: int) -> list[Any]:
        found: list[Any] = []
        torch.manual_seed(seed)
        torch.backends.cudnn.benchmark = seed % 2 == 0
        torch.use_deterministic_algorithms(seed == 3)
        for _ in range(5):
            found.append((float(torch.rand(())), torch.backends.cudnn.benchmark))
            found.append(torch.are_deterministic_algorithms_enabled())
            give_way()
        return found

    before = Surroundings()
    assert (side_by_side(), label()) == (1, "")
    alone = {seed: work(seed) for seed in (1, 2, 3)}
    before.enter()
    turns, found, order = Turns(3), {}, []

    def thread(seed: int, surroundings: Surroundings) -> None:
        turns.take(surroundings)
        try:
            call_it(f"run {seed}")
            order.append((label(), side_by_side()))
            found[seed] = work(seed)
        finally:
            turns.leave()

    threads = [threading.Thread(target=thread, args=(seed, Surroundings())) for seed in alone]
    for each in threads:
        each.start()
    for each in threads:
        each.join(timeout=60)
    before.enter()
    assert found == alone
    assert sorted(order) == [("run 1", 3), ("run 2", 3), ("run 3", 3)]


def test_an_interruption_reaches_every_thread_at_its_next_turn() -> None:
    turns, ended = Turns(2), []

    def thread(name: str, surroundings: Surroundings) -> None:
        turns.take(surroundings)
        try:
            for step in range(1000):
                turns.interrupted |= name == "a" and step == 3
                give_way()
        except KeyboardInterrupt:
            ended.append(name)
        finally:
            turns.leave()

    threads = [threading.Thread(target=thread, args=(name, Surroundings())) for name in "ab"]
    for each in threads:
        each.start()
    for each in threads:
        each.join(timeout=60)
    assert sorted(ended) == ["a", "b"]


def test_a_second_ctrl_c_waits_until_every_run_has_ended() -> None:
    """An interrupted Thread.join would take a thread that is at work for ended."""
    ends, turns = [threading.Event(), threading.Event()], Turns(2)
    seen: list[bool] = []

    def work() -> None:
        time.sleep(0.3)  # until the main thread waits
        os.kill(os.getpid(), signal.SIGINT)
        deadline = time.monotonic() + 30
        while not turns.interrupted and time.monotonic() < deadline:
            time.sleep(0.001)
        seen.append(turns.interrupted)
        for end in ends:
            end.set()

    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a script's background ignores it
    try:
        thread = threading.Thread(target=work)
        thread.start()
        _wait(ends, turns)
        thread.join()
    finally:
        signal.signal(signal.SIGINT, before)
    assert seen == [True]
