"""A few of the lives that `make faults` lives, the quickest in CI; and that what is lost is seen."""

import shutil
from pathlib import Path

import pytest
import torch

from gantrain.run_io.metrics_jsonl import METRICS
from gantrain.training.checkpoint import LAST, load_checkpoint
from tests.faults.__main__ import plan
from tests.faults.harness import compare_runs, live, live_undisturbed
from tests.faults.ways import (
    COMPILED,
    EAGER,
    FID,
    IMAGES,
    KINDS,
    ON_A_SMALL_DISK,
    ON_CPU,
    SWEEP_OF_TWO,
    TORCHRUN,
    Way,
    why_not,
)

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return live_undisturbed(EAGER, tmp_path_factory.mktemp("undisturbed") / EAGER.name)


@pytest.mark.parametrize(
    "kinds",
    [
        ("SIGKILL", "checkpoint flipped", "SIGINT twice"),
        ("SIGKILL before training", "checkpoint truncated", "two processes on one run"),
    ],
)
def test_a_run_ends_as_if_nothing_had_happened(kinds: tuple[str, ...], undisturbed: Path, tmp_path: Path) -> None:
    assert live(EAGER, kinds, 7, tmp_path / "life", undisturbed).lost is None


@pytest.mark.parametrize(
    ("way", "kinds"),
    [
        (ON_A_SMALL_DISK, ON_A_SMALL_DISK.faults),
        pytest.param(SWEEP_OF_TWO, ("SIGINT twice", "SIGKILL"), marks=pytest.mark.exhaustive),
        pytest.param(TORCHRUN, ("one process of two killed", "SIGKILL"), marks=pytest.mark.exhaustive),
        pytest.param(IMAGES, ("data file truncated",), marks=pytest.mark.exhaustive),
        pytest.param(FID, ("cached statistics flipped",), marks=pytest.mark.exhaustive),
        pytest.param(COMPILED, ("SIGKILL",), marks=pytest.mark.exhaustive),
    ],
    ids=lambda value: value.name if isinstance(value, Way) else "",
)
def test_other_ways_end_so_too(way: Way, kinds: tuple[str, ...], undisturbed: Path, tmp_path: Path) -> None:
    for kind in kinds:
        reason = why_not(kind)
        if reason is not None:
            pytest.skip(f"{kind}: {reason}")
    alone = undisturbed if way is ON_A_SMALL_DISK else live_undisturbed(way, tmp_path / "undisturbed")
    assert live(way, kinds, 7, tmp_path / "life", alone).lost is None


@pytest.mark.parametrize(
    ("loss", "words"),
    [
        ("a weight", "generator.*other numbers"),
        ("a row", "a step stands not once"),
        ("a figure", "other rows"),
        ("a picture", "other pictures"),
        ("half a picture", "truncated|broken|cannot identify"),
        ("half a file", "half written"),
        ("an event", "TensorBoard shows something else"),
    ],
)
def test_what_is_lost_is_seen(loss: str, words: str, undisturbed: Path, tmp_path: Path) -> None:
    run, whole = tmp_path / "run", undisturbed / "run"
    shutil.copytree(whole, run)
    if loss == "a weight":
        state = load_checkpoint(run / LAST)
        weight = next(value for value in state["generator"].values() if value.is_floating_point())
        first = (0,) * weight.dim()
        weight[first] = torch.nextafter(weight[first], torch.tensor(9.0))
        torch.save(state, run / LAST)
    elif loss in ("a row", "a figure"):
        lines = (run / METRICS).read_text().splitlines(keepends=True)
        lines[7] = "" if loss == "a row" else lines[7].replace('"step": 8', '"step": 8, "more": 1')
        (run / METRICS).write_text("".join(lines))
    elif loss == "a picture":
        (run / "samples" / "0000050.png").unlink()
    elif loss == "half a picture":
        picture = run / "samples" / "0000050.png"
        picture.write_bytes(picture.read_bytes()[:900])
    elif loss == "half a file":
        (run / ".last.pt.x.part").touch()
    else:
        events = max((run / "tensorboard").iterdir(), key=lambda path: path.stat().st_size)
        events.write_bytes(events.read_bytes()[:-5000])
    with pytest.raises((AssertionError, OSError), match=f"(?s){words}"):
        compare_runs(run, whole, EAGER)
    if loss == "half a picture":
        return
    compare_runs(whole, whole, EAGER)


def test_a_plan_has_every_kind_and_so_many_faults() -> None:
    lives = plan(ON_CPU, 110, seed=0)
    planned = [kind for _, kinds in lives for kind in kinds]
    assert len(planned) >= 100
    possible = {kind for way in ON_CPU for kind in way.faults if why_not(kind) is None}
    assert set(planned) == possible <= set(KINDS)
    assert plan(ON_CPU, 110, seed=0) == lives != plan(ON_CPU, 110, seed=1)
