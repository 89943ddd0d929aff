"""The page's numbers equal those of metrics.jsonl, for complete and for odd runs."""

import html
import json
import re
import shutil
import statistics
from pathlib import Path

import pytest
from scipy import stats

from gantrain.commands.report import Options, run
from gantrain.metrics.registry import lower_is_better
from gantrain.report.page import make_page
from gantrain.report.run_table import group_runs
from gantrain.run_io.metrics_jsonl import METRICS
from gantrain.run_io.run_folder import JOB, RUN
from gantrain.run_io.run_reader import find_runs, read_run
from gantrain.run_io.status import FINISHED, PRUNED, RUNNING, SKIPPED, mark
from tests.report.made_records import record
from tests.report.parsed import Tables
from tests.report.runs_of_a_sweep import FINDING, FINISHED_SEEDS, GENS, SEEDS, refuse_a_job, write_sweep
from tests.written_runs import write_run


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_sweep(tmp_path_factory.mktemp("report") / "sweep")


@pytest.fixture(scope="module")
def page(sweep: Path) -> str:
    return page_of(sweep)


def page_of(*places: Path) -> str:
    return make_page(group_runs([read_run(folder) for folder in find_runs(places)]), "a title", "the command")


def without_plotly(page: str) -> str:
    return re.sub(r"<script>/\*.*?</script>", "", page, count=1, flags=re.DOTALL)


def from_the_file(sweep: Path, gen: str, seed: int, name: str) -> list[float]:
    (folder,) = sweep.glob(f"*-loss.gen={gen},seed={seed}")
    rows = [json.loads(line) for line in (folder / METRICS).read_text().splitlines()]
    return [row["value"] for row in rows if row["kind"] == "metric" and row["name"] == name]


def test_table_means_equal_those_of_the_files(sweep: Path, page: str) -> None:
    tables = Tables(page)
    found = {row["group"][0].strip(): row for row in tables.rows["by-group"]}
    assert set(found) == set(GENS)
    names = [row["group"][0].strip() for row in tables.rows["by-group"]]
    marked = dict(zip(names, tables.best["by-group"], strict=True))
    means: dict[str, dict[str, float]] = {}
    for name, pick in (("fid", min), ("recall", max)):
        assert lower_is_better(name) is (pick is min)
        for gen in GENS:
            courses = [from_the_file(sweep, gen, seed, name) for seed in FINISHED_SEEDS[gen]]
            for which, of_runs in (("best", [pick(c) for c in courses]), ("last", [c[-1] for c in courses])):
                text, value = found[gen][f"{name} {which}"]
                assert float(value or "nan") == pytest.approx(statistics.mean(of_runs), rel=1e-12)
                shown = re.match(r"([\d.]+) ± ([\d.]+)", text)
                assert shown is not None
                assert float(shown[1]) == pytest.approx(statistics.mean(of_runs), rel=2e-2)
                assert float(shown[2]) == pytest.approx(statistics.stdev(of_runs), rel=6e-2)
                means.setdefault(f"{name} {which}", {})[gen] = statistics.mean(of_runs)
    for column, of_gens in means.items():
        pick = min if column.startswith("fid") else max
        assert {gen for gen in GENS if column in marked[gen]} == {pick(of_gens, key=lambda gen: of_gens[gen])}, column
    assert [row["group"][0].strip() for row in tables.rows["by-group"]] == ["rkl", "alt", "kl"]
    assert "2 of 3 seeds; 1 failed" in found["kl"]["fid best"][0]
    assert found["kl"]["findings"][0] == "ratio explosion"
    assert found["rkl"]["states"][0] == "1 pruned, 2 finished"


def test_table_rows_equal_the_files(sweep: Path, page: str) -> None:
    rows = Tables(page).rows["by-run"]
    assert len(rows) == len(GENS) * len(SEEDS)
    for row in rows:
        gen, seed = re.fullmatch(r"(\w+), seed (\d)", row["group"][0].strip()).groups()  # type: ignore[union-attr]
        course = from_the_file(sweep, gen, int(seed), "fid")
        assert float(row["fid best"][1] or "nan") == min(course)
        assert float(row["fid last"][1] or "nan") == course[-1]
        assert float(row["images"][1] or "nan") == 8000
        assert float(row["seconds"][1] or "nan") == 10
        assert row["folder"][0].endswith(f"-loss.gen={gen},seed={seed}")


