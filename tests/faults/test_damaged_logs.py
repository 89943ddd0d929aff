"""metrics.jsonl and TensorBoard's files that are damaged or gone are written anew from the checkpoint."""

import random
import time
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from gantrain import builders
from gantrain.run_io.events import are_whole, event_files, put_in_order
from gantrain.run_io.metrics_jsonl import METRICS, Rows, read_rows
from gantrain.training.checkpoint import LAST, load_checkpoint
from tests.conftest import TINY, compose
from tests.faults.damages import DAMAGES, Damage
from tests.same_runs import figures_of, shown

WORDS = (
    *TINY,
    "metrics.every_steps=2",
    "log.checkpoint_every_steps=2",
    "log.every_steps=1",
    "log.grids_every_steps=2",
    "log.diagnostics_every_steps=2",
)


def change_a_digit(path: Path, seed: int) -> None:
    """Which still is JSON: only a checksum notices."""
    content = bytearray(path.read_bytes())
    digits = [place for place, byte in enumerate(content) if 48 <= byte < 57 and place < len(content) // 2]
    content[random.Random(seed).choice(digits)] += 1
    path.write_bytes(content)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    builders.run(compose(*WORDS, "schedule.steps=9"), folder)
    return folder


def begun(run: Path) -> Path:
    builders.run(compose(*WORDS, "schedule.steps=6"), run)
    return run


def go_on(run: Path) -> None:
    config, state = builders.resumed_config(run, {"schedule.steps": 9})
    builders.run(config, run, state)


@pytest.mark.parametrize("name", [*DAMAGES, "a digit changed"])
def test_metrics_are_written_anew(
    name: str, undisturbed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = begun(tmp_path / "run")
    whole = (run / METRICS).read_bytes()
    damage: Damage = {**DAMAGES, "a digit changed": change_a_digit}[name]
    damage(run / METRICS, 3)
    damaged = (run / METRICS).read_bytes() if (run / METRICS).exists() else b""
    assert damaged != whole
    capsys.readouterr()
    go_on(run)
    assert "metrics.jsonl' is damaged or gone and is written anew from the checkpoint" in capsys.readouterr().err
    assert (run / METRICS).read_bytes().startswith(whole), "to the byte"
    if name == "a digit changed":
        assert (run / f"{METRICS}.damaged").read_bytes() == damaged
    assert figures_of(run) == figures_of(undisturbed)


@pytest.mark.parametrize("name", DAMAGES)
def test_what_tensorboard_shows_is_written_anew(
    name: str, undisturbed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = begun(tmp_path / "run")
    (events,) = event_files(run / "tensorboard")
    DAMAGES[name](events, 5)
    capsys.readouterr()
    go_on(run)
    assert "TensorBoard's files" in capsys.readouterr().err
    assert shown(run) == shown(undisturbed)
    read = EventAccumulator(str(run / "tensorboard"), size_guidance={"images": 0})
    read.Reload()
    assert [event.step for event in read.Images("samples/generated")] == [0, 2, 4, 6, 8, 9]
    assert any(path.name.count("damaged") for path in (run / "tensorboard").iterdir()) == (name != "deleted")


def test_what_a_kill_leaves_is_not_taken_for_damage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Rows and events after the checkpoint, the last of them cut off."""
    run = begun(tmp_path / "run")
    (events,) = event_files(run / "tensorboard")
    for path, more in ((run / METRICS, b'{"step": 7, "kind": "tr'), (events, b"\x20\0\0\0\0\0")):
        path.write_bytes(path.read_bytes() + more)
    capsys.readouterr()
    go_on(run)
    assert "damaged" not in capsys.readouterr().err
    assert [row["step"] for row in read_rows(run / METRICS) if row["kind"] == "train"] == list(range(1, 10))


def test_a_clock_put_back_changes_nothing_in_tensorboard(
    undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TensorBoard reads files by the time in their names; that steps are dropped, it is told by a later file."""
    run = begun(tmp_path / "run")
    present = time.time
    for years, steps in ((-3, 8), (-5, 9)):
        monkeypatch.setattr(time, "time", lambda years=years: present() + years * 365 * 86400)
        config, state = builders.resumed_config(run, {"schedule.steps": steps})
        builders.run(config, run, state)
        assert are_whole(run / "tensorboard", load_checkpoint(run / LAST)["logs"]["events"])
    assert len(event_files(run / "tensorboard")) == 3
    assert shown(run) == shown(undisturbed)
    assert figures_of(run) == figures_of(undisturbed)


def test_a_checkpoint_that_knows_later_rows_is_gone_on_from_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One that waited for what was measured: the first start drops those rows, a second one finds them gone."""
    path = tmp_path / METRICS
    first = Rows(path)
    for step in (1, 2, 3):
        first.write({"step": step, "kind": "train"})
    packed = first.packed()
    first.close()
    for step in (3, 4):  # the rows of another course, killed before the next checkpoint
        again = Rows(path, resume_step=2, packed=packed)
        again.write({"step": step, "kind": "train", "other": 1})
        again.close()
    assert "damaged" not in capsys.readouterr().err
    assert [row["step"] for row in read_rows(path)] == [1, 2, 4]
    assert [entry.name for entry in tmp_path.iterdir()] == [METRICS]


def test_event_files_of_one_name_but_for_the_time_are_put_in_order_and_none_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for seconds in (99, 150):
        (tmp_path / f"events.out.tfevents.{seconds:010d}.host.1.0").write_text(str(seconds))
    monkeypatch.setattr(time, "time", lambda: 100.0)
    put_in_order(tmp_path)
    assert [path.read_text() for path in event_files(tmp_path)] == ["99", "150"]
    assert all(int(path.name.split(".")[3]) < 100 for path in event_files(tmp_path))
