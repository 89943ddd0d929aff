"""On resume metrics.jsonl and TensorBoard's files are cut to the checkpoint's step; damaged rows are set aside."""

import logging
from pathlib import Path

import pytest

from gantrain import builders
from gantrain.run_io.metrics_jsonl import METRICS, RunFolderError, read_rows
from gantrain.run_io.tensorboard import END
from tests.conftest import TINY, compose
from tests.same_runs import rows_without_times, shown
from tests.training.test_runs import resume

EVERY = ("metrics.every_steps", "log.checkpoint_every_steps", "log.grids_every_steps", "log.diagnostics_every_steps")
WORDS = (*TINY, "log.every_steps=1", *(f"{key}=2" for key in EVERY))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    builders.run(compose(*WORDS, "schedule.steps=6"), tmp_path / "run")
    return tmp_path / "run"


def test_rows_and_events_after_the_checkpoint_are_replaced(
    run: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A kill leaves later rows, and the last row and event cut off."""
    (events,) = (path for path in (run / "tensorboard").iterdir() if not path.name.endswith(END))
    for path, more in ((run / METRICS, b'{"step": 7, "kind": "train"}\n{"step": 8, "ki'), (events, b"\x20\0\0\0\0\0")):
        path.write_bytes(path.read_bytes() + more)
    with caplog.at_level(logging.WARNING):
        resume(run, schedule__steps=9)
    assert caplog.messages == []
    builders.run(compose(*WORDS, "schedule.steps=9"), tmp_path / "undisturbed")
    assert rows_without_times(run) == rows_without_times(tmp_path / "undisturbed")
    assert shown(run) == shown(tmp_path / "undisturbed")


BAD_LINES = ["3", "[]", '{"kind": "train"}', '{"step": "x", "kind": "train"}', "[" * 20_000, "{", "\0"]


def test_damaged_lines_are_named_and_the_file_is_set_aside(run: Path, caplog: pytest.LogCaptureFixture) -> None:
    lines = (run / METRICS).read_text().splitlines()
    bad = [lines[0], *BAD_LINES, *lines[1:]]
    (run / METRICS).write_text("\n".join(bad) + "\n")
    with pytest.raises(RunFolderError, match="is damaged in line 2; repair or remove that line"):
        read_rows(run / METRICS)
    with caplog.at_level(logging.WARNING):
        resume(run, schedule__steps=7)
    assert "is damaged in line 2, 3, 4, 5, 6, ...: it is kept as metrics.jsonl.damaged" in caplog.text
    assert (run / f"{METRICS}.damaged").read_text() == "\n".join(bad) + "\n"
    rows = [row["step"] for row in read_rows(run / METRICS) if row["kind"] == "train"]
    assert rows == list(range(1, 8))


@pytest.mark.parametrize("line", BAD_LINES)
def test_a_damaged_last_line_counts_as_an_interrupted_write(line: str, tmp_path: Path) -> None:
    path = tmp_path / METRICS
    path.write_text('{"step": 1, "kind": "train"}\n' + line + "\n")
    assert len(read_rows(path)) == 1


def test_missing_logs_are_reported_and_the_run_continues(run: Path, caplog: pytest.LogCaptureFixture) -> None:
    (run / METRICS).unlink()
    with caplog.at_level(logging.WARNING):
        resume(run, schedule__steps=7)
    assert "is missing: its rows up to step 6 are lost" in caplog.text
    assert [row["step"] for row in read_rows(run / METRICS) if row["kind"] == "train"] == [7]
