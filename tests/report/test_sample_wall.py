"""The wall of sample grids: which image is shown where, and how many bytes they take."""

import base64
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from gantrain.report.run_table import group_runs
from gantrain.report.sample_wall import WallPlan, latents_note, make_sample_wall, plan_wall
from gantrain.run_io.run_reader import RunRecord
from tests.report.made_records import record


class Wall(HTMLParser):
    """The figures of the markup: name, seed, hidden, ended, note, words, image and frames; headings by kind."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.figures: list[dict[str, Any]] = []
        self.headings: dict[str, list[str]] = {"wall-row": [], "wall-column": []}
        self.moments: list[int] = []
        self._into: str | None = None
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = dict(attributes)
        kind = given.get("class") or ""
        self._into = None
        if "data-moments" in given:
            self.moments = json.loads(str(given["data-moments"]))
        if tag == "figure":
            seed = given.get("data-seed")
            self.figures.append({"seed": seed, "hidden": "hidden" in given, "ended": "wall-ended" in kind})
        elif tag == "img" and self.figures:
            self.figures[-1].setdefault("image", given.get("src"))
        elif kind in self.headings:
            self.headings[kind].append("")
            self._into = kind
        elif kind in ("wall-name", "wall-note", "wall-none"):
            self._into = kind.removeprefix("wall-")
        elif tag == "script":
            self._into = "frames"

    def handle_endtag(self, tag: str) -> None:
        self._into = None

    def handle_data(self, data: str) -> None:
        if self._into in self.headings:
            self.headings[self._into][-1] += data
        elif self._into:
            self.figures[-1][self._into] = self.figures[-1].get(self._into, "") + data

    @property
    def grids(self) -> dict[str, dict[str, Any]]:
        """The figures with generated samples, by name; `shown` is the mean color at every moment."""
        found = {}
        for figure in self.figures:
            if "frames" in figure:
                frames = json.loads(figure["frames"])
                uris = [*frames["images"], figure["image"]]
                colors = [mean_color(uris[place]) for place in frames["frames"]]
                name = figure["name"] if figure["seed"] is None else f"{figure['name']}/{figure['seed']}"
                found[name] = {**figure, **frames, "shown": colors}
        return found


def mean_color(uri: str) -> tuple[float, ...]:
    kind, _, content = uri.partition(",")
    assert kind == "data:image/webp;base64"
    with Image.open(io.BytesIO(base64.b64decode(content))) as image:
        return tuple(np.asarray(image.convert("RGB"), dtype=float).mean(axis=(0, 1)))


def paint(run: Path, red: int, steps: dict[int, int], size: int = 64) -> None:
    """Replaces the run's grids: at each step an image of this red and the given green."""
    (run / "samples").mkdir(parents=True, exist_ok=True)
    for old in (run / "samples").glob("*.png"):
        old.unlink()
    for step, green in steps.items():
        Image.new("RGB", (size, size), (red, green, 128)).save(run / "samples" / f"{step:07d}.png")


GREENS = {0: 0, 250: 80, 500: 160, 750: 200, 1000: 240}


def painted(folder: Path, red: int = 0, steps: dict[int, int] | None = None, **more: Any) -> RunRecord:
    """A run with these grids, by default GREENS; it has done 1000 steps unless `step` says otherwise."""
    paint(folder, red, GREENS if steps is None else steps)
    return record(str(folder), **{"step": 1000, **more})


def wall_of(*runs: RunRecord, **options: Any) -> Wall:
    section = make_sample_wall(group_runs(runs), **options)
    assert section is not None
    return Wall(section.html)


def plan_of(*runs: RunRecord) -> WallPlan:
    return plan_wall(group_runs(runs).groups)


def make_sweep(folder: Path) -> list[RunRecord]:
    """alt and kl with two seeds each, and a red for each run; kl's second seed failed at step 600."""
    runs = []
    for place, (gen, seed) in enumerate([("alt", 0), ("alt", 1), ("kl", 0), ("kl", 1)]):
        failed = place == 3
        steps = {step: green for step, green in GREENS.items() if not failed or step <= 500}
        end = {"state": "failed", "step": 600, "reason": "the loss is <b>not finite</b>"} if failed else {}
        runs.append(painted(folder / str(place), 60 * place, steps, loss__gen=gen, seed=seed, **end))
    return runs


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> list[RunRecord]:
    return make_sweep(tmp_path_factory.mktemp("sweep"))


def test_every_run_shows_its_own_grid_of_the_moment(sweep: list[RunRecord]) -> None:
    wall = wall_of(*sweep)
    assert wall.moments == list(GREENS)
    names = [f"loss.gen={gen} seed={seed}" for gen in ("alt", "kl") for seed in (0, 1)]
    assert set(wall.grids) == set(names)
    for place, name in enumerate(names):
        greens = list(GREENS.values()) if place < 3 else [0, 80, 160, 160, 160]
        expected = [(60 * place, green, 128) for green in greens]
        np.testing.assert_allclose(wall.grids[name]["shown"], expected, atol=4)
    assert wall.headings == {"wall-row": ["seed=0", "seed=1"], "wall-column": ["loss.gen=alt", "loss.gen=kl"]}


def test_a_run_that_ended_early_shows_its_last_grid_with_a_note(sweep: list[RunRecord]) -> None:
    grids = wall_of(*sweep).grids
    failed, finished = grids["loss.gen=kl seed=1"], grids["loss.gen=kl seed=0"]
    note = "failed at step 600; its last grid, step 500"
    assert failed["notes"] == ["", "", "", note, note]
    assert failed["ended"] == [False, False, False, True, True]
    assert finished["notes"] == [""] * 5
    assert not any(finished["ended"])


