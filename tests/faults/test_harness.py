"""The fault harness: it sees what is lost, and a few of its trials."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from gantrain.run_io.metrics_jsonl import METRICS
from gantrain.training.checkpoint import LAST, load_checkpoint
from tests.faults.__main__ import make_plan
from tests.faults.harness import compare_runs, run_trial, run_undisturbed
from tests.faults.scenarios import (
    COMPILED,
    EAGER,
    FID,
    FOLDER,
    KINDS,
    ON_CPU,
    SHORT,
    SMALL_DISK,
    SWEEP_OF_TWO,
    TORCHRUN,
    WORKER,
    Scenario,
    unavailable,
)

pytestmark = pytest.mark.slow


BRIEF = replace(EAGER, steps=60)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_undisturbed(EAGER, tmp_path_factory.mktemp("undisturbed") / "eager")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return run_undisturbed(BRIEF, tmp_path_factory.mktemp("finished") / "eager") / "run"


@pytest.mark.exhaustive
@pytest.mark.parametrize(
    ("scenario", "kinds"),
    [
        *SHORT,
        (SWEEP_OF_TWO, ("SIGINT twice", "SIGKILL")),
        (TORCHRUN, (WORKER, "SIGKILL")),
        (FOLDER, ("data file truncated",)),
        (FID, ("cached statistics flipped",)),
        (COMPILED, ("SIGKILL",)),
    ],
    ids=lambda value: value.name if isinstance(value, Scenario) else "+".join(value),
)
def test_a_run_with_faults_ends_like_one_without(
    scenario: Scenario, kinds: tuple[str, ...], undisturbed: Path, tmp_path: Path
) -> None:
    if reasons := [reason for kind in kinds if (reason := unavailable(kind))]:
        pytest.skip(reasons[0])
    if scenario not in (EAGER, SMALL_DISK):
        undisturbed = run_undisturbed(scenario, tmp_path / "undisturbed")
    assert run_trial(scenario, kinds, 7, tmp_path / "trial", undisturbed).failure is None


@pytest.mark.parametrize(
    ("loss", "message"),
    [
        ("weight", "generator.*other numbers"),
        ("row", "each step once"),
        ("value", "other rows"),
        ("grid", "other sample grids"),
        ("half a grid", "truncated|broken|cannot identify"),
        ("temporary file", "half-written"),
        ("event", "other scalars in TensorBoard"),
    ],
)
def test_lost_data_is_detected(loss: str, message: str, finished: Path, tmp_path: Path) -> None:
    run, grid = tmp_path / "run", tmp_path / "run" / "samples" / "0000050.png"
    shutil.copytree(finished, run)
    compare_runs(run, finished, BRIEF)
    if loss == "weight":
        state = load_checkpoint(run / LAST)
        weight = next(value for value in state["generator"].values() if value.is_floating_point())
        first = (0,) * weight.dim()
        weight[first] = torch.nextafter(weight[first], torch.tensor(9.0))
        torch.save(state, run / LAST)
    elif loss in ("row", "value"):
        lines = (run / METRICS).read_text().splitlines(keepends=True)
        lines[7] = "" if loss == "row" else lines[7].replace('"step": 8', '"step": 8, "more": 1')
        (run / METRICS).write_text("".join(lines))
    elif loss == "grid":
        grid.unlink()
    elif loss == "half a grid":
        grid.write_bytes(grid.read_bytes()[:900])
    elif loss == "temporary file":
        (run / ".last.pt.x.part").touch()
    else:
        events = max((run / "tensorboard").iterdir(), key=lambda path: path.stat().st_size)
        events.write_bytes(events.read_bytes()[:-5000])
    with pytest.raises((AssertionError, OSError), match=f"(?s){message}"):
        compare_runs(run, finished, BRIEF)


def test_a_plan_has_every_kind_of_fault_and_their_number() -> None:
    trials = make_plan(ON_CPU, 110, seed=0)
    planned = [kind for _, kinds in trials for kind in kinds]
    assert 100 <= len(planned) <= 120
    possible = {kind for scenario in ON_CPU for kind in scenario.faults if unavailable(kind) is None}
    assert set(planned) == possible <= set(KINDS)
    assert make_plan(ON_CPU, 110, seed=0) == trials != make_plan(ON_CPU, 110, seed=1)
