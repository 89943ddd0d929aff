"""The map of generators by discriminators: its figures against those of the runs, and its marks."""

import json
import re
import statistics
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from gantrain.objectives import ObjectiveError, make_objective
from gantrain.report.markup import Section
from gantrain.report.matrix import make_matrix
from gantrain.report.run_table import group_runs
from gantrain.run_io.run_reader import find_runs, read_run
from tests.report.made_records import record
from tests.written_runs import write_run

Cells = dict[tuple[str, str], dict[str, str]]


class Map(HTMLParser):
    """The cells of each map by generator and discriminator: class, title, and text and background of each figure."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.maps: list[Cells] = []
        self.choices: dict[str, list[str]] = {}
        self._cell: dict[str, str] = {}
        self._figure = "words"
        self._menu: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        given = {key: value or "" for key, value in attributes}
        if tag == "table":
            self.maps.append({})
        elif tag == "td":
            self._cell, self._figure = {"class": given.get("class", ""), "title": given.get("title", "")}, "words"
            if "data-gen" in given:
                self.maps[-1][given["data-gen"], given["data-disc"]] = self._cell
        elif tag == "div" and "data-metric" in given and self._cell:
            self._figure = given["data-metric"]
            self._cell[f"{self._figure} style"] = given.get("style", "")
        elif tag == "select":
            self._menu = self.choices.setdefault(given["id"], [])
        elif tag == "option":
            self._menu.append(given["value"])

    def handle_endtag(self, tag: str) -> None:
        if tag == "td":
            self._cell = {}

    def handle_data(self, data: str) -> None:
        if self._cell and data.strip():
            self._cell[self._figure] = f"{self._cell.get(self._figure, '')} {data.strip()}".strip()


def section_of(place: Path) -> Section | None:
    return make_matrix(group_runs([read_run(folder) for folder in find_runs([place])]))


def map_of(place: Path) -> Map:
    section = section_of(place)
    assert section is not None
    return Map(section.html)


def lightness(style: str) -> float:
    found = re.search(r"rgb\((\d+),(\d+),(\d+)\)", style)
    assert found is not None, style
    return sum(weight * int(part) for weight, part in zip((0.2126, 0.7152, 0.0722), found.groups(), strict=True))


def write(folder: Path, *words: str, state: str = "finished", **last: float) -> Path:
    """A run whose figures end at these values, and stand 100 lower before."""

    def course(value: float) -> Callable[[int], float]:
        return lambda step: value if step == 20 else value - 100

    measured = {name: course(value) for name, value in last.items()}
    return write_run(folder, *words, steps=20, every=10, grids=0, measured=measured, state=state)


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweep")
    fids = {("gan", "alt"): (20.0, 23.0), ("gan", "kl"): (60.0, 70.0), ("js", "alt"): (30.0, 31.5)}
    for (disc, gen), of_pair in fids.items():
        for seed, fid in enumerate(of_pair):
            words = (f"loss.disc={disc}", f"loss.gen={gen}", f"seed={seed}")
            write(folder / "-".join(words), *words, fid=fid, coverage=1 - fid / 100)
    write(folder / "linear", "loss.disc=hinge", "loss.gen=linear", fid=40.0, coverage=0.6)
    broken = write(folder / "broken", "loss.disc=gan", "loss.gen=kl", "seed=2", state="failed", fid=999.0)
    (broken / "error.txt").write_text("step 7: the loss is not finite\nmore")
    return folder


def test_cells_hold_mean_and_spread_over_the_seeds_that_finished(sweep: Path) -> None:
    found = map_of(sweep)
    (cells,) = found.maps
    assert found.choices["matrix-metric"] == ["fid best", "fid last", "coverage best", "coverage last"]
    assert cells["alt", "gan"]["fid last"] == f"21.5 ± {statistics.stdev([20, 23]):.1f} 2 seeds"
    assert cells["alt", "js"]["fid last"] == f"30.8 ± {statistics.stdev([30, 31.5]):.1f} 2 seeds"
    assert cells["kl", "gan"]["fid last"] == f"65.0 ± {statistics.stdev([60, 70]):.1f} 2 seeds ✕ 1 failed"
    assert cells["kl", "gan"]["title"] == "step 7: the loss is not finite"
    assert cells["linear", "hinge"]["fid last"] == "40 1 seed"
    assert cells["alt", "gan"]["fid best"].startswith("-78.5 ± ")  # each a hundred lower before
    mean = statistics.fmean([0.8, 0.77])
    assert cells["alt", "gan"]["coverage last"].startswith(f"{mean:.3f} ± {statistics.stdev([0.8, 0.77]):.3f}")


def test_darker_is_better_whichever_way_the_figure_goes(sweep: Path) -> None:
    (cells,) = map_of(sweep).maps
    best_first = [("alt", "gan"), ("alt", "js"), ("linear", "hinge"), ("kl", "gan")]
    for figure in ("fid last", "coverage last"):  # coverage is 1 - FID / 100 in these runs
        light = [lightness(cells[pair][f"{figure} style"]) for pair in best_first]
        assert light == sorted(set(light)), figure
    assert "color:#fff" in cells["alt", "gan"]["fid last style"]
    assert "color:#000" in cells["kl", "gan"]["fid last style"]


def test_pairs_that_do_not_exist_say_why_and_others_that_they_were_not_run(sweep: Path) -> None:
    (cells,) = map_of(sweep).maps
    assert set(cells) == {(gen, disc) for gen in ("kl", "alt", "linear") for disc in ("gan", "js", "hinge")}
    kinds = {pair: cell["class"].split()[0] for pair, cell in cells.items()}
    assert kinds["kl", "js"] == "matrix-absent"
    assert cells["kl", "js"]["words"] == "not run"
    refused = {pair for pair, kind in kinds.items() if kind == "matrix-refused"}
    assert refused == {("kl", "hinge"), ("alt", "hinge"), ("linear", "gan"), ("linear", "js")}
    for gen, disc in refused:
        with pytest.raises(ObjectiveError) as error:
            make_objective(disc, gen)
        assert cells[gen, disc]["title"] == str(error.value)


def test_auto_stands_in_the_row_of_what_it_means(tmp_path: Path) -> None:
    write(tmp_path / "0", "loss.gen=auto", "seed=0", fid=10.0)
    write(tmp_path / "1", "loss.gen=alt", "seed=1", fid=14.0)
    write(tmp_path / "2", "loss.gen=alt", "seed=0", fid=10.0)  # that of auto again, which is no seed more
    assert section_of(tmp_path) is None
    write(tmp_path / "3", "loss.gen=kl", fid=30.0)
    (cells,) = map_of(tmp_path).maps
    assert set(cells) == {("alt", "gan"), ("kl", "gan")}
    assert cells["alt", "gan"]["fid last"] == "12.0 ± 2.8 2 seeds"


def test_orders_of_alpha_are_pairs_of_their_own(tmp_path: Path) -> None:
    for order in (0.3, 3.0):
        write(tmp_path / str(order), "loss.gen=alpha", f"loss.alpha_gen={order}", fid=10.0 * order)
    (cells,) = map_of(tmp_path).maps
    assert {pair: cell["fid last"] for pair, cell in cells.items()} == {
        ("alpha=0.3", "gan"): "3 1 seed",
        ("alpha=3", "gan"): "30 1 seed",
    }


def test_other_keys_have_a_map_for_each_combination_and_one_scale(tmp_path: Path) -> None:
    for rule, base in (("poole", 10.0), ("exact", 50.0)):
        for gen, more in (("kl", 0.0), ("js", 5.0)):
            write(tmp_path / f"{rule}-{gen}", f"loss.gen={gen}", f"loss.rule={rule}", fid=base + more)
    write(tmp_path / "alt", "loss.gen=alt", "loss.rule=poole", fid=30.0)
    found = map_of(tmp_path)
    assert len(found.choices["matrix-others"]) == len(found.maps) == 2
    section = section_of(tmp_path)
    assert section is not None
    labels = re.findall(r"<h3>(.*?)</h3>", section.html)
    of_rule = dict(zip(labels, found.maps, strict=True))
    assert {pair: cell["fid last"] for pair, cell in of_rule["loss.rule=poole"].items()} == {
        ("kl", "gan"): "10 1 seed",
        ("js", "gan"): "15 1 seed",
        ("alt", "gan"): "30 1 seed",
    }
    assert of_rule["loss.rule=exact"]["kl", "gan"]["fid last"] == "50 1 seed"
    assert "rule='exact' needs a divergence" in of_rule["loss.rule=exact"]["alt", "gan"]["title"]
    light = [lightness(of_rule[f"loss.rule={rule}"]["kl", "gan"]["fid last style"]) for rule in ("poole", "exact")]
    assert light[0] < light[1]


def test_refused_jobs_and_runs_that_all_failed_have_their_marks(tmp_path: Path) -> None:
    write(tmp_path / "0", "loss.disc=gan", "loss.gen=alt", fid=10.0)
    write(tmp_path / "1", "loss.disc=gan", "loss.gen=kl", state="failed", fid=20.0)
    job = tmp_path / "2"
    job.mkdir()
    tree = json.loads((tmp_path / "0" / "job.json").read_text())["config"]
    tree["loss"] |= {"disc": "hinge", "gen": "kl"}
    (job / "job.json").write_text(json.dumps({"job": 2, "overrides": [], "config": tree}))
    (job / "status.json").write_text(json.dumps({"state": "failed"}))
    (job / "error.txt").write_text("loss.gen='kl' does not work with disc='hinge'")
    (cells,) = map_of(tmp_path).maps
    assert cells["kl", "hinge"]["class"] == "matrix-refused"
    assert cells["kl", "gan"]["fid last"] == "✕ failed"
    assert cells["kl", "gan"]["fid last style"] == ""
    assert "matrix-trouble" in cells["kl", "gan"]["class"]


def test_one_pair_is_no_map(tmp_path: Path) -> None:
    for width in (4, 5):
        write(tmp_path / str(width), f"model.width={width}", fid=10.0)
    assert section_of(tmp_path) is None


def test_a_moved_folder_gives_the_same_map(sweep: Path, tmp_path: Path) -> None:
    before = section_of(sweep)
    sweep.rename(tmp_path / "moved")
    try:
        after = section_of(tmp_path / "moved")
    finally:
        (tmp_path / "moved").rename(sweep)
    assert before is not None
    assert after == before


def test_a_run_of_which_nothing_is_left_stands_in_no_pair() -> None:
    runs = [
        *(record(disc, loss__disc=disc, measured={"fid": {20: 30.0}}) for disc in ("gan", "js")),
        record("lost", config={}, overrides=("data=nonesuch",), state="failed", reason="it was lost"),
    ]
    section = make_matrix(group_runs(runs))
    assert section is not None
    (cells,) = Map(section.html).maps
    assert set(cells) == {("alt", "gan"), ("alt", "js")}
    assert "failed" not in cells["alt", "gan"]["fid last"]
    assert "it was lost" not in section.html
