"""runs.csv and runs.parquet equal what metrics.jsonl contains."""

import csv
import json
from pathlib import Path

import pytest

from gantrain.commands.report import Options, run
from gantrain.report.export import export_frame
from gantrain.report.run_table import group_runs
from gantrain.run_io.metrics_jsonl import METRICS
from tests.report.made_records import record
from tests.report.runs_of_a_sweep import GENS, SEEDS, write_sweep
from tests.written_runs import write_run


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_sweep(tmp_path_factory.mktemp("rows") / "sweep")
    run(Options(folders=[str(folder)]))
    return folder


def test_the_csv_equals_the_files(sweep: Path) -> None:
    with (sweep / "runs.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [
        *("folder", "state", "seed", "loss.gen"),
        *(f"{name}_ema/{which}" for name in ("fid", "recall") for which in ("best", "best_step", "last")),
        *("images", "seconds", "findings", "reason"),
    ]
    assert [(row["loss.gen"], int(row["seed"])) for row in rows] == [(gen, seed) for gen in GENS for seed in SEEDS]
    for row in rows:
        lines = (sweep / row["folder"] / METRICS).read_text().splitlines()
        measured = [m for m in map(json.loads, lines) if m["kind"] == "metric"]
        fid = {m["step"]: m["value"] for m in measured if m["name"] == "fid"}
        recall = {m["step"]: m["value"] for m in measured if m["name"] == "recall"}
        assert float(row["fid_ema/best"]) == min(fid.values())
        assert fid[int(row["fid_ema/best_step"])] == min(fid.values())
        assert float(row["fid_ema/last"]) == fid[1000]
        assert float(row["recall_ema/best"]) == max(recall.values())
        assert (row["images"], row["seconds"]) == ("8000", "10.0")
    assert [row["state"] for row in rows] == [*["finished"] * 5, "failed", "pruned", *["finished"] * 2]
    assert rows[5]["reason"] == "loss.gen=<kl> & co: not finite"
    assert [row["findings"] for row in rows] == [*[""] * 5, "ratio explosion", *[""] * 3]


def test_parquet_equals_the_csv(sweep: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    found = parquet.read_table(sweep / "runs.parquet").to_pylist()
    with (sweep / "runs.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [list(row) for row in found] == [list(row) for row in rows]
    for row, of_csv in zip(found, rows, strict=True):
        for name, value in row.items():
            assert str(value) == of_csv[name] or float(value) == float(of_csv[name]), name
    assert isinstance(found[0]["seed"], int)
    assert isinstance(found[0]["fid_ema/best"], float)


def test_keys_of_several_types_and_absent_ones(tmp_path: Path) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    import pyarrow.parquet

    words = [("loss.gen=alt",), ("loss.gen=alpha", "loss.alpha_gen=0.5"), ("augment.policy=[color]",)]
    for place, of_run in enumerate(words):
        write_run(tmp_path / str(place), *of_run, "seed=1", steps=20, every=10, grids=0)
    run(Options(folders=[str(tmp_path)]))
    rows = pyarrow.parquet.read_table(tmp_path / "runs.parquet").to_pylist()
    assert [row["loss.alpha_gen"] for row in rows] == [None, 0.5, None]
    assert [row["augment.policy"] for row in rows] == ["[]", "[]", "[color]"]
    with (tmp_path / "runs.csv").open(newline="") as file:
        assert [row["loss.alpha_gen"] for row in csv.DictReader(file)] == ["", "0.5", ""]


def test_values_and_seeds_equal_those_of_the_page(tmp_path: Path) -> None:
    """`auto` is the objective it selects; a job without a configuration has the seed of its overrides."""
    runs = [
        record("a", loss__gen="auto", loss__disc="hinge", seed=1),
        record("b"),
        record("c", loss__gen="alpha", loss__alpha_gen=0.5),
        record("d", config={}, overrides=("loss.gen=nonesuch", "seed=3"), state="failed"),
    ]
    frame = export_frame(group_runs(runs)).astype(object)
    rows = frame.where(frame.notna(), None).to_dict("records")
    assert [(row["loss.gen"], row["loss.alpha_gen"], row["seed"]) for row in rows] == [
        ("linear", None, 1),
        ("alt", None, 0),
        ("alpha", 0.5, 0),
        (None, None, 3),
    ]
