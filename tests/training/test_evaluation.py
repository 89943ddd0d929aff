"""Evaluation during training: it changes no number of the run, and best.pt and last.pt hold the right steps."""

import itertools
import json
from pathlib import Path
from typing import Any

import pytest

from gantrain import builders
from gantrain.data import DataError
from gantrain.metrics.metric import MetricValue
from gantrain.metrics.modes import ModesMetric
from gantrain.training.checkpoint import load_checkpoint
from tests.conftest import TINY, compose
from tests.same_runs import assert_same, rows_without_times, shown
from tests.training.test_runs import interrupt_at, resume, train, trained_state

SELDOM = "log.checkpoint_every_steps=1000"


def metric_rows(run: Path) -> list[dict[str, Any]]:
    return [row for row in rows_without_times(run) if row["kind"] == "metric"]


@pytest.mark.parametrize(
    "overrides",
    [
        ("metrics.every_steps=2", "model.d_dropout=0.3", "metrics.networks=[ema,raw]"),
        ("metrics.every_steps=1", "model.g_norm=virtual", "model.virtual_reference=3", "model.d_norm=batch"),
    ],
)
def test_evaluation_changes_nothing_in_training(tmp_path: Path, overrides: tuple[str, ...]) -> None:
    without = train(tmp_path / "without", *overrides, "metrics.names=[]")
    measured = train(tmp_path / "measured", *overrides)
    one, other = trained_state(without), trained_state(measured)
    for state in (one, other):
        del state["config"], state["best"], state["metric_values"]
    assert_same(one, other)
    assert len(metric_rows(measured)) > 4


@pytest.mark.parametrize(("every", "kept"), [(4, 4), (3, 4), (3, 1000)])
def test_a_run_interrupted_during_an_evaluation_resumes_exactly(
    every: int, kept: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = (f"metrics.every_steps={every}", f"log.checkpoint_every_steps={kept}", "schedule.steps=12")
    undisturbed = train(tmp_path / "undisturbed", *words)
    own, calls = ModesMetric.measure, itertools.count(1)

    def measure(*arguments: Any) -> list[MetricValue]:
        if next(calls) == 2:
            raise KeyboardInterrupt
        return own(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(ModesMetric, "measure", measure)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "run", *words)
    assert load_checkpoint(tmp_path / "run" / "last.pt")["step"] < 2 * every
    resume(tmp_path / "run")
    for name in ("last.pt", "best.pt"):
        states = [load_checkpoint(run / name) for run in (tmp_path / "run", undisturbed)]
        for state in states:
            del state["seconds"]
        assert_same(*states, name)
    assert rows_without_times(tmp_path / "run") == rows_without_times(undisturbed)
    assert shown(tmp_path / "run") == shown(undisturbed)


def test_last_checkpoint_holds_each_checkpoint_step_and_best_checkpoint_the_best_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Step 3 is the best; at step 6, which is not, a checkpoint is due."""
    modes = iter((5.0, 4.0))
    monkeypatch.setattr(ModesMetric, "measure", lambda *_: [MetricValue("modes", next(modes))])
    interrupt_at(tmp_path / "run", 8, "metrics.every_steps=3", "log.checkpoint_every_steps=6", "schedule.steps=12")
    best, last = (load_checkpoint(tmp_path / "run" / name) for name in ("best.pt", "last.pt"))
    assert (best["step"], last["step"]) == (3, 6)
    assert (best["metric_values"], last["metric_values"]) == ({"modes_ema": 5.0}, {"modes_ema": 4.0})
    assert best["best"] == last["best"] == {"name": "modes", "headline": "modes_ema", "value": 5.0, "step": 3}


def test_an_error_of_a_metric_ends_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def measure(*_: Any) -> list[MetricValue]:
        raise DataError("nothing can be seen in these")

    monkeypatch.setattr(ModesMetric, "measure", measure)
    with pytest.raises(DataError, match=r"^nothing can be seen in these$"):
        train(tmp_path / "run", "metrics.every_steps=3", SELDOM, "schedule.steps=50")
    assert max(row["step"] for row in rows_without_times(tmp_path / "run")) == 3
    assert load_checkpoint(tmp_path / "run" / "last.pt")["step"] == 0


def test_a_pruned_run_saves_its_step_and_ends(tmp_path: Path) -> None:
    asked = []

    def prune(step: int, values: dict[str, float]) -> str | None:
        asked.append((step, sorted(values)))
        return "far behind" if step == 6 else None

    config = compose(*TINY, "metrics.every_steps=3", SELDOM, "schedule.steps=50")
    outcome = builders.run(config, tmp_path / "run", prune=prune)
    assert (outcome.pruned, outcome.step) == ("far behind", 6)
    assert asked == [(step, ["modes_ema", "modes_kl_ema"]) for step in (3, 6)]
    assert load_checkpoint(tmp_path / "run" / "last.pt")["step"] == 6
    assert json.loads((tmp_path / "run" / "status.json").read_text())["state"] == "pruned"
