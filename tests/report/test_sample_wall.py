"""The wall of sample grids: which picture stands where, and how many bytes they are."""

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

from gantrain.report.run_groups import RunGroup
from gantrain.report.run_table import group_runs
from gantrain.report.sample_wall import latents_note, make_sample_wall, plan_wall
from gantrain.run_io.run_reader import RunRecord, find_runs, read_run
from gantrain.run_io.status import Status
from tests.written_runs import write_run


class Wall(HTMLParser):
    """The figures of the markup: name, seed, hidden, ended, note, words, picture and frames; headings by kind."""

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
            self.figures[-1].setdefault("picture", given.get("src"))
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
                uris = [*frames["pictures"], figure["picture"]]
                colors = [mean_color(uris[place]) for place in frames["frames"]]
                name = figure["name"] if figure["seed"] is None else f"{figure['name']}/{figure['seed']}"
                found[name] = {**figure, **frames, "shown": colors}
        return found


def mean_color(uri: str) -> tuple[float, ...]:
    kind, _, content = uri.partition(",")
    assert kind == "data:image/webp;base64"
    with Image.open(io.BytesIO(base64.b64decode(content))) as picture:
        return tuple(np.asarray(picture.convert("RGB"), dtype=float).mean(axis=(0, 1)))


def paint(run: Path, red: int, steps: dict[int, int], size: int = 64) -> None:
    """Replaces the run's grids: at each step a plain picture of this red and the green named."""
    for old in (run / "samples").glob("*.png"):
        old.unlink()
    for step, green in steps.items():
        Image.new("RGB", (size, size), (red, green, 128)).save(run / "samples" / f"{step:07d}.png")


def fail_at(run: Path, step: int) -> None:
    """As if the run had failed after this step."""
    status = json.loads((run / "status.json").read_text())
    (run / "status.json").write_text(json.dumps({**status, "state": "failed", "step": step}))
    rows = [json.loads(row) for row in (run / "metrics.jsonl").read_text().splitlines()]
    (run / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows if row["step"] <= step))


def wall_of(*places: Path, **options: Any) -> Wall:
    section = make_sample_wall(group_runs([read_run(folder) for folder in find_runs(places)]), **options)
    assert section is not None
    return Wall(section.html)


def groups_of(runs: list[RunRecord]) -> tuple[RunGroup, ...]:
    return group_runs(runs).groups


GREENS = {0: 0, 250: 80, 500: 160, 750: 200, 1000: 240}


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """alt and kl with two seeds each, and red by run_group and seed; kl's second seed failed at step 600."""
    folder = tmp_path_factory.mktemp("sweep")
    for place, (gen, seed) in enumerate([("alt", 0), ("alt", 1), ("kl", 0), ("kl", 1)]):
        failed = place == 3
        run = write_run(
            folder / f"{place:03d}",
            f"loss.gen={gen}",
            f"seed={seed}",
            steps=1000,
            every=500,
        )
        paint(run, 60 * place, {step: green for step, green in GREENS.items() if not failed or step <= 500})
        if failed:
            fail_at(run, 600)
            (run / "error.txt").write_text("the loss is <b>not finite</b>")
    return folder


def test_every_run_shows_its_own_grid_of_the_moment(sweep: Path) -> None:
    wall = wall_of(sweep)
    assert wall.moments == list(GREENS)
    names = [f"loss.gen={gen} seed={seed}" for gen in ("alt", "kl") for seed in (0, 1)]
    assert set(wall.grids) == set(names)
    for place, name in enumerate(names):
        greens = list(GREENS.values()) if place < 3 else [0, 80, 160, 160, 160]
        expected = [(60 * place, green, 128) for green in greens]
        np.testing.assert_allclose(wall.grids[name]["shown"], expected, atol=4)
    assert wall.headings == {"wall-row": ["seed=0", "seed=1"], "wall-column": ["loss.gen=alt", "loss.gen=kl"]}


def test_a_run_that_ended_early_shows_its_last_grid_and_says_so(sweep: Path) -> None:
    films = wall_of(sweep).grids
    failed = films["loss.gen=kl seed=1"]
    told = "failed at step 600; its last grid, step 500"
    assert failed["notes"] == ["", "", "", told, told]
    assert failed["ended"] == [False, False, False, True, True]
    whole = films["loss.gen=kl seed=0"]
    assert whole["notes"] == [""] * 5
    assert not any(whole["ended"])


def test_the_nearest_step_is_shown_and_named_where_it_is_another(sweep: Path, tmp_path: Path) -> None:
    other = write_run(tmp_path / "other", "loss.gen=rkl", steps=1000, every=500)
    paint(other, 250, {0: 0, 400: 100, 1000: 240})
    moments = [0, 250, 400, 500, 750, 1000]
    wall = wall_of(sweep / "000", other)
    assert wall.moments == moments
    rkl = next(film for name, film in wall.grids.items() if "rkl" in name)
    np.testing.assert_allclose([color[1] for color in rkl["shown"]], [0, 100, 100, 100, 240, 240], atol=4)
    assert rkl["notes"] == ["", "step 400", "", "step 400", "step 1,000", ""]
    alt = next(film for name, film in wall.grids.items() if "alt" in name)
    np.testing.assert_allclose([color[1] for color in alt["shown"]], [0, 80, 160, 160, 200, 240], atol=4)
    assert alt["notes"] == ["", "", "step 500", "", "", ""]


