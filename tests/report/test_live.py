"""The view of live runs: what it reads and computes, and how it looks at several widths."""

import dataclasses
import json
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from rich.console import Console

from gantrain.report import live
from gantrain.report.live import LiveRun, LiveRuns
from gantrain.report.live_table import view
from gantrain.run_io import run_reader

CONFIG: dict[str, Any] = {
    "name": "digits-dcgan",
    "seed": 0,
    "loss": {"disc": "gan", "gen": "alt"},
    "schedule": {"steps": 1000},
    "log": {"diagnostics_every_steps": None},
}


@pytest.fixture(scope="module")
def gone() -> int:
    """The number of a process that has been and is no more."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def write(
    folder: Path, *, gen: str = "alt", seed: int = 0, measured: tuple[float, ...] = (), reason: str = "", **status: Any
) -> Path:
    """A run's folder with what the view reads of it, by hand."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {**CONFIG, "seed": seed, "loss": {"disc": "gan", "gen": gen}}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    protocol = {"network": "ema", "samples": 100}
    rows: list[dict[str, Any]] = [{"step": 1, "kind": "train", "loss/discriminator": 1.0}]
    for number, value in enumerate(measured, start=1):
        row = {"step": 100 * number, "kind": "metric", "value": value, "protocol": protocol}
        rows += [{**row, "name": "fid"}, {**row, "name": "kid", "value": value / 1000}]
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    if reason:
        (folder / "error.txt").write_text(reason)
    content = {
        "state": "running",
        "step": 100,
        "steps": 1000,
        "images": 6400,
        "seconds": 30.0,
        "images_per_second": 640.0,
        "time": time.time(),
        "host": socket.gethostname(),
        "pid": os.getpid(),
    }
    if measured:
        step = 100 * (1 + measured.index(min(measured)))
        content["metric_values"] = {"fid_ema": measured[-1], "kid_ema": measured[-1] / 1000}
        content["best"] = {"name": "fid", "headline": "fid_ema", "value": min(measured), "step": step}
    (folder / "status.json").write_text(json.dumps({**content, **status}))
    return folder


def look(*places: Path) -> list[LiveRun]:
    return LiveRuns(places).look()[0]


def timeless(run: LiveRun) -> LiveRun:
    return dataclasses.replace(run, silent=0.0)


def shown(*places: Path, width: int = 150, height: int | None = None, seen: LiveRuns | None = None) -> list[str]:
    console = Console(width=width, record=True, file=open(os.devnull, "w"), force_terminal=True)  # noqa: SIM115
    runs, sweeps = (seen or LiveRuns(places)).look()
    console.print(view(runs, sweeps, console, height=height))
    console.file.close()
    return [line.rstrip() for line in console.export_text().splitlines()]


def row_of(lines: list[str], name: str) -> str:
    (found,) = (line for line in lines if line.startswith(name))
    return found


@pytest.fixture
def sweep(tmp_path: Path, gone: int) -> Path:
    """Six of eight jobs, in six states."""
    root = tmp_path / "sweep"
    done = {"step": 1000, "images": 64000}
    write(root / "000-loss.gen=alt", seconds=100.0, state="finished", measured=(90.0, 40.0, 35.0), **done)
    write(root / "001-loss.gen=kl", gen="kl", measured=(90.0, 60.0, 75.0), findings=["crushed_generator"])
    write(root / "002-loss.gen=rkl", gen="rkl", state="failed", step=50, reason="step 51: NaN [loss]\nand more")
    write(root / "003-loss.gen=js", gen="js", pid=gone, time=time.time() - 300)
    write(root / "004-loss.gen=gan", gen="gan", state="stopped", seconds=200.0, findings=["mode_collapse"])
    refused = root / "005-loss.gen=tv"
    refused.mkdir()
    (refused / "job.json").write_text(json.dumps({"job": 5, "overrides": [], "config": {"loss": {"gen": "tv"}}}))
    (refused / "error.txt").write_text("loss.gen='tv' needs loss.rule=poole\n")
    (refused / "status.json").write_text(json.dumps({"state": "failed"}))
    (root / "sweep.json").write_text(json.dumps({"words": ["loss.gen=alt,kl"], "jobs": 8}))
    return root