def test_the_curves_equal_what_was_measured(sweep: Path, page: str) -> None:
    text = re.search(r'<script type="application/json" id="curves-data">(.*?)</script>', page, re.DOTALL)
    assert text is not None
    data = json.loads(text[1])
    (kl,) = [c for c in data["curves"]["fid_ema"] if data["groups"][c["group"]]["label"] == "kl"]
    courses = [from_the_file(sweep, "kl", seed, "fid") for seed in SEEDS]
    assert kl["mean"] == pytest.approx([statistics.mean(at) for at in zip(*courses, strict=True)])
    assert kl["std"] == pytest.approx([statistics.stdev(at) for at in zip(*courses, strict=True)])
    assert [own["y"] for own in kl["runs"]] == [pytest.approx(course) for course in courses]
    grid = data["grids"][kl["grid"]]
    assert grid == {
        "steps": [100 * k for k in range(1, 11)],
        "images": [800 * k for k in range(1, 11)],
        "seconds": [k for k in range(1, 11)],
    }
    assert set(data["titles"]) >= {"loss/discriminator", "D/real", "D/generated", "log_ratio/fake", "recall_ema"}


def test_the_summary_names_and_tests_the_best_group(sweep: Path, page: str) -> None:
    """By SciPy's own Welch test, over the seeds that finished."""
    lead = re.search(r'<p class="lead">(.*?)</p>', page, re.DOTALL)
    assert lead is not None
    best = {gen: [min(from_the_file(sweep, gen, seed, "fid")) for seed in FINISHED_SEEDS[gen]] for gen in GENS}
    found = re.match(
        r"loss.gen=rkl reached the best FID: ([\d.]+) ± ([\d.]+) over seeds 1, 2. "
        r"It is ahead of all others on 2 of the 2 seeds that others share \(1, 2\). "
        r"Next is loss.gen=alt, ([\d.]+) above \(95 % confidence interval ([\d.]+) to ([\d.]+)\). "
        r"By Welch's t-test over seeds, p corrected for 2 comparisons \(Holm\), it is better than alt, kl.$",
        html.unescape(lead[1]),
    )
    assert found is not None, lead[1]
    tests = {gen: stats.ttest_ind(best[gen], best["rkl"], equal_var=False) for gen in ("alt", "kl")}
    low, high = sorted(test.pvalue for test in tests.values())
    assert max(2 * low, high) < 0.05  # after Holm's correction
    interval = tests["alt"].confidence_interval(0.95)
    gap = statistics.mean(best["alt"]) - statistics.mean(best["rkl"])
    expected = (statistics.mean(best["rkl"]), statistics.stdev(best["rkl"]), gap, interval.low, interval.high)
    assert [float(word) for word in found.groups()] == [pytest.approx(one, rel=3e-2) for one in expected]


def test_failures_are_listed_and_escaped(page: str) -> None:
    part = page.partition('<section id="failures">')[2].partition("</section>")[0]
    assert "<summary>loss.gen=&lt;kl&gt; &amp; co: not finite</summary>" in part
    assert "a &lt;b&gt;second&lt;/b&gt; line" in part
    assert FINDING.evidence in part
    assert FINDING.advice in part
    assert "7 of 9 runs finished" in part
    assert "<b>second" not in page


def test_the_page_loads_nothing_from_elsewhere(page: str) -> None:
    rest = without_plotly(page)
    assert len(rest) < len(page) / 2
    assert not re.findall(r"""(?:src|href)=["'](?!#|data:)""", rest)
    assert "@import" not in rest
    assert "url(" not in rest


def test_many_rows_make_a_small_page(tmp_path: Path) -> None:
    for k, of_rows in enumerate((40, 1600)):
        place = tmp_path / str(k)
        for alpha in (0.1, 0.2):
            write_run(
                place / f"{alpha}",
                "loss.gen=alpha",
                f"loss.alpha_gen={alpha}",
                steps=of_rows,
                every=1,
                measured={"fid": lambda step: 30 + 1 / step},
                grids=0,
            )
    sizes = [len(page_of(tmp_path / str(k)).encode()) for k in range(2)]
    assert sizes[0] < 6.5e6
    assert sizes[1] - sizes[0] < 2 * 6 * 300 * 12 * 2  # run_groups, scalars, points, characters, each with its steps


def test_different_protocols_are_reported_and_nothing_is_marked(sweep: Path, tmp_path: Path) -> None:
    mine = tmp_path / "sweep"
    shutil.copytree(sweep, mine)
    assert "Protocols differ" not in page_of(mine)
    (changed,) = mine.glob("*-loss.gen=alt,seed=1")
    rows = (changed / METRICS).read_text()
    (changed / METRICS).write_text(rows.replace('"samples": 1000', '"samples": 50000'))
    page = page_of(mine)
    tables = Tables(page)
    assert "Protocols differ between runs for FID, recall" in page
    assert "<mark>samples 50,000</mark>" in page
    assert not any(best for rows_of in tables.best.values() for best in rows_of)
    assert 'class="lead"' not in page


def test_a_moved_sweep_reports_the_same(sweep: Path, tmp_path: Path, page: str) -> None:
    mine = tmp_path / "elsewhere" / "sweep"
    shutil.copytree(sweep, mine)
    assert Tables(page_of(mine)).rows == Tables(page).rows


