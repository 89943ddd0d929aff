"""The tables of docs/results: what they contain, and that no run is repeated."""

import json
import statistics
from pathlib import Path

import pytest

from gantrain import builders
from scripts import comparisons, tables
from tests.conftest import REPOSITORY, TINY, compose
from tests.training.test_runs import interrupt_at

TINY_TABLE = comparisons.Table("What?", {"alt": ("loss.gen=alt",), "kl": ("loss.gen=kl",)}, {"": ()})


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    budget = comparisons.Budget(TINY, ("metrics.every_steps=0",), {"modes_ema": "modes"}, seeds=1)
    monkeypatch.setattr(tables, "RESULTS", tmp_path)
    monkeypatch.setattr(tables, "RUNS", tmp_path / "runs")
    monkeypatch.setattr(tables, "BUDGETS", {"digits": budget})
    monkeypatch.setattr(tables, "TABLES", {"tiny": TINY_TABLE})
    return tmp_path


@pytest.mark.slow
def test_every_row_and_column_composes() -> None:
    words = {
        (*tables.words_of(table, data), *overrides)
        for table in tables.TABLES.values()
        for data in table.data
        if not table.on_request
        for lines, others in ((table.rows, table.columns), (table.columns, table.rows))
        for overrides in ((*line, *next(iter(others.values()))) for line in lines.values())
    }
    assert len(words) > 40
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
    assert f"| alt | 14.00 ± {statistics.stdev(values.values()):.2f}, 1 of 4 not finite |" in table
    assert "| kl |  |" in table
    assert "python -m gantrain data=digits" in table
    page = results / "page.md"
    page.write_text("Before\n<!-- table tiny digits -->\nold\n<!-- /table -->\nafter\n")
    tables.write()
    text = page.read_text()
    assert "old" not in text
    assert table in text
    assert text.startswith("Before\n")
    assert text.endswith("after\n")


def test_a_table_without_runs_is_a_sentence(results: Path) -> None:
    assert tables.as_markdown("tiny", "digits") == "Not measured yet: `python -m scripts.tables tiny`."


@pytest.mark.slow
def test_finished_runs_are_kept_and_unfinished_ones_resumed(results: Path) -> None:
    assert len(tables.run_missing(["tiny"], "digits", (0,), 2, minutes=0.0)) == 2
    key = tables.key_of(TINY_TABLE, "digits", ("loss.gen=kl",), 0)
    interrupt_at(tables.folder_of(key, "digits"), 5, *key.split(), "log.checkpoint_every_steps=2")
    assert tables.run_missing(["tiny"], "digits", (0,), 2, minutes=10.0) == []
    rows = tables.finished_runs("digits")
    assert {key: row["resumed"] for key, row in rows.items() if row["resumed"]} == {key: True}
    uninterrupted = builders.run(compose(*key.split()), results / "uninterrupted")
    assert rows[key]["metric_values"] == {k: round(v, 6) for k, v in uninterrupted.metric_values.items()}
    lines = (results / "runs-digits.jsonl").read_text()
    assert tables.run_missing(["tiny"], "digits", (0,), 2, minutes=10.0) == []
    assert (results / "runs-digits.jsonl").read_text() == lines
    (results / "runs-digits.jsonl").unlink()
    assert tables.run_missing(["tiny"], "digits", (0,), 1, minutes=10.0) == []
    found = tables.finished_runs("digits")
    assert {key: row["metric_values"] for key, row in found.items()} == {
        key: row["metric_values"] for key, row in rows.items()
    }


@pytest.mark.slow
def test_a_run_whose_loss_is_not_finite_is_recorded(results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = comparisons.Table(
        "What?",
        {"": ("loss.disc=kl", "loss.gen=kl", "optimizer.lr_d=1", "model.d_norm=none")},
        {"": ("optimizer.lr_g=1",)},
    )
    monkeypatch.setattr(tables, "TABLES", {"tiny": table})
    assert tables.run_missing(["tiny"], "digits", (0,), 1, minutes=10.0) == []
    (row,) = tables.finished_runs("digits").values()
    assert "is not finite" in row["failed"]
    assert "metric_values" not in row


def test_pages_of_results_are_current() -> None:
    for page in (REPOSITORY / "docs" / "results").glob("*.md"):
        text = page.read_text(encoding="utf-8")
        assert tables.with_tables(text) == text, f"{page.name}: make readme writes it again"


def test_an_unknown_table_is_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("sys.argv", ["tables", "nope"])
    with pytest.raises(SystemExit, match="2"):
        tables.main()
    assert "choose from" in capsys.readouterr().err
