"""The page in a browser: it sorts, draws, fits a phone, and requests nothing."""

import re
import statistics
from pathlib import Path
from typing import Any

import pytest

from gantrain.commands.report import Options, run
from tests.report.conftest import OpenPage
from tests.report.runs_of_a_sweep import FINISHED_SEEDS, SEEDS, value, write_sweep
from tests.written_runs import write_run

pytestmark = pytest.mark.slow
SIZES = [(1280, 900), (390, 844)]


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = write_sweep(tmp_path_factory.mktemp("browser") / "sweep")
    run(Options(folders=[str(folder)]))
    return folder / "report.html"


def column(page: Any, key: str, table: str = "by-group") -> list[str | None]:
    """The cells' data-v in the order of the rows."""
    script = """([table, key]) => {
        const one = document.getElementById(table);
        const heads = [...one.tHead.rows[1].cells].map((head) => head.dataset.key);
        return [...one.tBodies[0].rows].map((row) => row.cells[heads.indexOf(key)].dataset.v ?? null);
    }"""
    found: list[str | None] = page.evaluate(script, [table, key])
    return found


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_the_table_sorts_both_ways(page_file: Path, open_page: OpenPage, width: int, height: int) -> None:
    page = open_page(page_file, width, height)
    best = {
        gen: statistics.mean(min(map(value(gen, s, "fid"), range(100, 1001, 100))) for s in seeds)
        for gen, seeds in FINISHED_SEEDS.items()
    }
    head = page.locator("#by-group th[data-key='fid best']")
    head.get_by_role("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    shown = [float(v or "nan") for v in column(page, "fid best")]
    assert shown == pytest.approx(sorted(best.values()))
    assert column(page, "group") == sorted(best, key=lambda gen: best[gen])
    head.get_by_role("button").focus()
    page.keyboard.press("Enter")
    assert head.get_attribute("aria-sort") == "descending"
    assert [float(v or "nan") for v in column(page, "fid best")] == pytest.approx(sorted(best.values(), reverse=True))
    page.locator("#by-group th[data-key='group'] button").click()
    assert head.get_attribute("aria-sort") is None
    assert column(page, "group") == ["alt", "kl", "rkl"]
    recall = page.locator("#by-group th[data-key='recall best']")
    recall.get_by_role("button").click()
    assert recall.get_attribute("aria-sort") == "descending"
    assert column(page, "group") == ["rkl", "alt", "kl"]


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_the_page_fits_the_window(page_file: Path, open_page: OpenPage, width: int, height: int) -> None:
    page = open_page(page_file, width, height)
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    page.locator("#table [data-show='by-run']").click()
    page.locator("#chart-metric .main-svg").first.wait_for()
    for panel in page.locator("[data-scalar]").all():
        panel.scroll_into_view_if_needed()
        panel.locator(".main-svg").first.wait_for()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert page.locator("#by-run").is_visible()
    assert not page.locator("#by-group").is_visible()
    assert len(column(page, "folder", "by-run")) == 9


def test_missing_values_stay_last(page_file: Path, open_page: OpenPage) -> None:
    page = open_page(page_file, 1280, 900)
    page.evaluate("delete document.querySelector('#by-group tbody tr').querySelectorAll('td')[0].dataset.v")
    for _ in range(2):
        page.locator("#by-group th[data-key='fid best'] button").click()
        values = column(page, "fid best")
        assert values[-1] is None
        assert None not in values[:-1]


def test_the_curves_follow_menu_axis_and_legend(page_file: Path, open_page: OpenPage) -> None:
    page = open_page(page_file, 1280, 900)
    drawn = "document.getElementById('chart-metric').data.filter((one) => one.name)"
    page.locator("#chart-metric .main-svg").first.wait_for()
    assert page.evaluate(f"{drawn}.map((one) => one.name).sort()") == ["alt", "kl", "rkl"]
    assert page.evaluate(f"{drawn}[0].x.at(-1)") == 1000
    page.locator("[data-axis='images']").click()
    assert page.evaluate(f"{drawn}[0].x.at(-1)") == 8000
    page.locator("[data-axis='seconds']").click()
    assert page.evaluate(f"{drawn}[0].x.at(-1)") == 10
    page.locator("#metric").select_option("recall_ema")
    last = page.evaluate(f"Object.fromEntries({drawn}.map((one) => [one.name, one.y.at(-1)]))")
    for gen, shown in last.items():
        assert shown == pytest.approx(sum(value(gen, seed, "recall")(1000) for seed in SEEDS) / 3)
    page.locator(".chip", has_text=re.compile("^kl$")).click()
    assert page.evaluate(f"{drawn}.map((one) => one.name).sort()") == ["alt", "rkl"]
    thin = "document.getElementById('chart-metric').data.filter((one) => one.line.width === 0.8).length"
    assert page.evaluate(thin) == 2
    page.locator("#seeds").uncheck()
    assert page.evaluate(thin) == 0


def test_charts_fit_the_printed_page(page_file: Path, open_page: OpenPage) -> None:
    page = open_page(page_file, 1280, 900)
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 1032, "height": 730})  # A4 landscape between its margins
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    page.wait_for_timeout(500)
    beyond = page.evaluate("""[...document.querySelectorAll(".js-plotly-plot")].map((chart) => [
        chart.querySelector(".main-svg").getBoundingClientRect().width, chart.clientWidth])""")
    assert len(beyond) >= 4
    for drawn, place in beyond:
        assert 0.8 * place < drawn <= place + 1


def test_bands_below_zero_are_cut_on_a_log_scale(tmp_path: Path, open_page: OpenPage) -> None:
    for seed, last in enumerate((2.0, 200.0)):  # mean 101, standard deviation 140
        write_run(tmp_path / str(seed), f"seed={seed}", measured={"fid": lambda step, last=last: last + 1000 - step})
    run(Options(folders=[str(tmp_path)]))
    page = open_page(tmp_path / "report.html", 1280, 900)
    lows = "Math.min(...document.getElementById('chart-metric').data[0].y)"
    assert page.locator("#log").is_checked()
    assert page.evaluate(lows) == pytest.approx(2)
    page.locator("#log").uncheck()
    assert page.evaluate(lows) == pytest.approx(101 - statistics.stdev((2, 200)))


def test_charts_side_by_side_fit_their_places(tmp_path: Path, open_page: OpenPage) -> None:
    for k in range(3):
        words = (f"optimizer.lr_g={10.0 ** -(k + 3)}", f"schedule.batch_size={8 * (k + 1)}")
        write_run(tmp_path / str(k), *words, steps=20, every=10, measured={"fid": lambda step: 30.0}, grids=0)
    run(Options(folders=[str(tmp_path)]))
    page = open_page(tmp_path / "report.html", 1280, 900)
    widths = page.evaluate("""[...document.querySelectorAll("#sensitivity .js-plotly-plot")].map((chart) => [
        chart.querySelector(".main-svg").getBoundingClientRect().width, chart.clientWidth])""")
    assert len(widths) == 2
    for drawn, place in widths:
        assert drawn == pytest.approx(place, abs=1)
