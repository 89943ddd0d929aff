"""Runs gathered over seeds."""

import statistics
from pathlib import Path

import pytest

from gantrain.logs.records import find_runs, read_run
from gantrain.logs.run_folder import RunFolderError
from gantrain.report.variants import common_config, gather, spread, varied_keys
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
    found = gather(runs)
    assert [(variant.label, variant.seeds) for variant in found] == [("loss.gen=alt", [0, 2]), ("loss.gen=kl", [0, 2])]
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
