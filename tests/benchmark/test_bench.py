"""`python -m gantrain bench` as a user runs it."""

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from gantrain.benchmark import fid
from gantrain.benchmark.cells import FED, LOOPS, VARIANTS
from gantrain.benchmark.suite import BLOCKS
from gantrain.benchmark.targets import TARGETS
from gantrain.metrics.features import FEATURES, InceptionFeatures

Command = Callable[..., tuple[int, str]]


@pytest.mark.slow
def test_the_rehearsal_runs_every_cell_and_writes_both_files(
    gantrain: Callable[..., subprocess.CompletedProcess[str]], tmp_path: Path
) -> None:
    done = gantrain("bench", "size=rehearsal", "rounds=2", "out=found")
    assert done.returncode == 0, done.stderr
    document = json.loads((tmp_path / "found" / "bench.json").read_text())
    rows = document["rows"]
    assert {row["block"] for row in rows} == set(BLOCKS)
    broken = [row for row in rows if row["status"] != "ok" and not row["status"].startswith("not available: ")]
    assert not broken
    cells = {(row["block"], row["contest"], row["cell"]) for row in rows}
    for block, table in (("loops", LOOPS), ("endtoend", FED)):
        for contest in table["gpu"]:
            assert cells >= {(block, contest.name, cell) for cell in (*contest.peers, *contest.variants)}
    for row in rows:
        if row["block"] == "loops" and row["status"] == "ok":
            assert row["launches"] > 0
            assert row["share_of_floor"] > 0
            assert (row["against"] in row["ratios"]) == (row["cell"] != row["against"])
    assert [target["name"] for target in document["targets"]] == [target.name for target in TARGETS]
    assert document["machine"]["torch"] == torch.__version__
    page = (tmp_path / "found" / "bench.md").read_text()
    assert page.startswith(f"# Benchmark on {document['machine']['device']}\n")
    for row in rows:
        assert row["cell"] in page
    assert all(target.name in page for target in TARGETS)


def test_one_block_in_this_process(command: Command, tmp_path: Path) -> None:
    threads = torch.get_num_threads()
    code, _ = command("bench", "size=rehearsal", "blocks=ceilings", "rounds=1", "out=found")
    assert code == 0
    assert torch.get_num_threads() == threads
    document = json.loads((tmp_path / "found" / "bench.json").read_text())
    assert {row["block"] for row in document["rows"]} == {"ceilings"}
    assert {verdict["outcome"] for verdict in document["targets"]} == {"not run"}


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there(command: Command, tmp_path: Path) -> None:
    code, words = command("bench", "size=gpu", "out=found")
    assert code == 2
    assert "size=gpu needs a CUDA device" in words
    assert not (tmp_path / "found").exists()


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("size=tpu", "size='tpu' is not known"),
        ("blocks=loop", "blocks='loop' does not exist"),
        ("blocks=", "blocks="),
        ("rounds=0", "rounds=0 must lie"),
        ("minutes=0", "minutes=0 must lie"),
    ],
)
def test_bad_words(command: Command, word: str, told: str) -> None:
    code, words = command("bench", word)
    assert code == 2
    assert told in words


def test_nothing_is_overwritten(command: Command, tmp_path: Path) -> None:
    (tmp_path / "found").mkdir()
    (tmp_path / "found" / "mine").write_text("mine")
    code, words = command("bench", "size=rehearsal", "out=found")
    assert code == 2
    assert "nothing is overwritten" in words


def test_the_keys_of_every_variant_are_those_of_its_name() -> None:
    for name, overrides in VARIANTS.items():
        assert ("compiled graph" in name) == ("executor=compiled_graph" in overrides), name
        assert (", graph" in name) == ("executor=graph" in overrides), name
        assert ("bf16" in name) == ("precision=bf16" in overrides), name
        assert ("SN a step" in name) == ("model.sn_schedule=per_step" in overrides), name


def test_torch_fidelitys_distance_is_zero_of_a_set_with_itself_and_grows_with_a_shift() -> None:
    source = torch.Generator().manual_seed(0)
    x = torch.randn(200, 4, generator=source, dtype=torch.float64)
    assert fid.distance(fid.moments_of(x), fid.moments_of(x)) == pytest.approx(0, abs=1e-6)
    shifted = fid.distance(fid.moments_of(x), fid.moments_of(x + torch.tensor([3.0, 0, 4.0, 0])))
    assert shifted == pytest.approx(25, abs=1e-6)


@pytest.mark.slow
def test_without_weights_the_inception_has_random_ones(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(fid, "PACKAGE", "not_installed_anywhere")
    weights = fid._weights(tmp_path)
    assert weights.origin == "random weights"
    inception = InceptionFeatures(weights, batch_size=2, device=torch.device("cpu"))
    features = inception.of(torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8))[FEATURES]
    assert features.shape == (2, 2048)
    assert bool(features.isfinite().all())