def test_two_keys_make_rows_and_columns_with_a_choice_of_seed(tmp_path: Path) -> None:
    for disc in ("gan", "js"):
        for gen in ("alt", "kl"):
            for seed in (3, 7) if (disc, gen) != ("js", "kl") else (7,):
                words = (f"loss.disc={disc}", f"loss.gen={gen}", f"seed={seed}")
                write_run(tmp_path / "-".join(words), *words, steps=20, every=10, grids=2)
    wall = wall_of(tmp_path)
    assert wall.headings == {
        "wall-row": ["loss.disc=gan", "loss.disc=js"],
        "wall-column": ["loss.gen=alt", "loss.gen=kl"],
    }
    shown = [(figure["name"], figure["seed"]) for figure in wall.figures if not figure["hidden"]]
    assert shown == [(f"loss.disc={disc} loss.gen={gen}", "7") for disc in ("gan", "js") for gen in ("alt", "kl")]
    absent = [figure["none"] for figure in wall.figures if "none" in figure]
    assert absent == ["seed 3 not run"]


def test_few_pairs_of_two_keys_wrap(tmp_path: Path) -> None:
    for number, words in enumerate((("gan", "alt"), ("hinge", "linear"), ("lsgan", "lsgan"))):
        write_run(
            tmp_path / str(number),
            *(f"loss.{k}={v}" for k, v in zip(("disc", "gen"), words, strict=True)),
            steps=20,
            every=10,
            grids=1,
        )
    plan = plan_wall(groups_of([read_run(folder) for folder in find_runs([tmp_path])]))
    assert (plan.rows, plan.columns, plan.seeds) == ((), (), ())
    assert [place.name for place in plan.places][1] == "loss.disc=hinge loss.gen=linear"


def record(**config: Any) -> RunRecord:
    status = Status(state="finished")
    return RunRecord(Path("run"), config, (), None, status, status.state, None, (), ())


def test_many_variants_wrap_with_a_choice_of_seed() -> None:
    widths = range(10, 17)
    plan = plan_wall(groups_of([record(width=width, seed=seed) for width in widths for seed in (5, 2)]))
    assert (plan.rows, plan.columns, plan.seeds, plan.seed) == ((), (), (2, 5), 2)
    assert [(place.name, place.seed) for place in plan.places] == [
        (f"width={width}", seed) for width in widths for seed in (2, 5)
    ]


def test_the_seed_that_most_variants_have_is_shown_first() -> None:
    runs = [record(width=width, seed=seed) for width, seed in ((1, 0), (1, 4), (2, 4), (3, 4), (3, 0))]
    plan = plan_wall(groups_of([record(width=width, seed=0) for width in range(10, 17)] + runs))
    assert plan.seed == 0
    assert plan_wall(groups_of([record(width=width, seed=9) for width in range(10, 17)] + runs)).seed == 9


def test_seeds_of_one_variant_stand_beside_each_other() -> None:
    plan = plan_wall(groups_of([record(width=4, seed=seed) for seed in (1, 0)]))
    assert [(place.name, place.seed) for place in plan.places] == [("seed=0", None), ("seed=1", None)]


def test_the_words_say_where_z_differ(tmp_path: Path) -> None:
    for number, words in enumerate((["seed=0"], ["seed=1", "model.latent_dim=9"])):
        write_run(tmp_path / str(number), *words, steps=20, every=10, grids=1)
    runs = [read_run(folder) for folder in find_runs([tmp_path])]
    assert "every image." in latents_note(runs[:1])
    words = latents_note(runs)
    assert "of the same seed" in words
    assert "model.latent_dim" in words


def test_a_reason_is_escaped_and_a_run_without_grids_has_words(tmp_path: Path) -> None:
    write_run(tmp_path / "0", "loss.gen=alt", steps=20, every=10, grids=1)
    run = write_run(tmp_path / "1", "loss.gen=kl", steps=20, every=10, grids=1, state="failed")
    paint(run, 0, {})
    (run / "error.txt").write_text("not <i>finite</i>")
    section = make_sample_wall(group_runs([read_run(folder) for folder in find_runs([tmp_path])]))
    assert section is not None
    assert "<i>" not in section.html
    assert [figure["none"] for figure in Wall(section.html).figures if "none" in figure] == [
        "failed, no grid: not <i>finite</i>"
    ]


def test_without_grids_there_is_no_wall(tmp_path: Path) -> None:
    run = write_run(tmp_path / "0", steps=20, every=10, grids=1)
    paint(run, 0, {})
    assert make_sample_wall(group_runs([read_run(run)])) is None


def test_a_grid_that_is_being_written_is_left_out(tmp_path: Path) -> None:
    run = write_run(tmp_path / "0", steps=20, every=10, grids=1, state="running")
    paint(run, 0, {0: 10, 10: 200, 20: 100})
    cut = run / "samples" / "0000020.png"
    cut.write_bytes(cut.read_bytes()[:-30])
    (film,) = wall_of(tmp_path).grids.values()
    np.testing.assert_allclose([color[1] for color in film["shown"]], [10, 200], atol=4)


def test_a_moved_folder_gives_the_same_wall(sweep: Path, tmp_path: Path) -> None:
    before = make_sample_wall(group_runs([read_run(folder) for folder in find_runs([sweep])]))
    moved = tmp_path / "moved"
    sweep.rename(moved)
    try:
        after = make_sample_wall(group_runs([read_run(folder) for folder in find_runs([moved])]))
    finally:
        moved.rename(sweep)
    assert after == before
    assert before is not None
    assert str(sweep) not in before.html


def test_the_whole_wall_keeps_to_the_budget(sweep: Path) -> None:
    runs = [read_run(folder) for folder in find_runs([sweep])]
    section = make_sample_wall(group_runs(runs), budget=1_500)
    assert section is not None
    embedded = sum(map(len, re.findall(r"data:image/webp;base64,[A-Za-z0-9+/=]+", section.html)))
    assert 500 < embedded <= 1_500
    assert "fewer than the runs have" in section.html