def test_states_names_shares_and_times_left(sweep: Path) -> None:
    runs = {run.folder.name[:3]: run for run in look(sweep)}
    assert [run.state for run in runs.values()] == ["finished", "running", "failed", "broken", "stopped", "failed"]
    assert [run.name for run in runs.values()] == [
        "000 gen=alt",
        "001 gen=kl",
        "002 gen=rkl",
        "003 gen=js",
        "004 gen=gan",
        "005 gen=tv",
    ]
    # 64 images a step, 900 steps to come, 640 images a second.
    assert runs["001"].seconds_left == pytest.approx(900 * 64 / 640)
    assert runs["001"].share == pytest.approx(0.1)
    assert all(run.seconds_left is None for name, run in runs.items() if name != "001")
    assert (runs["000"].last, runs["000"].before, runs["000"].best) == (35.0, 40.0, (35.0, 300))
    assert (runs["001"].last, runs["001"].before, runs["001"].best) == (75.0, 60.0, (60.0, 200))
    assert runs["002"].reason == "step 51: NaN [loss]"


def test_time_left_of_a_sweep(sweep: Path) -> None:
    (found,) = LiveRuns([sweep]).look()[1]
    assert found.to_come == 2
    # Jobs of 100 s, 200 s, and the one that runs: 30 s done and 90 s to come. Two more of their mean follow it.
    assert found.seconds_left == pytest.approx(90 + 2 * (100 + 200 + 120) / 3)
    write(sweep / "006-loss.gen=alt", images_per_second=320.0, seconds=60.0)  # a second one at a time: 180 s left
    (found,) = LiveRuns([sweep]).look()[1]
    assert found.seconds_left == pytest.approx((90 + 180 + (100 + 200 + 120 + 240) / 4) / 2)
    (sweep / "sweep.json").write_text(json.dumps({"words": [], "jobs": 7}))  # none to come: the slower one decides
    assert LiveRuns([sweep]).look()[1][0].seconds_left == pytest.approx(180)
    (sweep / "sweep.json").write_text(json.dumps({"words": [], "jobs": None}))
    (found,) = LiveRuns([sweep]).look()[1]
    assert (found.to_come, found.seconds_left) == (None, None)


def test_the_table_says_it_all_on_a_wide_terminal(sweep: Path) -> None:
    lines = shown(sweep, width=170)
    assert lines[0].startswith("6 runs: 1 running · 1 finished · 1 stopped · 2 failed · 1 broken   640 images/s")
    assert lines[0].endswith("about 6 min 10 s left   2 jobs to come")  # 90 + 2 · 140
    head = lines[1].split()
    assert head == ["run", "state", "done", "step", "images/s", "left", "FID", "(EMA)", "best", "health"]
    running = re.split(r"\s{2,}", row_of(lines, "001"))
    assert running == [
        *("001 gen=kl", "running", "━╌╌╌╌╌╌╌╌╌", "10 %", "100/1,000", "640", "1 min 30 s"),
        *("75 ↑", "60 at 200", "crushed generator"),
    ]
    assert re.split(r"\s{2,}", row_of(lines, "000"))[1:] == [
        *("finished", "━━━━━━━━━━ 100 %", "1,000/1,000", "35 ↓", "35 at 300", "ok"),
    ]
    assert row_of(lines, "002").endswith("step 51: NaN [loss]")
    assert re.search(r"broken .* process \d+ is gone, 5 min 0\d s without a word", row_of(lines, "003"))
    assert row_of(lines, "004").endswith("mode collapse")
    assert row_of(lines, "005").endswith("loss.gen='tv' needs loss.rule=poole")


@pytest.mark.parametrize(("width", "there", "gone_columns"), [(80, "health", "step"), (50, "done", "images/s")])
def test_a_narrow_terminal_loses_the_least_important(width: int, there: str, gone_columns: str, sweep: Path) -> None:
    lines = shown(sweep, width=width)
    assert max(map(len, lines)) <= width
    (head,) = (line for line in lines if line.startswith("run "))
    assert {"run", "state", there} <= set(head.split())
    assert gone_columns not in head.split()
    text = "\n".join(lines)
    assert all(f"{number:03d} gen=" in text for number in range(6))
    assert all(word in text for word in ("running", "finished", "failed", "broken", "stopped", " 10 %", "100 %"))


def test_a_low_terminal_leaves_out_what_has_ended_and_counts_it(tmp_path: Path) -> None:
    for number in range(20):
        ended = {"state": "finished", "time": 1000.0 + number, "step": 1000}
        write(tmp_path / f"{number:03d}", seed=number, **(ended if number != 7 else {}))
    write(tmp_path / "020", state="failed", seed=20, reason="bad luck", time=1.0)
    lines = shown(tmp_path, height=12)
    assert len(lines) <= 12
    assert lines[0].startswith("21 runs: 1 running · 19 finished · 1 failed")
    names = [line[:3] for line in lines if re.match(r"\d{3} ", line)]
    assert names[0] == "007"
    assert "020" in names
    assert "000" not in names
    assert names == sorted(names)
    hidden = re.search(r"and (\d+) more that have ended", "\n".join(lines))
    assert hidden is not None
    assert int(hidden.group(1)) + len(names) == 21
    assert len(shown(tmp_path, height=None)) >= 21