def test_odd_runs_are_reported(sweep: Path, tmp_path: Path) -> None:
    """A refused job, a live run without rows, one without status, NaN, a seed less, one of points."""
    mine = tmp_path / "sweep"
    shutil.copytree(sweep, mine)
    folders = sorted(mine.glob("0*"))
    refuse_a_job(mine / "009-refused", like=folders[0], gen="hinge_ns")
    (folders[0] / METRICS).write_text("")
    mark(folders[0], RUNNING)
    (folders[1] / "status.json").unlink()
    (folders[1] / RUN).unlink()
    rows = [json.loads(line) for line in (folders[3] / METRICS).read_text().splitlines()]
    for row in rows:
        row.pop("cost/images", None)
        if row["kind"] == "metric":
            row["value"] = None
        if "loss/generator" in row:
            row["loss/generator"] = None
    (folders[3] / METRICS).write_text("".join(json.dumps(row) + "\n" for row in rows))
    shutil.rmtree(folders[8])
    write_run(mine / "points", "data=ring", "model=mlp", "log.grid_images=64", steps=20, every=10)
    page = page_of(mine)
    tables = Tables(page)
    assert len(tables.rows["by-run"]) == 10
    named = {row["folder"][0]: row for row in tables.rows["by-run"]}
    assert named["009-refused"]["states"][0] == "failed"
    assert named["009-refused"]["fid best"] == ("–", None)
    assert named[folders[0].name]["fid last"] == ("–", None)
    assert named[folders[3].name]["fid best"] == ("–", None)
    assert named[folders[1].name]["states"][0] == "finished"
    assert "still running" in page


@pytest.mark.parametrize(("metric", "directed"), [("modes", True), ("train_distance", False)])
def test_a_single_run_is_reported(tmp_path: Path, metric: str, directed: bool) -> None:
    write_run(tmp_path / "run", steps=20, every=10, measured={metric: lambda step: 5.0})
    page = page_of(tmp_path / "run")
    (row,) = Tables(page).rows["by-run"]
    assert row[f"{metric} last"] == ("5", "5.0")
    assert (f"{metric} best" in row) == directed
    assert ("Nothing has been measured" in page) != directed
    assert not any(Tables(page).best["by-run"])


def test_runs_without_rows_are_reported(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "one", steps=20, every=10, grids=0)
    for name in (METRICS, "status.json", JOB):
        (folder / name).unlink()
    run(Options(folders=[str(tmp_path)]))
    page = (tmp_path / "report.html").read_text()
    assert 'id="curves"' not in page
    assert 'id="protocols"' not in page
    assert "0 of 1 run finished" in page


def test_repeated_seeds_and_unfinished_runs_are_shown_but_not_averaged(tmp_path: Path) -> None:
    runs = [(4, 30.0, FINISHED), (4, 20.0, FINISHED), (5, 40.0, FINISHED), (6, 10.0, PRUNED)]
    for place, (seed, fid, state) in enumerate(runs):
        measured = {"fid": lambda step, fid=fid: fid}
        write_run(tmp_path / str(place), f"seed={seed}", steps=20, every=10, measured=measured, grids=0, state=state)  # type: ignore[arg-type]
    page = page_of(tmp_path)
    (row,) = Tables(page).rows["by-group"]
    assert float(row["fid best"][1] or "nan") == statistics.mean([20, 40])
    assert row["fid best"][0] == f"30 ± {statistics.stdev([20, 40]):.0f}2 of 3 seeds; 1 pruned"
    assert len(Tables(page).rows["by-run"]) == 4
    summary = page.partition('<section id="summary">')[2].partition("</section>")[0]
    assert re.findall(r"<title>seed (\d): (\d+)</title>", summary) == [("4", "20"), ("5", "40"), ("6", "10")]
    assert summary.count('fill="#fff"') == 1


def test_skipped_jobs_are_listed_with_their_reason(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / f"00{seed}", f"seed={seed}", steps=20, every=10) for seed in range(2)]
    mark(refuse_a_job(tmp_path / "002", like=runs[0], gen="hinge_ns"), SKIPPED)
    page = page_of(tmp_path)
    part = page.partition('<section id="failures">')[2].partition("</section>")[0]
    assert "2 of 3 runs finished" in part
    assert "sweep.invalid_pairs=skip" in part
    assert "loss.gen=&#39;hinge_ns&#39; needs disc=hinge" in part
    assert "skipped by the sweep, no grid" in page


def test_varied_numbers_are_sorted() -> None:
    runs = [
        *(record(str(rate), optimizer__lr_g=rate, seed=4) for rate in (1e-3, 1e-5, 1e-4)),
        record("lost", config={}, overrides=("data=nonesuch",), state="failed"),
    ]
    page = make_page(group_runs(runs), "a title", "the command")
    assert "<dt><code>optimizer.lr_g</code></dt><dd>1e-05, 0.0001, 0.001</dd>" in page
