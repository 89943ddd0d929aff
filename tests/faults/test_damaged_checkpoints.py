"""A damaged or missing last.pt costs the steps since the one before it; other checkpoints are refused clearly."""

import logging
import os
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from gantrain import builders
from gantrain.commands.trained import load_run
from gantrain.errors import GantrainError
from gantrain.system.atomic_io import UnreadableFileError, load_safely, save_atomically
from gantrain.system.error_messages import describe_error
from gantrain.training.checkpoint import BEST, LAST, PREVIOUS, CheckpointError, load_checkpoint, load_newest
from tests.conftest import TINY, compose
from tests.faults.damages import DAMAGES, truncate
from tests.faults.payloads import PAYLOADS
from tests.same_runs import assert_same, rows_without_times
from tests.training.test_runs import resume, trained_state

WORDS = (*TINY, "metrics=none", "log.checkpoint_every_steps=2", "log.every_steps=1")
Change = Callable[[dict[str, Any]], object]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    builders.run(compose(*WORDS, "schedule.steps=9"), folder)
    return folder


@pytest.fixture(scope="module")
def short(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("short") / "run"
    builders.run(compose(*WORDS, "schedule.steps=6"), folder)
    return folder


@pytest.mark.parametrize("name", DAMAGES)
def test_a_run_resumes_from_the_previous_checkpoint(
    name: str, short: Path, undisturbed: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run = tmp_path / "run"
    shutil.copytree(short, run)
    DAMAGES[name](run / LAST, len(name))
    damaged = (run / LAST).read_bytes() if (run / LAST).exists() else None
    with caplog.at_level(logging.WARNING):
        config, state = builders.resumed_config(run, {"schedule.steps": 9})
    assert "Resuming from previous.pt, step 4" in caplog.text
    assert (run / LAST).exists() == (damaged is not None), "reading changes nothing"
    builders.run(config, run, state)
    assert rows_without_times(run) == rows_without_times(undisturbed)
    assert_same(trained_state(run), trained_state(undisturbed))
    load_checkpoint(run / PREVIOUS)  # never the damaged one
    if damaged is not None:
        assert (run / "last.pt.damaged").read_bytes() == damaged


def test_if_both_checkpoints_are_damaged_the_error_says_what_to_do(short: Path, tmp_path: Path) -> None:
    shutil.copytree(short, tmp_path / "run")
    for name in (LAST, PREVIOUS):
        truncate(tmp_path / "run" / name, 1)
    with pytest.raises(CheckpointError, match=r"last.pt' cannot be read as a checkpoint .*; copy best.pt"):
        load_newest(tmp_path / "run")
    shutil.copy(tmp_path / "run" / LAST, tmp_path / "run" / BEST)
    with pytest.raises(CheckpointError, match=r"best.pt' cannot be read as a checkpoint"):
        load_run(tmp_path / "run", checkpoint="best")


def test_any_damaged_byte_is_refused_or_harmless(short: Path, tmp_path: Path) -> None:
    """torch.load itself returns tensors with flipped bits, since it compares no checksums."""
    complete, path = (short / LAST).read_bytes(), tmp_path / LAST
    wanted, chosen = load_checkpoint(short / LAST), random.Random(0)
    places = [chosen.randrange(len(complete)) for _ in range(150)] + [len(complete) - k for k in range(1, 60, 3)]
    refused = 0
    for place in places:
        broken = bytearray(complete)
        broken[place] ^= 1 << chosen.randrange(8)
        path.write_bytes(broken if chosen.random() < 0.7 else broken[:place])
        try:
            found = load_checkpoint(path)
        except CheckpointError:
            refused += 1
        else:
            assert_same(found, wanted)
    assert refused > len(places) / 2


def test_every_flipped_bit_of_a_tensor_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "file.pt"
    save_atomically({"x": torch.ones(1000)}, path)
    complete = path.read_bytes()
    place = complete.index(torch.ones(1000).numpy().tobytes())
    for offset in range(0, 4000, 97):
        broken = bytearray(complete)
        broken[place + offset] ^= 0x10
        path.write_bytes(broken)
        with pytest.raises(UnreadableFileError, match="checksum"):
            load_safely(path)
    path.write_bytes(complete)
    assert torch.equal(load_safely(path)["x"], torch.ones(1000))


def test_one_of_both_files_is_complete_at_every_moment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whichever rename a kill precedes."""
    path, previous = tmp_path / LAST, tmp_path / PREVIOUS
    for step in (1, 2):
        save_atomically({"step": step}, path, previous=previous)
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
            save_atomically({"step": 3}, path, previous=previous)
        assert load_safely(path) == {"step": 2}
        assert load_safely(previous)["step"] in (1, 2)
    monkeypatch.setattr(os, "replace", replace)
    save_atomically({"step": 3}, path, previous=previous)
    assert (load_safely(path)["step"], load_safely(previous)["step"]) == (3, 2)
    assert sorted(p.name for p in tmp_path.iterdir()) == [LAST, PREVIOUS]


def replaced(section: str, key: str, value: Any) -> Change:
    return lambda state: state[section].update({key: value})


REFUSED: dict[str, tuple[Change, str]] = {
    "another format": (lambda state: state.update(format=99), "checkpoint format 99"),
    "no format": (lambda state: state.pop("format"), "checkpoint format None"),
    "no generator": (lambda state: state.pop("generator"), "incomplete checkpoint without generator"),
    "an unknown key": (replaced("config", "lr", 1), "does not accept (Key 'lr' not in 'Config'"),
    "a value out of range": (replaced("config", "seed", -1), "does not accept (seed=-1"),
    "weights of another width": (replaced("config", "model", {"width": 8}), "does not fit its configuration"),
}
REFUSED_ON_RESUME: dict[str, tuple[Change, str]] = {
    "no moments": (lambda state: state.pop("optimizer_g"), "does not fit its configuration ('optimizer_g')"),
    "moments of other shapes": (
        lambda state: state["optimizer_g"]["state"][0].update(exp_avg=torch.ones(7, 7)),
        "does not fit its configuration",
    ),
    "no state of the step": (lambda state: state["train_step"].clear(), "does not fit its configuration"),
}


@pytest.mark.parametrize("name", [*REFUSED, *REFUSED_ON_RESUME])
def test_a_checkpoint_that_does_not_fit_is_refused_in_one_message(name: str, undisturbed: Path, tmp_path: Path) -> None:
    change, words = (REFUSED | REFUSED_ON_RESUME)[name]
    state = load_safely(undisturbed / LAST)
    change(state)
    save_atomically(state, tmp_path / LAST)
    before = (tmp_path / LAST).read_bytes()
    readers: list[Callable[[], object]] = [lambda: resume(tmp_path, schedule__steps=12)]
    if name in REFUSED:
        readers.append(lambda: load_run(tmp_path))
    for read in readers:
        with pytest.raises(CheckpointError) as caught:
            read()
        code, message = describe_error(caught.value) or (0, "")
        assert code == 2
        assert words in message
        assert len(message) < 2000
    assert (tmp_path / LAST).read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == [LAST], "nothing is written before the checkpoint fits"


@pytest.mark.parametrize("legacy", [False, True])
def test_code_in_a_file_is_refused_and_not_run(legacy: bool, undisturbed: Path, tmp_path: Path) -> None:
    state, canary = load_safely(undisturbed / LAST), tmp_path / "canary"
    for kind in PAYLOADS:
        torch.save({**state, "bomb": kind(canary)}, tmp_path / LAST, _use_new_zipfile_serialization=not legacy)
        with pytest.raises(CheckpointError, match="cannot be read as a checkpoint"):
            load_checkpoint(tmp_path / LAST)
        with pytest.raises(UnreadableFileError):
            load_safely(tmp_path / LAST, legacy=True)
        assert not canary.exists(), kind


def test_a_checkpoint_without_a_newer_key_has_its_default(undisturbed: Path, tmp_path: Path) -> None:
    content = load_safely(undisturbed / LAST)
    del content["config"]["sweep"], content["config"]["schedule"]["early_every"]
    save_atomically(content, tmp_path / LAST)
    config, _ = builders.resumed_config(tmp_path, {"schedule.steps": 12})
    assert (config.schedule.steps, config.sweep) == (12, compose(*WORDS).sweep)
    with pytest.raises(GantrainError, match=r"schedule\.early_every: 0 in the run, 5 now"):
        builders.resumed_config(tmp_path, {"schedule.steps": 12, "schedule.early_every": 5})


def test_a_failed_write_keeps_the_old_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    save_atomically({"step": 1}, tmp_path / LAST)
    monkeypatch.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        save_atomically({"step": 2}, tmp_path / LAST)
    assert load_safely(tmp_path / LAST) == {"step": 1}
    assert [path.name for path in tmp_path.iterdir()] == [LAST]
