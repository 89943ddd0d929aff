"""Runs gathered over seeds."""

import statistics
from pathlib import Path

import pytest

from gantrain.report.run_groups import common_config, group_runs, spread, varied_keys
from gantrain.run_io.metrics_jsonl import RunFolderError
from gantrain.run_io.run_reader import RunRecord, find_runs, read_run
from tests.report.made_records import record
from tests.written_runs import write_run


@pytest.fixture(scope="module")
def sweep(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sweep")
    for number, (gen, seed) in enumerate((gen, seed) for gen in ("alt", "kl") for seed in (2, 0)):
        write_run(folder / f"{number:03d}", f"loss.gen={gen}", f"seed={seed}", steps=20, every=10, job=number)
    return folder


def test_runs_of_one_configuration_are_one_variant_ordered_by_seed(sweep: Path) -> None:
    runs = [read_run(folder) for folder in find_runs([sweep])]
    assert varied_keys(runs) == ["loss.gen"]
    found = group_runs(runs)
    assert [(run_group.label, run_group.seeds) for run_group in found] == [
        ("loss.gen=alt", [0, 2]),
        ("loss.gen=kl", [0, 2]),
    ]
    common = common_config(runs)
    assert common["loss.disc"] == "gan"
    assert "loss.gen" not in common
    assert "seed" not in common


def test_a_moved_run_reads_the_same(sweep: Path, tmp_path: Path) -> None:
    before = read_run(sweep / "000")
    (sweep / "000").rename(tmp_path / "elsewhere")
    try:
        after = read_run(tmp_path / "elsewhere")
        steps = list(after.grids)
    finally:
        (tmp_path / "elsewhere").rename(sweep / "000")
    assert (after.rows, after.config, after.status) == (before.rows, before.config, before.status)
    assert after.series("cost/images") == [(10, 80.0), (20, 160.0)]
    assert [row["step"] for row in after.measured["modes_ema"]] == [10, 20]
    assert steps == [0, 6, 13, 20]


def test_spread_is_that_of_the_sample() -> None:
    found = spread([1.0, 2.0, 6.0])
    assert found is not None
    assert (found.mean, found.std, found.count) == (3.0, pytest.approx(7**0.5), 3)
    assert statistics.stdev([1.0, 2.0, 6.0]) == pytest.approx(7**0.5)
    alone = spread([4.0])
    assert alone is not None
    assert alone.std is None
    assert spread([]) is None


def test_a_place_without_runs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="no run lies in"):
        find_runs([tmp_path])
    with pytest.raises(RunFolderError, match="is no folder"):
        find_runs([tmp_path / "nowhere"])


def test_a_key_that_an_older_version_did_not_know_has_its_default() -> None:
    older = record("older", left_out=("loss.alpha_gen", "schedule.steps"), seed=1)
    assert varied_keys([older, record(loss__alpha_gen=None, schedule__steps=100_000)]) == []
    (run_group,) = group_runs([older, record(schedule__steps=100_000)])
    assert run_group.seeds == [0, 1]
    assert common_config([older, record(schedule__steps=100_000)])["schedule.steps"] == 100_000
    shorter = group_runs([older, record(schedule__steps=20)])
    assert [run_group.label for run_group in shorter] == ["schedule.steps=100000", "schedule.steps=20"]


def test_numbers_are_compared_by_value_and_not_by_kind() -> None:
    assert varied_keys([record(loss__alpha_gen=2), record(loss__alpha_gen=2.0)]) == []
    assert varied_keys([record(loss__alpha_gen=float("nan")), record(loss__alpha_gen=float("nan"))]) == []
    assert varied_keys([record(augment__p=1), record(augment__p=True)]) == ["augment.p"]
    assert varied_keys([record(data__means=[[0, 1]]), record(data__means=[[0.0, 1.0]])]) == []
    assert varied_keys([record(data__means=[[0, 1]]), record(data__means=[[0, 2]])]) == ["data.means"]


