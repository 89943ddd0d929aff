"""Several processes train the network that one process would, to rounding, and leave what it would."""

import functools
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.testing import assert_close

from gantrain.config import ConfigError
from gantrain.data import BatchSampler
from gantrain.metrics.features import InceptionFeatures
from gantrain.metrics.inception import find_inception_weights
from gantrain.system.distributed import SINGLE_PROCESS, Processes, batch_std, current_processes, rand, shared_generator
from gantrain.training.checkpoint import load_checkpoint
from tests.conftest import TINY, compose, python_path
from tests.same_runs import rows_without_times
from tests.training.helpers import make_trainer

PROCESSES = 2
SHARED = {
    "default": ("model.sync_batch_norm=true",),
    "points": ("data=ring", "loss=exact", "model.width=8"),
    "normalized ratio, one batch of both halves": (
        *("loss=exact", "loss.gen=kl", "model.d_norm=batch", "model.sync_batch_norm=true", "joint_batch=true"),
    ),
    "relativistic, two steps of D, lazy R1 and R2": (
        *("loss=relativistic", "schedule.d_steps=2", "model.d_norm=layer", "model.g_norm=none", "regularizer=r1r2"),
        "regularizer.interval=2",
    ),
    "labels, ADA, history, top-k": (
        *("cond=acgan", "augment=ada", "augment.target=0.1", "augment.speed_images=100", "augment.p=0.5"),
        *("tricks.history=12", "tricks.top_k=0.5", "model.sync_batch_norm=true"),
    ),
    "residual network": ("model=resnet", "model.width=4", "model.d_width=4", "model.sync_batch_norm=true"),
    "gradient penalty": (
        *("model=sngan", "model.d_norm=none", "model.g_norm=instance", "regularizer=gp", "loss=wasserstein"),
    ),
    "virtual batch norm, DRAGAN, noise": (
        *("cond=projection", "cond.generator=embedding", "model.g_norm=virtual", "model.d_norm=virtual"),
        *("model.virtual_reference=4", "regularizer=dragan", "data.dequantize=true"),
        *("tricks.instance_noise=0.1", "optimizer.grad_clip_norm=1"),
    ),
    "clipping, spectral norm per step": ("regularizer=clip", "model.d_norm=none", "model.g_norm=layer"),
    "streamed, channels last": (
        *("data.on_device=false", "channels_last=true", "model.sn_schedule=per_step", "model.sync_batch_norm=true"),
    ),
}
"""Runs of every technique except dropout, which each process draws independently."""


def steps_of(overrides: tuple[str, ...], processes: Processes) -> dict[str, Tensor]:
    """Recorded values, networks and generator states after four steps."""
    train_step = make_trainer(*overrides, processes=processes).train_step
    for _ in range(4):
        train_step.run()
    buffer = train_step.buffer
    found = {"logits": buffer.logits, "updates": buffer.updates, **buffer.notes}
    for name, network in (("generator", train_step.networks.generator), ("D", train_step.networks.discriminator)):
        found |= {f"{name}.{key}": value.detach() for key, value in network.named_parameters()}
    found |= {f"generator {k}": g.get_state() for k, g in enumerate(train_step.generators())}
    return {name: value.clone() for name, value in found.items()}


def save_result(rank: int, folder: Path, function: Callable[[Processes], Any]) -> None:
    """One of the processes: writes the function's result to a file."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=PROCESSES)
    try:
        assert current_processes() == Processes(rank, PROCESSES)
        torch.save(function(current_processes()), folder / f"{rank}.pt")
    finally:
        dist.destroy_process_group()


def in_two_processes(folder: Path, function: Callable[[Processes], Any]) -> list[Any]:
    """The function's result in each process, by rank."""
    torch.multiprocessing.spawn(save_result, (folder, function), nprocs=PROCESSES)
    return [torch.load(folder / f"{rank}.pt", weights_only=True) for rank in range(PROCESSES)]


