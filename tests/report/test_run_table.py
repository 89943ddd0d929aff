"""Runs grouped over their seeds."""

import dataclasses
from pathlib import Path

import pytest

from gantrain.report.formatting import SeedMean
from gantrain.report.run_groups import RunGroup, common_config
from gantrain.report.run_table import group_runs
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


def test_runs_of_one_configuration_are_one_group_ordered_by_seed(sweep: Path) -> None:
    runs = [read_run(folder) for folder in find_runs([sweep])]
    assert group_runs(runs).varied == ["loss.gen"]
    found = group_runs(runs).groups
    assert [(group.label, group.seeds) for group in found] == [
        ("loss.gen=alt", [0, 2]),
        ("loss.gen=kl", [0, 2]),
    ]
    common = common_config(runs)
    assert common["loss.disc"] == "gan"
    assert "loss.gen" not in common
    assert "seed" not in common


def test_a_moved_run_is_read_unchanged(sweep: Path, tmp_path: Path) -> None:
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


def test_means_over_seeds_use_finished_runs_and_the_first_network() -> None:
    fids = {0: 30.0, 1: 34.0, 2: 1.0}
    runs = [
        record(
            str(seed), seed=seed, measured={"fid": {10: fid + 5, 20: fid}}, state="pruned" if seed == 2 else "finished"
        )
        for seed, fid in fids.items()
    ]
    table = group_runs(runs)
    found = table.over_seeds("fid", "best")[0]
    assert (found.mean, found.std, found.count) == (32.0, pytest.approx(8**0.5), 2)
    assert table.by_seed("fid", "best") == {0: {0: 30.0, 1: 34.0}}
    assert table.by_seed("fid", "best", "replicate") == {0: fids}
    assert group_runs(runs[2:]).over_seeds("fid", "best")[0] == SeedMean(1.0, None, 1)
    other = record("raw", measured={"fid": {20: 9.0}})
    raw = [{**row, "value": 8.0, "protocol": {**row["protocol"], "network": "raw"}} for row in other.rows]
    both = group_runs(
        [
            dataclasses.replace(
                other, rows=(*other.rows, *raw), config={**other.config, "metrics.networks": ["raw", "ema"]}
            )
        ]
    )
    assert both.over_seeds("fid", "last")[0].mean == 8.0
    assert both.over_seeds("fid_ema", "last")[0].mean == 9.0


def test_a_folder_without_runs_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunFolderError, match="no run in"):
        find_runs([tmp_path])
    with pytest.raises(RunFolderError, match="is not a folder"):
        find_runs([tmp_path / "nowhere"])


def varied_keys(runs: list[RunRecord]) -> list[str]:
    return group_runs(runs).varied


def groups_of(*runs: RunRecord) -> tuple[RunGroup, ...]:
    return group_runs(runs).groups


def test_values_are_compared_by_value_not_by_type() -> None:
    assert varied_keys([record(loss__alpha_gen=2), record(loss__alpha_gen=2.0)]) == []
    assert varied_keys([record(loss__alpha_gen=float("nan")), record(loss__alpha_gen=float("nan"))]) == []
    assert varied_keys([record(augment__p=1), record(augment__p=True)]) == ["augment.p"]
    assert varied_keys([record(data__means=[[0, 1]]), record(data__means=[[0.0, 1.0]])]) == []
    assert varied_keys([record(data__means=[[0, 1]]), record(data__means=[[0, 2]])]) == ["data.means"]


def test_auto_is_the_objective_it_selects() -> None:
    (group,) = groups_of(*[record(loss__gen="auto", seed=1), record(loss__gen="alt")])
    assert group.seeds == [0, 1]
    found = groups_of(*[record(loss__disc="hinge", loss__gen="auto"), record(loss__disc="gan", loss__gen="auto")])
    assert [group.values for group in found] == [
        {"loss.disc": "hinge", "loss.gen": "linear"},
        {"loss.disc": "gan", "loss.gen": "alt"},
    ]
    assert groups_of(record(loss__disc="nonesuch", loss__gen="auto"))[0].label == "made"


def test_labels_leave_out_orders_that_are_null() -> None:
    runs = [record(loss__gen="kl"), *(record(loss__gen="alpha", loss__alpha_gen=order) for order in (0.0, 0.5))]
    assert [group.label for group in group_runs(runs).groups] == [
        "loss.gen=kl",
        "loss.gen=alpha loss.alpha_gen=0",
        "loss.gen=alpha loss.alpha_gen=0.5",
    ]
    other = groups_of(*[record(augment__target=None), record(augment__target=0.6)])
    assert [group.label for group in other] == ["augment.target=null", "augment.target=0.6"]


def test_a_single_group_is_labeled_by_its_name_without_the_seed() -> None:
    config = {"name": "digits-alt-seed7", "seed": 7, "loss.gen": "alt"}
    (group,) = groups_of(*[record(config=config), record(config=config | {"name": "digits-alt-seed8", "seed": 8})])
    assert group.label == "digits-alt"


def test_logging_and_paths_do_not_separate_groups() -> None:
    assert varied_keys([record(log__every_steps=1), record(log__every_steps=2)]) == []
    assert varied_keys([record(data__root="/a"), record(data__root="/b")]) == []


def test_image_folders_are_grouped_by_path() -> None:
    def of(root: str) -> RunRecord:
        return record(data__name="folder", data__root=root)

    assert [group.label for group in groups_of(of("/cats"), of("/dogs"))] == [
        "data.root=/cats",
        "data.root=/dogs",
    ]
    assert len(groups_of(of("/cats"), of("/cats/"), of("/./cats"))) == 1


def test_a_refused_run_is_grouped_by_its_overrides() -> None:
    """A refused job has the configuration that was requested, or none at all."""
    runs = [record(seed=1), record("refused", loss__disc="hinge", loss__gen="kl", state="failed", step=0)]
    assert [group.label for group in group_runs(runs).groups] == [
        "loss.disc=gan loss.gen=alt",
        "loss.disc=hinge loss.gen=kl",
    ]
    asked = ("loss.gen=nonesuch", "seed=1")
    nothing = [record(config={}, overrides=asked), record(config={}, overrides=("loss.gen=nonesuch", "seed=2"))]
    found = groups_of(*[*runs, *nothing])
    assert [len(group.runs) for group in found] == [1, 1, 2]
    assert (found[2].label, found[2].seeds) == ("loss.gen=nonesuch", [1, 2])
    assert varied_keys([*runs, *nothing]) == ["loss.disc", "loss.gen"]
    assert common_config([*runs, *nothing])["data.name"] == "digits"
    assert groups_of(*nothing)[0].label == "loss.gen=nonesuch"


def test_a_repeated_seed_counts_once() -> None:
    failed = record("failed", state="failed", step=12, time=3.0, seed=1)
    again = record("again", seed=1, time=2.0)
    halfway = record("halfway", state="running", step=10, seed=0, time=9.0)
    further = record("further", state="interrupted", step=11, seed=0, time=1.0)
    (group,) = groups_of(*[again, failed, further, halfway])
    assert group.seeds == [0, 0, 1, 1]
    assert [run.name for run in group.replicates] == ["further", "again"]
    (twice,) = groups_of(*[record("later", time=2.0), record("earlier", time=1.0)])
    assert [run.name for run in twice.replicates] == ["later"]
    assert groups_of(record(left_out=("seed",)))[0].seeds == [0]
