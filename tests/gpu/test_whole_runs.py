"""Complete runs on a GPU: resumed, in sweeps, with metrics, and their memory."""

import subprocess
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch

from gantrain import builders
from gantrain.commands import evaluate, sample
from gantrain.run_io.metrics_jsonl import read_rows
from gantrain.run_io.run_reader import find_runs, read_run
from gantrain.sweeps.job import free_memory
from gantrain.training.checkpoint import load_checkpoint
from tests.conftest import TINY, compose
from tests.faults.test_long_runs import MOST, growth, train
from tests.gpu.needs import NEEDS_GPU
from tests.techniques import RUNS, tiny

pytestmark = NEEDS_GPU


@pytest.mark.parametrize("overrides", RUNS.values(), ids=RUNS)
def test_every_technique_trains_and_resumes(tmp_path: Path, overrides: tuple[str, ...]) -> None:
    words = [*tiny(overrides), "device=cuda", "schedule.steps=8", "log.checkpoint_every_steps=4"]
    words.append("log.diagnostics_every_steps=3")
    builders.run(compose(*words), tmp_path / "run")
    rows = [row for row in read_rows(tmp_path / "run" / "metrics.jsonl") if row["kind"] == "train"]
    assert [row["step"] for row in rows] == list(range(1, 9))
    config, state = builders.resumed_config(tmp_path / "run", {"schedule.steps": 12})
    assert builders.run(config, tmp_path / "run", state).step == 12
    assert load_checkpoint(tmp_path / "run" / "last.pt")["step"] == 12


def test_a_run_continues_on_a_cpu(tmp_path: Path) -> None:
    builders.run(compose(*TINY, "device=cuda", "metrics=none"), tmp_path / "run")
    config, state = builders.resumed_config(tmp_path / "run", {"schedule.steps": 9, "device": "cpu"})
    assert builders.run(config, tmp_path / "run", state).step == 9


def test_a_job_frees_the_memory_of_the_gpu(tmp_path: Path) -> None:
    words = [*TINY, "device=cuda", "metrics=none"]
    builders.run(compose(*words, "schedule.batch_size=64", "model.width=32"), tmp_path / "large")
    large = torch.cuda.max_memory_allocated()
    free_memory()
    assert torch.cuda.memory_allocated() < large / 4
    builders.run(compose(*words), tmp_path / "small")
    assert torch.cuda.max_memory_allocated() < large, "the peak must be that of the run, not of the process"