def all_steps(processes: Processes) -> dict[str, dict[str, Tensor]]:
    return {name: steps_of(words, processes) for name, words in SHARED.items()}


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> list[dict[str, dict[str, Tensor]]]:
    """Results by rank and by the names of SHARED, see `steps_of`."""
    return in_two_processes(tmp_path_factory.mktemp("processes"), all_steps)


@pytest.mark.slow
@pytest.mark.parametrize("name", SHARED)
def test_two_processes_compute_the_same_as_one(name: str, results: list[dict[str, dict[str, Tensor]]]) -> None:
    wanted = steps_of(SHARED[name], SINGLE_PROCESS)
    first, second = (result[name] for result in results)
    assert_close(second, first, rtol=0, atol=0, equal_nan=True)
    assert first.keys() == wanted.keys()
    for key, value in wanted.items():
        if value.dtype == torch.uint8:
            assert torch.equal(first[key], value), f"{key}: generator states differ"
        else:
            # The gradient of a bias before batch norm is only rounding, of which Adam makes steps of lr = 2e-4. So
            # is that of the last bias of a relativistic D, whose loss does not depend on a shift of all logits.
            free = key.endswith(".bias") or (key == "logits" and "relativistic" in name)
            apart = 2e-3 if free else 3e-4 if "." in key else 1e-4
            assert_close(first[key], value, rtol=1e-3, atol=apart, equal_nan=True, msg=key)


Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def torchrun(tmp_path: Path) -> Command:
    """Runs `torchrun --nproc-per-node=2 …`, by default `-m gantrain`, in an empty folder."""

    def run(*words: str, program: tuple[str, ...] = ("-m", "gantrain")) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={PROCESSES}", *program, *words],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": python_path()},
            capture_output=True,
            text=True,
            timeout=300,
        )

    return run


WORDS = (
    *TINY,
    *("model.sync_batch_norm=true", "log.every_steps=2", "log.diagnostics_every_steps=2", "metrics.every_steps=3"),
    *("log.checkpoint_every_steps=3", "metrics.samples=51"),
)


def assert_alike(one: Path, other: Path) -> None:
    """The same rows in the same order and the same networks, up to rounding."""
    for wanted, found in zip(rows_without_times(one), rows_without_times(other), strict=True):
        assert (found["step"], found["kind"]) == (wanted["step"], wanted["kind"])
        assert numbers(found) == pytest.approx(numbers(wanted), rel=1e-2, abs=1e-4, nan_ok=True)
    states = [load_checkpoint(folder / "last.pt") for folder in (one, other)]
    for name in ("generator", "discriminator", "ema"):
        assert_close(states[1][name], states[0][name], rtol=1e-3, atol=3e-4)


def numbers(row: dict[str, Any]) -> dict[str, float]:
    return {key: value for key, value in row.items() if isinstance(value, int | float)}


@pytest.mark.slow
@pytest.mark.exhaustive
def test_a_run_of_two_processes_can_be_resumed_by_one_and_by_two(
    torchrun: Command, gantrain: Command, tmp_path: Path
) -> None:
    complete = gantrain(*WORDS, "hydra.run.dir=one", "schedule.steps=9", "log.grid_images=4")
    assert complete.returncode == 0, complete.stderr
    for name in ("two", "two-one", "two-two"):
        begun = torchrun(*WORDS, f"hydra.run.dir={name}", f"schedule.steps={9 if name == 'two' else 6}")
        assert begun.returncode == 0, begun.stderr
        assert begun.stderr.count("executor: eager") == 1, "only one process logs"
        assert "2 x cpu" in begun.stderr
        assert begun.stdout.count("checkpoint ") == 1
    assert_alike(tmp_path / "one", tmp_path / "two")
    onto_one = gantrain("resume=two-one", "schedule.steps=9")
    assert onto_one.returncode == 0, onto_one.stderr
    assert "trained by 2 processes and continues with 1" in onto_one.stderr
    onto_two = torchrun("resume=two-two", "schedule.steps=9")
    assert onto_two.returncode == 0, onto_two.stderr
    for name in ("two-one", "two-two"):
        assert_alike(tmp_path / "two", tmp_path / name)
    states = [load_checkpoint(tmp_path / name / "last.pt") for name in ("two", "two-two")]
    assert all(torch.equal(states[0]["generator"][k], states[1]["generator"][k]) for k in states[0]["generator"])
    starts = json.loads((tmp_path / "two-one" / "run.json").read_text())
    assert [start["device"] for start in starts] == ["2 x cpu", "cpu"]
    assert sorted(p.name for p in (tmp_path / "two").iterdir()) == sorted(p.name for p in (tmp_path / "one").iterdir())


