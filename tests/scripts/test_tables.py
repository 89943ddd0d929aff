"""The tables of docs/results: what is run, that nothing is run twice, that what was cut off goes on."""

import json
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

from gantrain import builders
from gantrain.training.checkpoint import load_checkpoint
from scripts import comparisons, tables
from tests.conftest import REPOSITORY, TINY, compose
from tests.training.test_runs import _interrupt_at

TINY_TABLE = comparisons.Table(
    "What?", {"alt": ("loss.gen=alt",), "kl": ("loss.gen=kl",)}, {"sn": (), "bn": ("model.d_norm=batch",)}
)


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    budget = comparisons.Budget(TINY, ("metrics.every_steps=0",), {"modes_ema": "modes"}, seeds=1)
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    monkeypatch.setattr(tables, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(tables, "BUDGETS", {"digits": budget})
    monkeypatch.setattr(tables, "TABLES", {"tiny": TINY_TABLE})
    return tmp_path


@pytest.mark.parametrize("data", list(tables.BUDGETS))
def test_every_cell_of_every_table_composes(data: str) -> None:
    words = {
        (*tables.words_of(table, data), *overrides)
        for table in tables.TABLES.values()
        if data in table.data and not table.on_request
        for overrides in table.cells()
    }
    assert len(words) > 20
    for each in words:
        compose(*each)


def test_cells_differ_and_overrides_in_another_order_are_the_same_run() -> None:
    for name, table in tables.TABLES.items():
        keys = [tables.key_of(table, table.data[0], overrides, 0) for overrides in table.cells()]
        assert len(set(keys)) == len(keys), name
    pairs, ways = (tables.TABLES[name] for name in ("pairs", "ways"))
    one = tables.key_of(pairs, "digits", ("a=1", "b=2"), 3)
    assert one == tables.key_of(ways, "digits", ("b=2", "a=1"), 3)
    assert one.endswith(" a=1 b=2 seed=3")
    assert one != tables.key_of(pairs, "cifar10", ("a=1", "b=2"), 3)  # another budget is another run


def test_finished_runs_are_means_and_spreads_in_the_table(results: Path) -> None:
    def key(seed: int) -> str:
        return tables.key_of(TINY_TABLE, "digits", ("loss.gen=alt",), seed)

    values = {0: 10.0, 1: 14.0, 2: 18.0}
    rows = [
        {
            "run": key(seed),
            "metric_values": {"modes_ema": value},
            "device": "cpu",
            "torch": "2",
            "seconds": 1,
            "commit": "abcdef0123",
        }
        for seed, value in values.items()
    ]
    rows.append({"run": key(3), "failed": "step 9", "device": "cpu", "torch": "2", "seconds": 1, "commit": None})
    (results / "runs-digits.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    table = tables.as_markdown("tiny", "digits")
    assert f"| alt | 14.00 ± {statistics.stdev(values.values()):.2f}, 1 of 4 not finite | – |" in table
    assert "| kl | – | – |" in table
    assert "python -m gantrain data=digits" in table
    page = results / "page.md"
    page.write_text("Before\n<!-- table tiny digits -->\nold\n<!-- /table -->\nafter\n")
    tables.write()
    text = page.read_text()
    assert "old" not in text
    assert table in text
    assert text.startswith("Before\n")
    assert text.endswith("after\n")


@pytest.mark.slow
def test_nothing_runs_twice_and_what_was_cut_off_goes_on(results: Path) -> None:
    assert len(tables.run_missing(["tiny"], "digits", (0,), 2, minutes=0.0)) == 4
    key = tables.key_of(TINY_TABLE, "digits", ("loss.gen=kl",), 0)
    folder = tables.folder_of(key, "digits")
    _interrupt_at(folder, 5, *key.split(), "log.checkpoint_every_steps=2")
    assert load_checkpoint(folder / "last.pt")["step"] == 4
    assert tables.run_missing(["tiny"], "digits", (0,), 2, minutes=10.0) == []
    rows = {row["run"]: row for row in map(json.loads, (results / "runs-digits.jsonl").read_text().splitlines())}
    assert len(rows) == 4
    assert {key: row["resumed"] for key, row in rows.items() if row["resumed"]} == {key: True}
    assert all("modes_ema" in row["metric_values"] for row in rows.values())
    before = (results / "runs-digits.jsonl").read_text()
    assert tables.run_missing(["tiny"], "digits", (0,), 2, minutes=10.0) == []
    assert (results / "runs-digits.jsonl").read_text() == before
    whole = builders.run(compose(*key.split()), results / "whole")
    assert rows[key]["metric_values"] == {k: round(v, 6) for k, v in whole.metric_values.items()}
    (results / "runs-digits.jsonl").write_text("")  # lost: the finished runs still know their figures
    assert tables.run_missing(["tiny"], "digits", (0,), 1, minutes=10.0) == []
    found = {
        row["run"]: row["metric_values"]
        for row in map(json.loads, (results / "runs-digits.jsonl").read_text().splitlines())
    }
    assert found == {key: row["metric_values"] for key, row in rows.items()}


def test_pages_of_results_are_current() -> None:
    for page in (REPOSITORY / "docs" / "results").glob("*.md"):
        text = page.read_text(encoding="utf-8")
        assert tables.with_tables(text) == text, f"{page.name}: make readme writes it anew"


def test_an_unknown_table_is_refused() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "scripts.tables", "nope"], cwd=REPOSITORY, capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "choose from" in done.stderr
