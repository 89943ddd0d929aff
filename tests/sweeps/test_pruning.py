"""Runs that a sweep ends early, and searches by Optuna."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from gantrain.config import Config, ConfigError
from gantrain.run_io.run_reader import find_runs, read_run
from gantrain.sweeps.optimization import best_value, objective_of, result_key
from gantrain.sweeps.pruning import make_pruner
from gantrain.training.trainer import Prune
from tests.conftest import TINY, compose, plan
from tests.written_runs import write_run

optuna = pytest.importorskip("optuna", reason="sweep.prune and hydra/sweeper=optuna need gantrain[optuna]")


AUTO = "metrics.every_steps=null"


def asked(*words: str) -> Config:
    return compose(*TINY, "schedule.steps=100", "metrics.every_steps=10", "sweep.prune=true", *words)


def pruner(folder: Path, *words: str) -> Prune:
    prune = make_pruner(asked(*words), folder)
    assert prune is not None
    return prune


@pytest.fixture
def finished(tmp_path: Path) -> Path:
    """Five runs whose modes at step s are s·(1 … 5), their modes_kl (1 … 5)/s, and a sixth's folder."""
    for slope in range(1, 6):
        measured: dict[str, Callable[[int], float]] = {
            "modes": lambda step, slope=slope: float(step * slope),  # type: ignore[misc]
            "modes_kl": lambda step, slope=slope: slope / step,  # type: ignore[misc]
        }
        write_run(tmp_path / f"{slope:03d}", f"seed={slope}", steps=100, every=10, measured=measured, job=slope)
    (tmp_path / "own").mkdir()
    (tmp_path / ".workers").mkdir()
    return tmp_path / "own"


# At step 50 the others have 50, 100, 150, 200, 250: the median is 150, the best quarter begins at 200.
@pytest.mark.parametrize(
    ("words", "value", "goes_on"),
    [
        ((), 149.0, False),
        ((), 150.0, True),
        (("sweep.prune_percentile=25",), 199.0, False),
        (("sweep.prune_percentile=25",), 200.0, True),
        (("sweep.prune_after=5",), 10.0, False),
        (("sweep.prune_after=6",), 10.0, True),
        (("sweep.prune_from=0.49",), 10.0, False),
        (("sweep.prune_from=0.51",), 10.0, True),
    ],
)
def test_a_run_among_the_best_finished_runs_continues(
    finished: Path, words: tuple[str, ...], value: float, goes_on: bool
) -> None:
    found = pruner(finished, *words)(50, {"modes_ema": value, "modes_kl_ema": 1.0})
    assert (found is None) == goes_on
    if found is not None:
        assert f"modes_ema, at best {value:.4g} until step 50" in found
        assert "the 5 finished runs" in found


def test_an_earlier_best_counts_and_lower_is_better_for_a_divergence(finished: Path) -> None:
    prune = pruner(finished)
    assert prune(40, {"modes_ema": 160.0}) is None
    assert prune(50, {"modes_ema": 100.0}) is None, "its best so far is above the median of 150"
    for value, goes_on in ((3.1, False), (3.0, True)):
        found = pruner(finished, "sweep.objective=modes_kl")(50, {"modes_kl_ema": value / 50})
        assert (found is None) == goes_on


def test_only_finished_runs_are_compared(finished: Path) -> None:
    half = finished.parent / "006"
    half.mkdir()
    (half / "job.json").write_text("{}")
    (half / "status.json").write_text(json.dumps({"state": "running"}))
    (half / "config.yaml").write_text("model: {wid")
    assert "5 finished runs" in (pruner(finished)(50, {"modes_ema": 1.0}) or "")
    for place in range(1, 6):
        status = finished.parent / f"{place:03d}" / "status.json"
        status.write_text(json.dumps({**json.loads(status.read_text()), "state": "pruned"}))
    assert pruner(finished)(50, {"modes_ema": 0.0}) is None


def test_invalid_pruning_and_sweep_objectives_are_refused() -> None:
    for words in (["metrics.every_steps=0"], ["metrics.every_steps=100"], ["metrics.names=[fid]", AUTO]):
        with pytest.raises(ConfigError, match=r"metrics\.every_steps=\w+ measures only at the end"):
            make_pruner(asked(*words), Path())
    assert make_pruner(asked(AUTO), Path()) is not None, "digits are measured during training on a CPU too"
    with pytest.raises(ConfigError, match=r"sweep.objective='fid' is not measured .*choose one of \[modes, modes_kl\]"):
        objective_of(asked("sweep.objective=fid"))
    with pytest.raises(ConfigError, match=r"set metrics\.names, which is empty"):
        objective_of(asked("metrics=none"))
    assert make_pruner(compose(*TINY), Path()) is None