@pytest.mark.exhaustive
@pytest.mark.slow
def test_dropout_differs_between_processes_and_resumes_exactly(torchrun: Command, tmp_path: Path) -> None:
    words = (*WORDS[:-1], "metrics=none", "model.d_dropout=0.3", "loss=exact")
    for name, steps in (("complete", 6), ("parts", 3)):
        begun = torchrun(*words, f"hydra.run.dir={name}", f"schedule.steps={steps}")
        assert begun.returncode == 0, begun.stderr
    states = load_checkpoint(tmp_path / "complete" / "last.pt")["rng_of_ranks"]
    assert not torch.equal(states[0]["rng_cpu"], states[1]["rng_cpu"])
    assert torchrun("resume=parts", "schedule.steps=6").returncode == 0
    one, other = (load_checkpoint(tmp_path / name / "last.pt")["discriminator"] for name in ("complete", "parts"))
    assert all(torch.equal(value, other[key]) for key, value in one.items())


WRONG = (
    (("schedule.batch_size=9",), "schedule.batch_size=9 is the total of 2 processes"),
    (("loss.gen=nothing",), "loss.gen"),
    (("-m", "seed=1,2"), "leave torchrun out"),
    (("experiment=seeds",), "leave torchrun out"),
    (("sweep.resume=there",), "leave torchrun out"),
    (("theory", "out=there"), "leave torchrun out"),
    (("device=cuda:0",), "device='cuda:0' is one GPU, but 2 processes need one each"),
    (("loss.disc=pearson", "loss.gen=neyman", "optimizer.lr_d=0.5", "schedule.steps=40"), "is not finite"),
)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "said"),
    [pytest.param(*case, id=case[0][0], marks=() if case in WRONG[::7] else pytest.mark.exhaustive) for case in WRONG],
)
def test_an_error_is_reported_once(words: tuple[str, ...], said: str, torchrun: Command) -> None:
    in_all = said == "leave torchrun out"
    ended = torchrun(*(() if in_all else (*TINY, "metrics=none")), *words)
    assert ended.returncode != 0, words
    assert said in ended.stderr
    assert 1 <= ended.stderr.count("gantrain: error:") <= (2 if in_all else 1), ended.stderr
    assert "Traceback" not in ended.stderr.split("ChildFailedError")[0].split("torch/distributed")[0], ended.stderr


@pytest.mark.exhaustive
@pytest.mark.slow
def test_a_stop_by_the_doctor_is_written_completely(torchrun: Command, tmp_path: Path) -> None:
    words = ("data=ring", "model.width=8", "metrics=none", "schedule.steps=400", "device=cpu", "doctor.stop=true")
    frozen = ("optimizer.lr_d=0.00001", "optimizer.lr_g=0.3", "log.diagnostics_every_steps=20", "log.every_steps=10")
    ended = torchrun(*words, *frozen, "hydra.run.dir=run")
    assert ended.returncode == 1
    assert "the doctor found a" in ended.stderr, ended.stderr
    status = json.loads((tmp_path / "run" / "status.json").read_text())
    assert status["state"] == "stopped"
    assert load_checkpoint(tmp_path / "run" / "last.pt")["step"] == status["step"]
    assert (tmp_path / "run" / "samples" / "training.gif").is_file()


