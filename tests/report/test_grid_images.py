"""Embedded images keep to a budget of bytes."""

import base64
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gantrain.report.grid_images import CODINGS, evenly, fit_grids
from gantrain.report.page import make_page
from gantrain.report.run_table import group_runs
from gantrain.run_io.run_reader import find_runs, read_run
from tests.written_runs import write_run


def test_moments_are_evenly_spaced() -> None:
    steps = list(range(0, 2001, 100))
    assert evenly(steps, 21) == tuple(steps)
    assert evenly(steps, 5) == (0, 500, 1000, 1500, 2000)
    assert evenly(steps, 2) == (0, 2000)
    assert evenly(steps, 1) == (2000,)
    assert evenly([7], 3) == (7,)
    assert evenly([0, 10, 1000], 3) == (0, 10, 1000)
    assert evenly([0, 400, 600, 1000], 3) == (0, 400, 1000)  # the earlier of two that are as near
    assert evenly([0, 1000], 3) == (0, 1000)
    assert evenly(steps, 0) == ()


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """21 images of 8 x 8 images of 32 pixels, about as compressible as samples."""
    folder = tmp_path_factory.mktemp("noisy")
    source = np.random.default_rng(0)
    found = {}
    for step in range(0, 2100, 100):
        coarse = Image.fromarray(source.integers(0, 256, (68, 68, 3), dtype=np.uint8))
        found[step] = folder / f"{step:07d}.png"
        coarse.resize((274, 274), Image.Resampling.BICUBIC).save(found[step])
    return found


def test_as_many_moments_as_fit_the_budget(noisy: dict[int, Path]) -> None:
    budget = 3_000_000
    grids = fit_grids([noisy] * 20, budget)
    total = sum(len(image.uri) for of_run in grids.images for image in of_run.values())
    assert grids.bytes == total <= budget
    assert grids.moments[0] == 0
    assert grids.moments[-1] == 2000
    assert 5 <= len(grids.moments) < 21
    one_more = evenly(list(noisy), len(grids.moments) + 1)
    sizes = []
    for step in one_more:
        written = io.BytesIO()
        with Image.open(noisy[step]) as image:
            image.convert("RGB").save(written, "WEBP", quality=grids.coding.quality)
        sizes.append(len("data:image/webp;base64,") + 4 * -(-len(written.getvalue()) // 3))
    assert grids.coding.scale == 1
    assert 20 * sum(sizes) > budget


def test_with_more_runs_images_are_coarser_or_missing(noisy: dict[int, Path]) -> None:
    assert fit_grids([noisy], 8_000_000).coding == CODINGS[0]
    many = fit_grids([noisy] * 200, 3_000_000)
    assert many.coding != CODINGS[0]
    assert many.bytes <= 3_000_000
    too_many = fit_grids([noisy] * 200, 200_000)
    assert len(too_many.moments) == 1
    assert too_many.bytes <= 200_000
    with_images = [bool(of_run) for of_run in too_many.images]
    assert 0 < sum(with_images) < 200
    assert with_images == sorted(with_images, reverse=True)
    small = next(iter(too_many.images[0].values()))
    with Image.open(io.BytesIO(base64.b64decode(small.uri.partition(",")[2]))) as image:
        assert image.size == tuple(round(274 * too_many.coding.scale) for _ in range(2))
    assert (small.width, small.height) == (274, 274)  # shown as large as the others


@pytest.mark.slow
def test_a_report_of_twenty_runs_stays_under_15_mb(noisy: dict[int, Path], tmp_path: Path) -> None:
    for seed in range(5):
        for gen in ("alt", "kl", "rkl", "js"):
            run = write_run(tmp_path / f"{gen}-{seed}", f"loss.gen={gen}", f"seed={seed}", steps=2000, grids=0)
            for path in noisy.values():
                (run / "samples" / path.name).write_bytes(path.read_bytes())
    page = make_page(group_runs([read_run(folder) for folder in find_runs([tmp_path])]), "twenty", "gantrain report")
    size = len(page.encode())
    assert 9_000_000 < size < 15_000_000
    moments = re.search(r'data-moments="(.*?)"', page)
    assert moments is not None
    assert 6 <= len(json.loads(moments[1])) < 21