def test_new_runs_are_taken_in_and_the_order_stays(tmp_path: Path) -> None:
    seen = LiveRuns([tmp_path])
    assert seen.look() == ([], [])
    write(tmp_path / "001", seed=1)
    assert [run.folder.name for run in seen.look()[0]] == ["001"]
    write(tmp_path / "000", seed=0)
    write(tmp_path / "001", seed=1, state="finished", step=1000)
    write(tmp_path / "002", seed=2)
    found = seen.look()[0]
    assert [(run.name, run.state) for run in found] == [
        ("000 seed=0", "running"),
        ("001 seed=1", "finished"),
        ("002 seed=2", "running"),
    ]


def test_runs_of_other_folders_and_other_figures_stand_apart(tmp_path: Path) -> None:
    write(tmp_path / "a" / "12-00-00-x", measured=(3.0,))
    other = write(tmp_path / "b" / "mine", metric_values={"modes_ema": 950.0})
    status = json.loads((other / "status.json").read_text())
    assert "best" not in status
    lines = shown(tmp_path)
    titles = [place for place, line in enumerate(lines) if line.endswith(("/a", "/b"))]
    assert len(titles) == 2
    assert "FID (EMA) 3 " in row_of(lines, "12-00-00-x") + " "
    assert "modes (EMA) 950" in row_of(lines, "mine")
    assert sum(line.startswith("run ") for line in lines) == 1


def test_only_what_has_changed_is_read(sweep: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []
    for name in ("read_status", "measurement_before", "read_run"):
        before = getattr(live, name)
        monkeypatch.setattr(live, name, lambda *a, name=name, before=before: read.append(name) or before(*a))
    monkeypatch.setattr(live.yaml, "safe_load", lambda text, load=yaml.safe_load: read.append("yaml") or load(text))
    monkeypatch.setattr(run_reader, "read_rows", lambda path: pytest.fail("a whole metrics.jsonl was read"))
    seen = LiveRuns([sweep])
    first = seen.look()[0]
    assert sorted(set(read)) == ["measurement_before", "read_status", "yaml"]
    assert read.count("yaml") == 5
    read.clear()
    again = seen.look()[0]
    assert read == []
    assert [dataclasses.replace(run, silent=0) for run in again] == [
        dataclasses.replace(run, silent=0) for run in first
    ]
    write(sweep / "001-loss.gen=kl", gen="kl", measured=(90.0, 60.0, 75.0, 50.0))
    (changed,) = (run for run in seen.look()[0] if run.folder.name == "001-loss.gen=kl")
    assert sorted(read) == ["measurement_before", "read_status"]
    assert (changed.last, changed.before) == (50.0, 75.0)


def test_the_course_is_read_off_the_end_of_a_long_file(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    metric = {"kind": "metric", "name": "fid", "protocol": {"network": "ema"}}
    filler = json.dumps({"step": 0, "kind": "train", "x": "y" * 1000}) + "\n"
    values = (1.0, 2.0, None, 4.0)
    rows = [json.dumps({"step": k, **metric, "value": value}) + "\n" for k, value in enumerate(values)]
    path.write_text(filler * 2000 + rows[0] + rows[1] + rows[3] + '{"step": 9, "kind": "metric", "name": "fi')
    assert live.measurement_before(path, "fid_ema") == 2.0
    assert live.measurement_before(path, "fid_raw") is None
    path.write_text(rows[0] + filler * 2000 + rows[1])
    assert live.measurement_before(path, "fid_ema") is None  # it lies too far back
    assert live.measurement_before(tmp_path / "none", "fid_ema") is None


def test_runs_that_begin_that_keep_silent_and_of_earlier_versions(tmp_path: Path) -> None:
    begins = write(tmp_path / "begins", step=0, images=0)
    loads = write(tmp_path / "loads")
    silent = write(tmp_path / "silent", time=time.time() - 1800)
    old = write(tmp_path / "old", measured=(5.0,))
    never = write(tmp_path / "never")
    for folder in (loads, never, old):
        (folder / "status.json").unlink()
    for folder in (loads, never):
        (folder / "metrics.jsonl").write_text("")
    long_ago = time.time() - 3600
    os.utime(never, (long_ago, long_ago))
    found = {run.folder: run for run in look(tmp_path)}
    states = [found[folder].state for folder in (begins, loads, silent, old, never)]
    assert states == ["starting", "starting", "running", "interrupted", "broken"]
    assert found[old].last == 5.0
    assert "30 min 0" in row_of(shown(tmp_path), "silent")
    assert "its process left no word" in row_of(shown(tmp_path), "never")