@pytest.mark.exhaustive
@pytest.mark.slow
def test_an_error_of_a_single_process_is_reported(torchrun: Command, tmp_path: Path) -> None:
    (tmp_path / "start.py").write_text(
        "import os, sys\n"
        "import gantrain.builders.runs as runs\n"
        "from gantrain.config import ConfigError\n"
        "def broken(config):\n"
        "    if os.environ['RANK'] == '1': raise ConfigError('no data on this machine')\n"
        "runs.prepare_data = broken\n"
        "from gantrain.cli import main\n"
        "main()\n"
    )
    ended = torchrun(*TINY, "metrics=none", program=("start.py",))
    assert ended.returncode != 0
    assert "gantrain: error: process 1: no data on this machine" in ended.stderr, ended.stderr


def features_of(processes: Processes, weights: Path) -> Tensor:
    """Features of seven images, which two processes cannot share evenly."""
    found = find_inception_weights(str(weights))
    inception = InceptionFeatures(found, batch_size=3, device=torch.device("cpu"), processes=processes)
    images = torch.randint(0, 256, (7, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(2))
    return inception.features(images)


@pytest.mark.slow
@pytest.mark.inception
def test_processes_share_the_work_of_the_inception(tmp_path: Path, inception_file: Path) -> None:
    wanted = features_of(SINGLE_PROCESS, inception_file)
    for found in in_two_processes(tmp_path, functools.partial(features_of, weights=inception_file)):
        assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_each_process_has_its_rows_of_the_random_numbers() -> None:
    complete = torch.rand(3, 8, 2, generator=torch.Generator().manual_seed(4))
    for rank in range(4):
        draws = shared_generator(torch.device("cpu"), 4, Processes(rank, 4))
        assert torch.equal(rand((3, 2, 2), draws, rows=1), complete[:, 2 * rank : 2 * rank + 2])
    assert torch.equal(rand((3, 8, 2), torch.Generator().manual_seed(4)), complete)
    assert batch_std(complete, torch.Generator()) == complete.std()


def test_each_process_has_its_rows_of_the_batches() -> None:
    """Indices, mirroring and dequantization, over the end of an epoch."""
    images = torch.randint(0, 256, (10, 3, 4, 4), dtype=torch.uint8)

    def sampler(processes: Processes) -> BatchSampler:
        words = {"image_range": (-1.0, 1.0), "flip": True, "dequantize": True, "seed": 3, "at_once": 2}
        return BatchSampler(images, labels=torch.arange(10), batch_size=6, processes=processes, **words)  # type: ignore[arg-type]

    samplers = [sampler(SINGLE_PROCESS), *(sampler(Processes(rank, 3)) for rank in range(3))]
    for _ in range(2):
        for each in samplers:
            each.prepare(2)
        for k in range(2):
            (complete, labels), *parts = (each.batch(k) for each in samplers)
            assert torch.equal(complete, torch.cat([part for part, _ in parts]))
            assert labels is not None
            assert labels.tolist() == [label for _, of in parts if of is not None for label in of.tolist()]


def test_local_slices_cover_all_rows_evenly() -> None:
    for count in (1, 7, 50_000):
        parts = [Processes(rank, 6).local_slice(count) for rank in range(6)]
        assert [i for part in parts for i in range(count)[part]] == list(range(count))
        sizes = [part.stop - part.start for part in parts]
        assert max(sizes) - min(sizes) <= 1


def test_loss_shares_sum_to_the_loss_and_keep_the_full_gradient() -> None:
    v = torch.tensor([1.0, 2.0], requires_grad=True)
    parts = [Processes(rank, 4).loss_share(v.square().sum()) for rank in range(4)]
    assert sum(float(part.detach()) for part in parts) == pytest.approx(5)
    (gradient,) = torch.autograd.grad(parts[2], v)
    assert torch.equal(gradient, torch.tensor([2.0, 4.0]))


def test_synchronized_batch_norm_needs_batch_norm() -> None:
    with pytest.raises(ConfigError, match="sync_batch_norm"):
        compose("model.sync_batch_norm=true", "model.g_norm=layer")
    networks = make_trainer("model.sync_batch_norm=true").train_step.networks
    layers = [m for m in networks.generator.modules() if isinstance(m, nn.BatchNorm2d)]
    assert layers
    assert all(layer.process_group is None for layer in layers), "a single process needs no group"
