"""The theory command: what it writes, and what it refuses."""

import csv
import math
import re
from pathlib import Path

import numpy as np
import pytest

from gantrain.commands.options import parse_words
from gantrain.commands.theory import FIGURES, Options, run
from gantrain.config import ConfigError
from gantrain.system.atomic_io import UnusableFolderError


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
def test_figures_are_written_with_their_tables_and_a_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["gantrain", "theory", "out=of theory", "figures=1,4,5,6"])
    folder = tmp_path / "of theory"
    run(Options(out=str(folder), figures=[6, 1, 4, 5, 1]))
    names = {path.name for path in folder.iterdir()}
    figures = ("1-divergences", "4-vanishing-gradient", "5-gradient-weights", "6-gradient-map")
    tables = {
        "1-divergences-f.csv",
        "1-divergences-generators.csv",
        "1-divergences-ends.csv",
        *(f"{name}.csv" for name in figures[1:]),
    }
    assert names == {f"{name}.{kind}" for name in figures for kind in ("png", "svg")} | tables | {"index.html"}
    for name in figures:
        assert (folder / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert "<svg" in (folder / f"{name}.svg").read_text()[:2000]

    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines[:-1]] == [f"{folder / name}.png" for name in figures]
    assert all(re.fullmatch(r".+\.png  \d+\.\d s", line) for line in lines[:-1])
    assert lines[-1] == str(folder / "index.html")

    page = (folder / "index.html").read_text()
    linked = set(re.findall(r'(?:src|href)="([^"]+)"', page))
    assert linked == names - {"index.html"}
    assert "python -m gantrain theory &#x27;out=of theory&#x27; figures=1,4,5,6" in page
    assert "Poole et al. 2016, eq. 8" in page

    kl = [row for row in rows(folder / "1-divergences-generators.csv") if (row["gen"], row["rule"]) == ("kl", "poole")]
    v = np.array([float(row["v"]) for row in kl])
    np.testing.assert_allclose([float(row["slope"]) for row in kl], (v + 1) * np.exp(v), rtol=1e-7, atol=1e-9)
    first, last = (rows(folder / "4-vanishing-gradient.csv")[k] for k in (0, -1))
    assert float(first["js"]) == pytest.approx(0, abs=1e-12)
    assert float(last["js"]) == pytest.approx(math.log(2), abs=2e-4)
    assert float(last["js_slope"]) < 3e-4
    assert float(last["w1"]) == float(last["distance"]) == 8
    assert float(last["expected_wasserstein"]) == 1
    for row in rows(folder / "5-gradient-weights.csv"):
        if row["gen"] == "alt" and row["disc"] == "gan":
            assert float(row["weight"]) == pytest.approx(1 - float(row["d"]), abs=1e-9)
    hinge = [row for row in rows(folder / "6-gradient-map.csv") if row["gen"] == "hinge_ns"]
    assert all(float(row["slope"]) == (-1 if float(row["v"]) < 1 else 0) for row in hinge)
    assert {row["log_ratio"] for row in hinge} == {"nan"}

    with pytest.raises(ConfigError, match="is not empty") as error:
        run(Options(out=str(folder), figures=[4]))
    assert "omit out=" in str(error.value)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["mixture=0.3:-2"], "mixture='0.3:-2'"),
        (["mixture=1:0:0"], "mixture='1:0:0'"),
        (["divergences=kl,kll"], "divergence 'kll' is unknown"),
        (["divergences=alpha"], "is unknown; choose from [gan, js, kl"),
        (["divergences=alpha:nan"], "is unknown"),
        (["divergences=beta:1"], "is unknown"),
        (["divergences=kl,tv"], "divergence 'tv' has no exact rule"),
        (["divergences=kl,kl"], "without repetitions"),
        (["seeds=0"], "seeds=0 must be between"),
        (["figures=1,9"], "figures=9 does not exist; choose from [1"),
        (["figures=[]"], "figures= is empty"),
        (["figures=all"], "figures='all' must be a whole number"),
        (["figure=1"], "did you mean figures"),
    ],
)
def test_bad_options_are_refused(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_words(Options, "theory", words)
    assert message in str(error.value)
    parse_words(Options, "theory", ["divergences=tv,alpha:0.3", "figures=2"])


def test_each_run_gets_a_new_default_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    run(Options(figures=[4]))
    (page,) = tmp_path.glob("outputs/*/*-theory/index.html")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d/\d\d-\d\d-\d\d-theory", str(page.parent.relative_to(tmp_path / "outputs")))
    assert not list(page.parent.glob(".*"))


def test_existing_files_are_never_touched(tmp_path: Path) -> None:
    mine = tmp_path / "mine.txt"
    mine.write_text("mine")
    with pytest.raises(ConfigError, match=r"mine\.txt"):
        run(Options(out=str(tmp_path), figures=[4]))
    with pytest.raises(UnusableFolderError, match=r"mine\.txt.*cannot be created"):
        run(Options(out=str(mine), figures=[4]))
    assert mine.read_text() == "mine"
    assert list(tmp_path.iterdir()) == [mine]


def test_help_names_every_figure(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_words(Options, "theory", ["--help"])
    text = " ".join(capsys.readouterr().out.split())
    assert f"figures={','.join(map(str, FIGURES))}" in text
    help_text = text.partition("figures=")[2]
    for number in FIGURES:
        assert re.search(rf"\b{number} [a-z]", help_text), number
