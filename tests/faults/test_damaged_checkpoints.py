"""A last.pt that is damaged or gone costs the steps since the one before it, and nothing else."""

from pathlib import Path

import pytest
import torch

from gantrain import builders
from gantrain.files import UnreadableFileError, load_safely, save_atomically
from gantrain.logs.rows import read_rows
from gantrain.training.checkpoint import LAST, PREVIOUS, CheckpointError, load_checkpoint, load_newest
from tests.conftest import TINY, compose
from tests.faults.damages import DAMAGES, truncate
from tests.sweeps.test_sweep import figures_of

WORDS = (*TINY, "metrics=none", "log.checkpoint_every_steps=2", "log.every_steps=1")


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    builders.run(compose(*WORDS, "schedule.steps=9"), folder)
    return folder


@pytest.mark.parametrize("name", DAMAGES)
def test_a_run_goes_on_from_the_checkpoint_before(
    name: str, undisturbed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    builders.run(compose(*WORDS, "schedule.steps=6", "log.diagnostics_every_steps=50"), run)
    assert (load_checkpoint(run / LAST)["step"], load_checkpoint(run / PREVIOUS)["step"]) == (6, 4)
    DAMAGES[name](run / LAST, len(name))
    damaged = (run / LAST).read_bytes() if (run / LAST).exists() else None
    config, state = builders.resumed_config(run, {"schedule.steps": 9})
    assert "Going on from previous.pt, step 4" in capsys.readouterr().err
    assert (run / LAST).exists() == (damaged is not None), "reading changes nothing"
    assert builders.run(config, run, state).step == 9
    rows = [row["step"] for row in read_rows(run / "metrics.jsonl") if row["kind"] == "train"]
    assert rows == list(range(1, 10)), "each step once"
    assert figures_of(run) == figures_of(undisturbed)
    states = [load_checkpoint(folder / LAST) for folder in (run, undisturbed)]
    for network in ("generator", "discriminator", "ema"):
        assert all(torch.equal(value, states[1][network][key]) for key, value in states[0][network].items())
    load_checkpoint(run / PREVIOUS)  # never the damaged one
    if damaged is not None:
        assert (run / "last.pt.damaged").read_bytes() == damaged


def test_where_both_are_damaged_the_error_names_the_way_out(tmp_path: Path) -> None:
    builders.run(compose(*WORDS, "schedule.steps=4"), tmp_path / "run")
    for name in (LAST, PREVIOUS):
        truncate(tmp_path / "run" / name, 1)
    with pytest.raises(CheckpointError, match=r"last.pt' cannot be read as a checkpoint .*; copy best.pt"):
        load_newest(tmp_path / "run")


def test_every_flipped_bit_of_a_tensor_is_noticed(tmp_path: Path) -> None:
    """torch.load alone would take it: its reader compares no checksums."""
    path = tmp_path / "file.pt"
    save_atomically({"x": torch.ones(1000)}, path)
    whole = path.read_bytes()
    place = whole.index(torch.ones(1000).numpy().tobytes())
    for offset in range(0, 4000, 97):
        broken = bytearray(whole)
        broken[place + offset] ^= 0x10
        path.write_bytes(broken)
        with pytest.raises(UnreadableFileError, match="checksum"):
            load_safely(path)
    path.write_bytes(whole)
    assert torch.equal(load_safely(path)["x"], torch.ones(1000))


def test_one_of_both_is_whole_at_every_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever rename a kill comes before."""
    import os

    path, kept = tmp_path / LAST, tmp_path / PREVIOUS
    save_atomically({"step": 1}, path, kept=kept)
    save_atomically({"step": 2}, path, kept=kept)
    replace = os.replace
    for survived in range(2):
        left = [survived]

        def killed(source: Path | str, target: Path | str, left: list[int] = left) -> None:
            if not left[0]:
                raise KeyboardInterrupt
            left[0] -= 1
            replace(source, target)

        monkeypatch.setattr(os, "replace", killed)
        with pytest.raises(KeyboardInterrupt):
            save_atomically({"step": 3}, path, kept=kept)
        assert load_safely(path) == {"step": 2}
        assert load_safely(kept)["step"] in (1, 2)
    monkeypatch.setattr(os, "replace", replace)
    save_atomically({"step": 3}, path, kept=kept)
    assert (load_safely(path)["step"], load_safely(kept)["step"]) == (3, 2)
    assert sorted(p.name for p in tmp_path.iterdir()) == [LAST, PREVIOUS]
