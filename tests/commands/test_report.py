"""The report command: what it writes where, and what it refuses to write over."""

import os
import re
from pathlib import Path

import pandas
import pytest

from gantrain.commands import report
from gantrain.commands.options import parse_words
from gantrain.commands.report import Options, run
from gantrain.options import ConfigError
from gantrain.run_io.metrics_jsonl import RunFolderError
from gantrain.run_io.status import FAILED, mark
from gantrain.system.atomic_io import UnusableFolderError
from tests.written_runs import write_run

WRITTEN = {"report.html", "runs.csv", "runs.parquet"}


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    for seed in range(2):
        write_run(tmp_path / "sweep" / f"{seed}-gen=alt,seed={seed}", f"seed={seed}", steps=20, every=10, grids=0)
    return tmp_path / "sweep"


def test_a_report_is_rewritten_while_runs_continue(sweep: Path, capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    before = set(os.listdir(sweep))
    run(Options(folders=[str(sweep)]))
    assert set(os.listdir(sweep)) - before == WRITTEN
    first = (sweep / "runs.csv").read_text()
    write_run(sweep / "2-gen=alt,seed=2", "seed=2", steps=20, every=10, grids=0)
    mark(sweep / "2-gen=alt,seed=2", FAILED)
    capsys.readouterr()
    run(Options(folders=[str(sweep)]))
    again = (sweep / "runs.csv").read_text()
    assert len(again.splitlines()) == len(first.splitlines()) + 1 == 4
    shown = capsys.readouterr().out
    assert "3 runs in 1 group: 2 finished, 1 failed" in shown
    assert [line for line in shown.splitlines() if line.startswith(str(sweep))] == [
        str(sweep / name) for name in ("report.html", "runs.csv", "runs.parquet")
    ]


@pytest.mark.parametrize("name", sorted(WRITTEN))
@pytest.mark.parametrize("content", ["mine", "", "folder,state,seed,mine\n"])
def test_other_files_are_not_overwritten(sweep: Path, name: str, content: str) -> None:
    pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    (sweep / name).write_text(content)
    before = set(os.listdir(sweep))
    with pytest.raises(ConfigError, match="was not written by gantrain report") as error:
        run(Options(folders=[str(sweep)]))
    assert str(sweep / name) in str(error.value)
    assert (sweep / name).read_text() == content
    assert set(os.listdir(sweep)) == before


def test_a_failed_write_leaves_the_earlier_report(sweep: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(Options(folders=[str(sweep)]))
    before = {path.name: path.read_bytes() for path in sweep.iterdir() if path.is_file()}

    def fail(frame: object, path: Path, **options: object) -> None:
        path.write_text("half")
        raise OSError("no space left")

    monkeypatch.setattr(pandas.DataFrame, "to_csv", fail)
    with pytest.raises(OSError, match="no space left"):
        run(Options(folders=[str(sweep)]))
    assert {path.name: path.read_bytes() for path in sweep.iterdir() if path.is_file()} == before


def test_default_and_given_paths(sweep: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    runs = sorted(str(folder) for folder in sweep.iterdir())
    run(parse_words(Options, "report", runs))
    assert (tmp_path / "report.html").is_file()
    assert (tmp_path / "runs.csv").is_file()
    run(Options(folders=runs[:1], out=str(sweep / "of one.html"), title="<one>"))
    page = (sweep / "of one.html").read_text()
    assert "<title>&lt;one&gt;</title>" in page
    assert not (sweep / "report.html").exists()
    with pytest.raises(UnusableFolderError, match="is not a writable folder"):
        run(Options(folders=runs[:1], out=str(tmp_path / "nowhere" / "report.html")))
    with pytest.raises(ConfigError, match=r"must end in \.html"):
        Options(folders=runs, out="report.pdf")
    with pytest.raises(ConfigError, match="folders is missing"):
        parse_words(Options, "report", [])
    with pytest.raises(RunFolderError, match="is not a folder"):
        run(Options(folders=["nowhere"]))


def test_without_pyarrow_the_rest_is_written(
    sweep: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(report, "has_parquet", lambda: False)
    run(Options(folders=[str(sweep)]))
    assert {path.name for path in sweep.iterdir() if path.is_file()} == WRITTEN - {"runs.parquet"}
    assert "pip install 'gantrain[parquet]'" in capsys.readouterr().out


def test_tables_are_named_after_the_page(sweep: Path, tmp_path: Path) -> None:
    one, other = sorted(str(folder) for folder in sweep.iterdir())[:2]
    for name, folder in (("a", one), ("b", other)):
        run(Options(folders=[folder], out=str(tmp_path / f"{name}.html")))
    found = {path.name: path.read_text() for path in tmp_path.glob("*.csv")}
    assert set(found) == {"a.csv", "b.csv"}
    assert Path(one).name in found["a.csv"]
    assert Path(other).name in found["b.csv"]


def test_the_terminal_compares_with_the_first_runs_group(
    sweep: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "150")
    for seed in range(2):
        measured = {"modes": lambda step, seed=seed: 80.0 + seed, "fid": lambda step: 30.0}
        write_run(sweep / f"kl{seed}", "loss.gen=kl", f"seed={seed}", steps=20, every=10, measured=measured, grids=0)  # type: ignore[arg-type]
    runs = [str(folder) for folder in (*sorted(sweep.glob("kl*")), *sorted(sweep.glob("*alt*")), sweep / "kl0")]
    run(Options(folders=runs, out=str(sweep / "report.html"), metrics=["modes"]))
    shown = capsys.readouterr().out
    assert "4 runs in 2 groups: 4 finished" in shown  # a folder that is given twice counts once
    assert re.search(r"1  loss.gen=kl +80.50 ± 0.71 +2 *\n", shown)
    assert re.search(r"2  loss.gen=alt +102 ± 0 +2 +\+21.5", shown)
    assert "FID" not in shown


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["step=half"], "step='half' must be last, best or a number"),
        (["step=15"], r"step=15: no run measured anything at this step; choose last, best or one of \[10, 20\]"),
        (["metrics=kid"], r"metrics=kid was not measured by any run; choose from \[modes, modes_ema\]"),
        (["steps=10"], "did you mean step"),
    ],
)
def test_bad_input_is_refused_before_anything_is_written(sweep: Path, words: list[str], message: str) -> None:
    before = set(os.listdir(sweep))
    with pytest.raises(ConfigError, match=message):
        run(parse_words(Options, "report", [str(sweep), *words]))
    assert set(os.listdir(sweep)) == before