def test_auto_is_the_objective_it_stands_for() -> None:
    (run_group,) = group_runs([record(loss__gen="auto", seed=1), record(loss__gen="alt")])
    assert run_group.seeds == [0, 1]
    found = group_runs([record(loss__disc="hinge", loss__gen="auto"), record(loss__disc="gan", loss__gen="auto")])
    assert [run_group.values for run_group in found] == [
        {"loss.disc": "hinge", "loss.gen": "linear"},
        {"loss.disc": "gan", "loss.gen": "alt"},
    ]
    assert group_runs([record(loss__disc="nonesuch", loss__gen="auto")])[0].label == "made"


def test_labels_leave_out_orders_that_nothing_has() -> None:
    runs = [record(loss__gen="kl"), *(record(loss__gen="alpha", loss__alpha_gen=order) for order in (0.0, 0.5))]
    assert [run_group.label for run_group in group_runs(runs)] == [
        "loss.gen=kl",
        "loss.gen=alpha loss.alpha_gen=0",
        "loss.gen=alpha loss.alpha_gen=0.5",
    ]
    other = group_runs([record(augment__target=None), record(augment__target=0.6)])
    assert [run_group.label for run_group in other] == ["augment.target=null", "augment.target=0.6"]


def test_one_variant_is_called_by_its_name_without_the_seed() -> None:
    config = {"name": "digits-alt-seed7", "seed": 7, "loss.gen": "alt"}
    (run_group,) = group_runs([record(config=config), record(config=config | {"name": "digits-alt-seed8", "seed": 8})])
    assert run_group.label == "digits-alt"


def test_what_a_run_writes_down_makes_no_other_experiment() -> None:
    assert varied_keys([record(log__every_steps=1), record(log__every_steps=2)]) == []
    assert varied_keys([record(data__root="/a"), record(data__root="/b")]) == []


def test_folders_of_images_are_told_apart_by_their_place() -> None:
    def of(root: str) -> RunRecord:
        return record(data__name="folder", data__root=root)

    assert [run_group.label for run_group in group_runs([of("/cats"), of("/dogs")])] == [
        "data.root=/cats",
        "data.root=/dogs",
    ]
    assert len(group_runs([of("/cats"), of("/cats/"), of("/./cats")])) == 1


def test_a_refused_run_is_a_variant_by_what_was_asked() -> None:
    """A refused job's configuration is the one asked for, the impossible pair in it; or none at all."""
    runs = [record(seed=1), record("refused", loss__disc="hinge", loss__gen="kl", state="failed", step=0)]
    assert [run_group.label for run_group in group_runs(runs)] == [
        "loss.disc=gan loss.gen=alt",
        "loss.disc=hinge loss.gen=kl",
    ]
    asked = ("loss.gen=nonesuch", "seed=1")
    nothing = [record(config={}, overrides=asked), record(config={}, overrides=("loss.gen=nonesuch", "seed=2"))]
    found = group_runs([*runs, *nothing])
    assert [len(run_group.runs) for run_group in found] == [1, 1, 2]
    assert (found[2].label, found[2].seeds) == ("loss.gen=nonesuch", [1, 2])
    assert varied_keys([*runs, *nothing]) == ["loss.disc", "loss.gen"]
    assert common_config([*runs, *nothing])["data.name"] == "digits"
    assert group_runs(nothing)[0].label == "loss.gen=nonesuch"


def test_a_seed_that_was_run_again_counts_once() -> None:
    failed = record("failed", state="failed", step=12, time=3.0, seed=1)
    again = record("again", seed=1, time=2.0)
    halfway = record("halfway", state="running", step=10, seed=0, time=9.0)
    further = record("further", state="interrupted", step=11, seed=0, time=1.0)
    (run_group,) = group_runs([again, failed, further, halfway])
    assert run_group.seeds == [0, 0, 1, 1]
    assert [run.name for run in run_group.replicates] == ["further", "again"]
    (twice,) = group_runs([record("later", time=2.0), record("earlier", time=1.0)])
    assert [run.name for run in twice.replicates] == ["later"]
    assert group_runs([record(left_out=("seed",))])[0].seeds == [0]