@pytest.mark.slow
@pytest.mark.parametrize("launcher", ["basic", "joblib"])
def test_jobs_of_a_sweep_train_like_single_runs(
    launcher: str, tmp_path: Path, gantrain: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    if launcher == "joblib" and find_spec("hydra_plugins.hydra_joblib_launcher") is None:
        pytest.skip("no hydra-joblib-launcher is installed: pip install 'gantrain[joblib]'")
    words = [*TINY, "device=cuda", "metrics=none"]
    done = gantrain("-m", *words, "seed=3,4", f"hydra/launcher={launcher}", "hydra.sweep.dir=sweep")
    assert done.returncode == 0, done.stderr
    for folder in find_runs([tmp_path / "sweep"]):
        run = read_run(folder)
        builders.run(compose(*words, f"seed={run.config['seed']}"), tmp_path / f"single-{run.name}")
        single = read_run(tmp_path / f"single-{run.name}")
        assert run.starts[0]["device"] == torch.cuda.get_device_name(0)
        for name in ("loss/discriminator", "loss/generator"):
            found, wanted = (dict(of_run.series(name)) for of_run in (run, single))
            assert found == pytest.approx(wanted, rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("overrides", [(), ("cond=projection",), ("data=grid", "model.width=8")])
def test_commands_on_a_run_of_the_gpu(overrides: tuple[str, ...], tmp_path: Path) -> None:
    run = tmp_path / "run"
    builders.run(compose(*tiny(overrides), "device=cuda", "metrics=none"), run)
    points = "data=grid" in overrides
    metrics = ["modes", "duplicates"]
    metrics += ["colors", "neighbors"] if find_spec("matplotlib") else []  # it may not be installed on a GPU machine
    words = {} if points else {"metrics": metrics, "bootstrap": 20}
    evaluate.run(
        evaluate.Options(
            run=str(run), samples=64, rejection=True, out=str(tmp_path / "found.json"), device="cuda", **words
        )
    )
    for name, keys in {
        "grid.png": {"rank": "log_ratio"},
        "all.npz": {"rejection": True},
        **({} if points else {"walk.gif": {"walk": 1.0, "n": 4}, "rows.png": {"interpolate": 3, "n": 2}}),
    }.items():
        sample.run(sample.Options(run=str(run), out=str(tmp_path / name), device="cuda", **{"n": 16, **keys}))
        assert (tmp_path / name).is_file()


@pytest.mark.parametrize("executor", ["eager", "graph"])
def test_resume_is_exact_under_deterministic_kernels(executor: str, tmp_path: Path) -> None:
    words = [*TINY, "device=cuda", "deterministic=true", f"executor={executor}", "metrics=none"]
    builders.run(compose(*words, "schedule.steps=12"), tmp_path / "uninterrupted")
    builders.run(compose(*words, "schedule.steps=7"), tmp_path / "part")
    config, state = builders.resumed_config(tmp_path / "part", {"schedule.steps": 12})
    builders.run(config, tmp_path / "part", state)
    one, other = (load_checkpoint(tmp_path / name / "last.pt") for name in ("uninterrupted", "part"))
    for network in ("generator", "discriminator", "ema"):
        for name, value in one[network].items():
            assert torch.equal(value, other[network][name]), (network, name)


@pytest.mark.parametrize("executor", ["eager", "graph"])
def test_evaluation_changes_nothing_in_training(executor: str, tmp_path: Path) -> None:
    """Dropout draws from the default generator, which evaluation must not change; a new k is captured again."""
    words = [*TINY, "device=cuda", "deterministic=true", f"executor={executor}", "model.d_dropout=0.3"]
    words += ["schedule.steps=60", "schedule.early_d_steps=3", "schedule.early_until=30"]
    builders.run(compose(*words, "metrics=none"), tmp_path / "none")
    builders.run(compose(*words, "metrics.every_steps=8", "metrics.samples=500"), tmp_path / "measured")
    one, other = (load_checkpoint(tmp_path / run / "last.pt") for run in ("none", "measured"))
    for network in ("generator", "discriminator", "ema"):
        for key, value in one[network].items():
            assert torch.equal(value, other[network][key]), (network, key)


def test_the_default_run_fits_into_two_gigabytes() -> None:
    free_memory()
    torch.cuda.reset_peak_memory_stats()
    config = compose("metrics=none", "log.every_steps=50", "data=digits", "device=cuda")
    trainer = builders.build_trainer(config, builders.load_data(config, "train"), [], builders.make_device("cuda"))
    cifar10 = torch.zeros(50_000, 3, 32, 32, dtype=torch.uint8, device="cuda")  # instead of the few digits
    for _ in range(20):
        trainer.train_step.run()
    assert len(cifar10) == 50_000
    assert torch.cuda.max_memory_reserved() < 2 * 2**30


@pytest.mark.slow
def test_device_memory_does_not_grow_and_leaks_are_detected(tmp_path: Path) -> None:
    """In the last quarter of the run 1 kB per step is kept on purpose."""
    steps = 1200
    samples = train(tmp_path / "run", steps, leaks_from=3 * steps // 4, device="cuda")
    flat, leaking = growth(samples, steps // 2, 3 * steps // 4), growth(samples, 3 * steps // 4, steps)
    for name in ("on the device", "objects", "files", "threads"):
        assert flat[name] <= MOST[name] < leaking[name], name
