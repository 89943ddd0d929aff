"""`gantrain compare`: from folders of runs to a table, a picture and numbers."""

import json
import math
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from gantrain.commands.compare import Options, run
from gantrain.commands.options import parse_words
from gantrain.config import ConfigError
from gantrain.report import comparison_picture
from gantrain.report.comparison import compare_figure
from gantrain.report.run_groups import RunGroup, group_runs
from gantrain.run_io.metrics_jsonl import RunFolderError
from gantrain.run_io.run_reader import find_runs, read_run
from tests.report.made_records import record
from tests.written_runs import write_run


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two objectives by three seeds: alt ends at 110, 120 and 130 modes, kl at 60; its last run failed."""
    folder = tmp_path_factory.mktemp("runs") / "sweep"
    for seed in range(3):
        write_run(
            folder / f"{seed:03d}-loss.gen=alt,seed={seed}",
            *("loss.gen=alt", f"seed={seed}"),
            steps=20,
            every=10,
            measured={"modes": lambda step, seed=seed: 90.0 + step + 10 * seed, "fid": lambda step: 40.0 - step},  # type: ignore[misc]
        )
        write_run(
            folder / f"{seed + 3:03d}-loss.gen=kl,seed={seed}",
            *("loss.gen=kl", f"seed={seed}"),
            steps=20,
            every=10,
            measured={"modes": lambda step: 80.0 - step, "fid": lambda step: math.nan if step == 20 else 30.0},
            state="failed" if seed == 2 else "finished",
        )
    return folder


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def words(*given: str) -> Options:
    return parse_words(Options, "compare", list(given))


def test_a_sweep_becomes_a_table_a_picture_and_numbers(
    sweep: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = sorted(sweep.rglob("*"))
    run(words(str(sweep)))
    said = capsys.readouterr().out
    assert "modes (EMA), higher is better" in said
    assert "120 ± 10" in said
    assert "2 of 3" in said
    assert "2: 1 of 3 failed at step 20 (seed 2)" in said
    assert "2: 2 of 3 not finite: FID (EMA) (seed 0, 1)" in said
    assert said.splitlines()[-2:] == ["comparison.png", "comparison.json"]
    assert sorted(path.name for path in here.iterdir()) == ["comparison.json", "comparison.png"]
    assert sorted(sweep.rglob("*")) == before

    numbers = json.loads((here / "comparison.json").read_text())
    assert [run_group["label"] for run_group in numbers["groups"]] == ["loss.gen=alt", "loss.gen=kl"]
    assert numbers["common"]["loss.disc"] == "gan"
    modes, fid = numbers["figures"]
    alt, kl = modes["readings"]["last"]
    assert alt["values"] == {"0": 110.0, "1": 120.0, "2": 130.0}
    assert alt["spread"] == {"mean": 120.0, "std": 10.0, "count": 3}
    assert kl["values"] == {"0": 60.0, "1": 60.0}
    # kl has no spread: error 10/√3 with 2 degrees of freedom, whose p-value has a closed form
    t = -60 / (10 / math.sqrt(3))
    assert kl["difference"]["value"] == -60
    assert kl["difference"]["p"] == pytest.approx(1 + t / math.sqrt(2 + t**2))
    assert kl["p_holm"] == pytest.approx(2 * kl["difference"]["p"])  # the best ones, 50 apart, are told as well
    assert kl["verdict"] == "worse"
    assert fid["readings"]["last"][1]["values"] == {}
    assert fid["readings"]["best"][1]["values"] == {"0": 30.0, "1": 30.0}
    with Image.open(here / "comparison.png") as picture:
        assert picture.size[0] >= 1000

    run(words(str(sweep), "figures=modes", "step=best"))
    assert sorted(path.name for path in here.glob("*-2.*")) == ["comparison-2.json", "comparison-2.png"]
    (only,) = json.loads((here / "comparison-2.json").read_text())["figures"]
    assert list(only["readings"]) == ["best"]
    run(words(str(sweep), "step=10", f"out={here / 'ten.png'}"))
    at_ten = json.loads((here / "ten.json").read_text())["figures"][0]["readings"]["10"]
    assert at_ten[1]["values"] == {"0": 70.0, "1": 70.0, "2": 70.0}
    assert [path.name for path in here.glob(".*")] == []


def test_the_variant_of_the_first_run_is_the_baseline(
    sweep: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kl, alt = sorted(sweep.glob("*kl*"))[:2], sorted(sweep.glob("*alt*"))[:2]
    run(words(*map(str, [*kl, *alt, kl[0]]), "figures=modes"))
    head = next(line for line in capsys.readouterr().out.splitlines() if "loss.gen " in line)
    assert head.split() == ["loss.gen", "kl", "alt"]
    numbers = json.loads((here / "comparison.json").read_text())
    assert [len(run_group["runs"]) for run_group in numbers["groups"]] == [2, 2]  # one given twice is one


def test_seeds_alone_are_a_spread_and_no_comparison(
    sweep: Path, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(words(*map(str, sorted(sweep.glob("*alt*"))), "figures=modes"))
    said = capsys.readouterr().out
    assert "120 ± 10" in said
    assert "There is one group and nothing to compare it with" in said
    assert "Welch" not in said
    assert (here / "comparison.png").is_file()


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["step=half"], "step='half' must be last, best or a number"),
        (["step=15"], r"step=15: nothing was measured there; choose last, best or one of \[10, 20\]"),
        (["figures=kid"], r"figures=kid: no run measured it; choose from \[modes, fid, modes_ema, fid_ema\]"),
        (["figures="], "figures= names none"),
        (["out=there.jpg"], r"must end in \.png"),
        (["out=nowhere/there.png"], "'nowhere' is no folder that can be written"),
        (["out=mine.png"], r"'mine\.json' exists, and nothing is overwritten"),
        (["steps=10"], "did you mean step"),
    ],
)
def test_refusals(sweep: Path, here: Path, given: list[str], said: str) -> None:
    (here / "mine.json").write_text("mine")
    with pytest.raises(ConfigError, match=said):
        run(words(str(sweep), *given))
    assert [path.name for path in here.iterdir()] == ["mine.json"]


def test_too_little_to_compare(sweep: Path, here: Path) -> None:
    one = str(min(sweep.iterdir()))
    with pytest.raises(ConfigError, match="is one run, and nothing to compare it with"):
        run(words(one, one))
    with pytest.raises(RunFolderError, match="no run lies in"):
        run(words(str(here)))
    with pytest.raises(ConfigError, match="run is missing"):
        words("step=last")
    for name in ("a", "b"):
        (here / name).mkdir()
        (here / name / "job.json").write_text(json.dumps({"job": 0, "overrides": [f"loss.gen={name}"]}))
    with pytest.raises(ConfigError, match="none of these runs has measured a figure"):
        run(words(str(here)))


def variants_of(folder: Path) -> list[RunGroup]:
    return group_runs([read_run(path) for path in find_runs([folder])])


def test_the_grids_are_those_of_the_first_common_seed(sweep: Path, tmp_path: Path) -> None:
    run_groups = variants_of(sweep)
    of_alt = RunGroup(run_groups[0].values, run_groups[0].runs[1:])
    shown = comparison_picture.shown_runs([of_alt, run_groups[1], RunGroup({}, (record(),))])
    assert [run and run.config["seed"] for run in shown] == [1, 1, None]
    apart = comparison_picture.shown_runs([of_alt, RunGroup(run_groups[1].values, run_groups[1].runs[:1])])
    assert [run and run.config["seed"] for run in apart] == [1, 0]


def test_the_grid_is_that_of_the_step(sweep: Path) -> None:
    run_groups = variants_of(sweep)
    alt, kl = (run_group.runs[0] for run_group in run_groups)
    assert list(alt.grids) == [0, 6, 13, 20]
    fid = compare_figure("fid_ema", run_groups, "last")
    assert [comparison_picture.grid_of(alt, point, fid)[0] for point in ("last", "best", 12, 6)] == [20, 20, 6, 6]
    assert comparison_picture.grid_of(kl, "best", fid) == (6, kl.folder / "samples" / "0000006.png")  # best at 10


def test_the_picture_holds_grids_figures_and_the_course(sweep: Path) -> None:
    run_groups = variants_of(sweep)
    figure = compare_figure("modes_ema", run_groups, "last")
    size = comparison_picture.size_of(run_groups, figure)
    assert size is not None
    picture = Figure(figsize=size, layout="constrained")
    FigureCanvasAgg(picture)
    comparison_picture.draw(picture, run_groups, figure, "last")
    left, right, course = picture.get_axes()
    assert (left.get_title(), right.get_title()) == ("1  loss.gen=alt", "2  loss.gen=kl")
    assert left.get_xlabel().splitlines() == [
        "seed 0, step 20",
        "modes (EMA): 110 at step 20",
        "120 ± 10 over 3 seeds",
    ]
    with Image.open(run_groups[1].runs[0].grids[20]) as grid:
        np.testing.assert_allclose(
            np.asarray(right.get_images()[0].get_array())[..., :3], np.asarray(grid.convert("RGB")) / 255, atol=1e-6
        )
    mean = course.get_lines()[0]
    np.testing.assert_allclose(mean.get_xydata(), [(10, 110), (20, 120)])
    legend = course.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["1  loss.gen=alt", "2  loss.gen=kl"]
    assert comparison_picture.size_of([RunGroup({}, (record(),))], None) is None


def test_wide_pictures_have_more_room(tmp_path: Path) -> None:
    run_groups = []
    for number, size in enumerate(((100, 100), (300, 100))):
        (tmp_path / str(number) / "samples").mkdir(parents=True)
        Image.new("RGB", size).save(tmp_path / str(number) / "samples" / "0000020.png")
        run_groups.append(RunGroup({"n": number}, (record(str(tmp_path / str(number))),)))
    square, wide = (comparison_picture.size_of([run_group] * 4, None) for run_group in run_groups)
    assert square is not None
    assert wide is not None
    assert square[0] / square[1] > 2  # four in a row
    assert wide[0] / 2 > square[0] / 4  # two in a row, each wider


def test_a_grid_that_is_being_written_leaves_the_others(sweep: Path, tmp_path: Path) -> None:
    (tmp_path / "samples").mkdir()
    whole = min(sweep.glob("*alt*")) / "samples" / "0000020.png"
    (tmp_path / "samples" / "0000020.png").write_bytes(whole.read_bytes()[:300])
    run_groups = [
        variants_of(sweep)[0],
        RunGroup({"n": 1}, (record(str(tmp_path)),)),
        RunGroup({"n": 2}, (record("no"),)),
    ]
    picture = Figure(figsize=(9, 6))
    FigureCanvasAgg(picture)
    comparison_picture.draw(picture, run_groups, None, "last")
    axes = picture.get_axes()
    assert [len(place.get_images()) for place in axes] == [1, 0, 0]
    assert [text.get_text() for place in axes for text in place.texts] == ["this grid cannot be read", "no grid"]