def test_the_value_that_is_read() -> None:
    assert result_key(compose(*TINY)) == "modes_ema"
    assert result_key(compose("data=ring")) == "kl_ema"
    assert result_key(compose("metrics.names=[kid,fid]", "metrics.networks=[raw,ema]")) == "kid_raw"
    assert objective_of(compose("metrics.names=[colors,coverage]")) == "color_js"
    assert objective_of(compose("metrics.names=[colors,coverage]", "sweep.objective=coverage")) == "coverage"


@pytest.mark.slow
@pytest.mark.exhaustive
def test_a_search_finds_the_best_value_prunes_and_resumes(tmp_path: Path, command: Any) -> None:
    words = [
        *("data=ring", "model.width=16", "schedule.steps=150", "metrics.every_steps=25", "metrics.samples=100"),
        *(
            "metrics=auto",
            "device=cpu",
            "log.diagnostics_every_steps=0",
            "log.grids_every_steps=150",
            "hydra.sweep.dir=s",
        ),
        *("hydra/sweeper=optuna", "hydra.sweeper.n_trials=6", "hydra.sweeper.n_jobs=1"),
        *("optimizer.lr_g=choice(0.0000001,0.003)", "sweep.prune=true", "sweep.prune_after=2", "sweep.prune_from=0.5"),
    ]
    code, text = command("-m", *words)
    assert code == 0, text
    runs = [read_run(folder) for folder in find_runs([tmp_path / "s"])]
    assert len(runs) == 6
    rates = {run.config["optimizer.lr_g"] for run in runs}
    assert rates == {1e-7, 3e-3}, "the seed 0 of the sampler tries both"
    values = {run.name: best_value(run, "kl_ema") for run in runs}
    assert {run.name: run.status.value for run in runs} == values
    best = min(runs, key=lambda run: values[run.name] or 0.0)
    assert best.config["optimizer.lr_g"] == 3e-3
    result = yaml.safe_load((tmp_path / "s" / "optimization_results.yaml").read_text())
    assert result["best_params"] == {"optimizer.lr_g": 3e-3}
    assert result["best_value"] == values[best.name]
    assert f"best         {best.name}: kl_ema {values[best.name]:.5g} at step" in text
    pruned = [run for run in runs if run.state == "pruned"]
    assert pruned
    assert all(run.config["optimizer.lr_g"] == 1e-7 for run in pruned)
    assert all("finished runs there" in (run.reason or "") for run in pruned)
    assert all(run.status.step < 150 for run in pruned)
    assert f"{6 - len(pruned)} finished, {len(pruned)} pruned" in text
    (tmp_path / "s" / runs[-1].name / "status.json").unlink()
    code, text = command("sweep.resume=s")
    assert code == 0, text
    assert text.count("kept: ") == 5, "a seeded search repeats the same trials"


def test_a_search_in_the_wrong_direction_is_refused(command: Any) -> None:
    words = [*TINY, "hydra/sweeper=optuna", "hydra.sweeper.n_trials=2", "optimizer.lr_g=interval(1e-5,1e-3)"]
    code, text = command("-m", *words, "hydra.sweeper.direction=minimize")
    assert code == 2
    assert "hydra.sweeper.direction=minimize is wrong for sweep.objective=modes; use maximize" in text


@pytest.mark.parametrize("first", ["alt", "kl"])
def test_a_search_may_start_with_an_invalid_pair(first: str) -> None:
    words = [*TINY, "hydra/sweeper=optuna", "loss.disc=hinge", f"loss.gen=choice({first},linear)"]
    assert "hydra.sweeper.direction=maximize" in plan(*words).overrides


def test_the_metric_of_a_kept_trial_is_read_again(tmp_path: Path, command: Any) -> None:
    words = [*TINY, "hydra/sweeper=optuna", "hydra.sweeper.n_trials=2", "hydra.sweeper.n_jobs=1", "hydra.sweep.dir=s"]
    assert command("-m", *words, "seed=choice(3)", "optimizer.lr_g=interval(1e-5,1e-3)")[0] == 0
    folders = find_runs([tmp_path / "s"])
    for folder in folders:  # as after resume= of each run
        status = json.loads((folder / "status.json").read_text())
        (folder / "status.json").write_text(json.dumps({**status, "value": None}))
    for name, best in (("modes", max), ("modes_kl", min)):
        code, text = command("sweep.resume=s", f"sweep.objective={name}")
        assert code == 0, text
        assert "must be float" not in text
        found = [[row["value"] for row in read_run(f).rows if row.get("name") == name] for f in folders]
        result = yaml.safe_load((tmp_path / "s" / "optimization_results.yaml").read_text())
        assert result["best_value"] == best(value for values in found for value in values)
