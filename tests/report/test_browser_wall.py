"""Sample wall, matrix and theory in a browser: what is shown follows slider, menus and keys."""

import base64
import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gantrain.report.page import make_page
from gantrain.report.run_table import group_runs
from gantrain.run_io.run_reader import find_runs, read_run
from tests.report.conftest import OpenPage
from tests.report.test_sample_wall import paint
from tests.written_runs import write_run

pytestmark = pytest.mark.slow
SIZES = [(1280, 900), (390, 844)]
DISCS, GENS, SEEDS = ("gan", "js"), ("alt", "kl"), (0, 1)
GREENS = {0: 20, 500: 120, 1000: 220}


def red(disc: str, gen: str, seed: int) -> int:
    return 120 * DISCS.index(disc) + 60 * GENS.index(gen) + 30 * seed


def fid(disc: str, gen: str, seed: int) -> float:
    return 10.0 + red(disc, gen, seed)


def fail_at(run: Path, step: int) -> None:
    """As if the run had failed after this step."""
    status = json.loads((run / "status.json").read_text())
    (run / "status.json").write_text(json.dumps({**status, "state": "failed", "step": step}))
    rows = [json.loads(row) for row in (run / "metrics.jsonl").read_text().splitlines()]
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows if row["step"] <= step))


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Every pair with two seeds; the last run failed at step 500."""
    folder = tmp_path_factory.mktemp("pairs")
    for pair in ((disc, gen, seed) for disc in DISCS for gen in GENS for seed in SEEDS):
        failed = pair == ("js", "kl", 1)
        words = [f"{key}={value}" for key, value in zip(("loss.disc", "loss.gen", "seed"), pair, strict=True)]
        measured = {"fid": lambda step, pair=pair: fid(*pair), "coverage": lambda step, pair=pair: 1 / fid(*pair)}
        run = write_run(folder / ",".join(words), *words, measured=measured)
        paint(run, red(*pair), {step: green for step, green in GREENS.items() if step <= 500 or not failed}, size=274)
        if failed:
            fail_at(run, 500)
    page = folder / "page.html"
    page.write_text(make_page(group_runs([read_run(run) for run in find_runs([folder])]), "pairs", "gantrain report"))
    return page


def colors(page: Any) -> dict[str, tuple[int, int]]:
    """Red and green of the visible sample images by name, after all have loaded."""
    shown = '[...document.querySelectorAll(".wall-images figure")].filter((one) => one.offsetWidth > 0)'
    page.wait_for_function(f'{shown}.every((one) => one.querySelector("img").naturalWidth === 274)')
    found = page.evaluate(
        f'{shown}.map((one) => [one.querySelector(".wall-name").textContent, one.querySelector("img").src])'
    )
    means = {}
    for name, uri in found:
        with Image.open(io.BytesIO(base64.b64decode(uri.partition(",")[2]))) as image:
            mean = np.asarray(image.convert("RGB"), dtype=float).mean(axis=(0, 1))
        means[name] = (round(mean[0]), round(mean[1]))
    return means


def expected(seed: int, step: int) -> dict[str, Any]:
    """The failed run shows its last grid, of step 500."""
    return {
        f"loss.disc={disc} loss.gen={gen}": pytest.approx(
            (red(disc, gen, seed), GREENS[min(step, 500) if (disc, gen, seed) == ("js", "kl", 1) else step]), abs=5
        )
        for disc in DISCS
        for gen in GENS
    }


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_the_slider_moves_all_images(page_file: Path, open_page: OpenPage, width: int, height: int) -> None:
    page = open_page(page_file, width, height)
    assert colors(page) == expected(0, 1000)
    slider = page.locator("#wall-moment")
    slider.focus()
    for key, step in (("Home", 0), ("ArrowRight", 500), ("ArrowRight", 1000), ("ArrowLeft", 500)):
        page.keyboard.press(key)
        assert colors(page) == expected(0, step)
        assert page.locator("#wall-step").inner_text() == f"{step:,} of 1,000"
        assert slider.get_attribute("aria-valuetext") == f"step {step:,} of 1,000"
    page.locator("#wall-seed").select_option("1")
    assert colors(page) == expected(1, 500)
    assert page.locator(".wall-ended:visible").count() == 0
    slider.fill("2")
    assert colors(page) == expected(1, 1000)
    assert page.locator(".wall-ended:visible .wall-note").all_inner_texts() == ["failed at step 500"]
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    boxes = [image.bounding_box() for image in page.locator(".wall-images img:visible").all()]
    assert all(box is not None and 100 <= box["width"] <= 274 for box in boxes)
    assert all(box is not None and box["x"] >= 0 and box["x"] + box["width"] <= width for box in boxes)


def test_print_shows_the_last_step(page_file: Path, open_page: OpenPage) -> None:
    page = open_page(page_file, 1280, 900)
    page.locator("#wall-moment").fill("0")
    assert colors(page) == expected(0, 0)
    page.emulate_media(media="print")
    page.wait_for_function('document.getElementById("wall-step").textContent.startsWith("1,000 of")')
    assert colors(page) == expected(0, 1000)
    page.emulate_media(media="screen")
    page.wait_for_function('document.getElementById("wall-step").textContent.startsWith("0 of")')
    assert colors(page) == expected(0, 0)


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_an_image_is_enlarged_and_steps_by_the_keys(
    page_file: Path, open_page: OpenPage, width: int, height: int
) -> None:
    page = open_page(page_file, width, height)
    page.locator("[aria-label='enlarge loss.disc=gan loss.gen=kl']:visible").focus()
    page.keyboard.press("Enter")
    large = page.locator("#wall-large img")
    assert large.is_visible()
    box = large.bounding_box()
    assert box is not None
    assert box["width"] >= (540 if width > 1000 else 260)
    assert box["x"] + box["width"] <= width
    assert large.evaluate("(one) => getComputedStyle(one).imageRendering") == "pixelated"
    page.keyboard.press("ArrowLeft")
    assert colors(page) == expected(0, 500)
    assert "step 500 of 1,000" in page.locator("#wall-large p").inner_text()
    page.keyboard.press("Escape")
    assert not large.is_visible()


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_the_matrix_follows_its_menu(page_file: Path, open_page: OpenPage, width: int, height: int) -> None:
    page = open_page(page_file, width, height)
    cell = page.locator("#matrix td[data-gen=kl][data-disc=js]")
    assert cell.inner_text().split("\n") == [f"{fid('js', 'kl', 0):g}", "1 seed", "✕ 1 failed"]
    page.locator("#matrix-metric").select_option("coverage last")
    assert cell.inner_text().split("\n")[0] == f"{1 / fid('js', 'kl', 0):.4g}"
    assert page.locator("#matrix .matrix-legend:visible").all_inner_texts()[0].startswith("coverage")
    assert page.evaluate("document.documentElement.scrollWidth") <= width


@pytest.mark.parametrize(("width", "height"), SIZES)
def test_the_panels_of_theory_fit(page_file: Path, open_page: OpenPage, width: int, height: int) -> None:
    page = open_page(page_file, width, height)
    charts = page.locator("#theory .theory-chart").all()
    assert len(charts) == 4  # the writer's runs have no diagnostics
    for chart in charts:
        chart.scroll_into_view_if_needed()
        box, drawn = chart.bounding_box(), chart.locator(".main-svg").first.bounding_box()
        assert box is not None
        assert drawn is not None
        assert 200 < drawn["width"] <= box["width"] + 1
        assert box["x"] + box["width"] <= width
    title = page.locator("#theory .theory-chart .x2title, #theory .theory-chart .xtitle").first
    assert title.text_content() == "log r of generated samples"