def test_the_nearest_step_is_shown_and_named_if_it_differs(sweep: list[RunRecord], tmp_path: Path) -> None:
    wall = wall_of(sweep[0], painted(tmp_path, 250, {0: 0, 400: 100, 1000: 240}, loss__gen="rkl"))
    assert wall.moments == [0, 250, 400, 500, 750, 1000]
    rkl, alt = (next(grid for name, grid in wall.grids.items() if gen in name) for gen in ("rkl", "alt"))
    np.testing.assert_allclose([color[1] for color in rkl["shown"]], [0, 100, 100, 100, 240, 240], atol=4)
    assert rkl["notes"] == ["", "step 400", "", "step 400", "step 1,000", ""]
    np.testing.assert_allclose([color[1] for color in alt["shown"]], [0, 80, 160, 160, 200, 240], atol=4)
    assert alt["notes"] == ["", "", "step 500", "", "", ""]


def test_two_keys_make_rows_and_columns_with_a_choice_of_seed(tmp_path: Path) -> None:
    pairs = [(disc, gen) for disc in ("gan", "js") for gen in ("alt", "kl")]
    runs = [
        painted(tmp_path / f"{disc}{gen}{seed}", loss__disc=disc, loss__gen=gen, seed=seed)
        for disc, gen in pairs
        for seed in ((7,) if (disc, gen) == ("js", "kl") else (3, 7))
    ]
    wall = wall_of(*runs)
    assert wall.headings == {
        "wall-row": ["loss.disc=gan", "loss.disc=js"],
        "wall-column": ["loss.gen=alt", "loss.gen=kl"],
    }
    shown = [(figure["name"], figure["seed"]) for figure in wall.figures if not figure["hidden"]]
    assert shown == [(f"loss.disc={disc} loss.gen={gen}", "7") for disc, gen in pairs]
    assert [figure["none"] for figure in wall.figures if "none" in figure] == ["seed 3 not run"]


def test_few_pairs_and_many_groups_wrap() -> None:
    plan = plan_of(
        *(
            record(disc, loss__disc=disc, loss__gen=gen)
            for disc, gen in (("gan", "alt"), ("hinge", "linear"), ("js", "js"))
        )
    )
    assert (plan.rows, plan.columns, plan.seeds) == ((), (), ())
    assert plan.places[1].name == "loss.disc=hinge loss.gen=linear"
    widths = range(10, 17)
    plan = plan_of(*(record(str(width), model__width=width, seed=seed) for width in widths for seed in (5, 2)))
    assert (plan.rows, plan.columns, plan.seeds, plan.seed) == ((), (), (2, 5), 2)
    assert [(p.name, p.seed) for p in plan.places] == [(f"model.width={w}", seed) for w in widths for seed in (2, 5)]


@pytest.mark.parametrize(("seed", "first"), [(0, 0), (9, 9)])
def test_the_seed_of_most_groups_is_shown_first(seed: int, first: int) -> None:
    runs = [record(model__width=width, seed=s) for width, s in ((1, 0), (1, 4), (2, 4), (3, 4), (3, 0))]
    assert plan_of(*(record(model__width=width, seed=seed) for width in range(10, 17)), *runs).seed == first


def test_seeds_of_one_group_are_side_by_side() -> None:
    plan = plan_of(record(seed=1), record(seed=0))
    assert [(place.name, place.seed) for place in plan.places] == [("seed=0", None), ("seed=1", None)]


def test_the_note_says_when_z_differ() -> None:
    runs = [record(seed=0, model__latent_dim=128), record(seed=1, model__latent_dim=9)]
    assert "every image." in latents_note(runs[:1])
    assert "of the same seed" in latents_note(runs)
    assert "model.latent_dim" in latents_note(runs)


def test_a_reason_is_escaped_and_shown_for_a_run_without_grids(sweep: list[RunRecord], tmp_path: Path) -> None:
    failed = painted(tmp_path, steps={}, loss__gen="kl", state="failed", reason="not <i>finite</i>")
    section = make_sample_wall(group_runs([sweep[0], failed]))
    assert section is not None
    assert "<i>" not in section.html
    notes = [figure["none"] for figure in Wall(section.html).figures if "none" in figure]
    assert notes == ["failed, no grid: not <i>finite</i>"]
    assert make_sample_wall(group_runs([failed])) is None


def test_an_incomplete_grid_is_left_out(tmp_path: Path) -> None:
    run = painted(tmp_path, 0, {0: 10, 10: 200, 20: 100}, state="running", step=20)
    cut = tmp_path / "samples" / "0000020.png"
    cut.write_bytes(cut.read_bytes()[:-30])
    (grid,) = wall_of(run).grids.values()
    np.testing.assert_allclose([color[1] for color in grid["shown"]], [10, 200], atol=4)


def test_a_moved_folder_gives_the_same_wall(sweep: list[RunRecord], tmp_path: Path) -> None:
    before, after = (make_sample_wall(group_runs(runs)) for runs in (sweep, make_sweep(tmp_path / "moved")))
    assert before is not None
    assert after == before
    assert str(sweep[0].folder.parent) not in before.html


def test_the_embedded_images_keep_to_the_budget(sweep: list[RunRecord]) -> None:
    section = make_sample_wall(group_runs(sweep), budget=1_500)
    assert section is not None
    embedded = sum(map(len, re.findall(r"data:image/webp;base64,[A-Za-z0-9+/=]+", section.html)))
    assert 500 < embedded <= 1_500
    assert "fewer than the runs have" in section.html
