"""A last.pt that is damaged or gone costs the steps since the one before it, and nothing else."""

import math
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from gantrain import builders
from gantrain.atomic_io import UnreadableFileError, load_safely, save_atomically
from gantrain.commands.trained import load_run
from gantrain.errors import GantrainError, describe_error
from gantrain.run_io.metrics_jsonl import RunFolderError, read_rows
from gantrain.training.checkpoint import LAST, PREVIOUS, CheckpointError, load_checkpoint, load_newest
from tests.conftest import TINY, compose
from tests.faults.damages import DAMAGES, truncate
from tests.faults.payloads import laughing
from tests.same_runs import figures_of


def as_bytes(packed: bytes) -> torch.Tensor:
    return torch.frombuffer(bytearray(packed), dtype=torch.uint8)


Change = Callable[[dict[str, Any]], object]
UNREADABLE = "the rows in the checkpoint cannot be read"
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


def first_of(state: dict[str, Any], network: str) -> str:
    """The name of the network's first weights."""
    return next(name for name, value in state[network].items() if value.is_floating_point())


def exchange(network: str, change: Callable[[torch.Tensor], torch.Tensor]) -> Change:
    def changed(state: dict[str, Any]) -> None:
        name = first_of(state, network)
        state[network][name] = change(state[network][name])

    return changed


def nested(levels: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for _ in range(levels):
        found = {"model": found}
    return found


HOSTILE: dict[str, tuple[Change, str]] = {
    "complex weights were cast": (exchange("ema", lambda w: w + 0j), "torch.complex64"),
    "float64 weights were cast": (exchange("ema", lambda w: w.double()), "torch.float64"),
    "weights of NaN were drawn from": (exchange("ema", lambda w: w * math.nan), "what is not finite"),
    "one infinite weight": (
        exchange("discriminator", lambda w: w.flatten().index_fill(0, torch.tensor(0), math.inf).view_as(w)),
        "not finite",
    ),
    "a size that no memory holds": (exchange("ema", lambda w: torch.zeros(1).expand(10**12)), "[1000000000000]"),
    "a network that is a list": (lambda state: state.update(ema=[1]), "ema missing or of the wrong kind"),
    "a format that is a tensor": (lambda state: state.update(format=torch.zeros(0)), "checkpoint format 'Tensor'"),
    "a format to come": (lambda state: state.update(format=99), "checkpoint format 99"),
    "a negative step": (lambda state: state.update(step=-1), "step missing or of the wrong kind"),
    "a step that is no number": (lambda state: state.update(step=True), "step missing or of the wrong kind"),
    "figures in words": (
        lambda state: state.update(metric_values={"fid": "low"}),
        "figures missing or of the wrong kind",
    ),
    "a best without its keys": (lambda state: state.update(best={"value": 1.0}), "best missing or of the wrong kind"),
    "classes that are numbers": (lambda state: state.update(classes=[1, 2]), "classes missing or of the wrong kind"),
    "a configuration nested without end": (lambda state: state.update(config=nested(200)), "config missing or"),
    "a configuration of a billion values": (
        lambda state: state["config"].update(name=laughing()),
        "config missing or of the wrong kind",
    ),
    "a configuration with a huge text": (
        lambda state: state["config"].update(name="x" * 10**6),
        "config missing or of the wrong kind",
    ),
    "a configuration out of range": (lambda state: state["config"].update(seed=-1), "does not take (seed=-1"),
    "a key that is none": (lambda state: state["config"].update(lr=1), "does not take (Key 'lr' not in 'Config'"),
    "a section that is a number": (lambda state: state["config"].update(schedule=3), "does not take"),
}
"""What came as a traceback or was believed, with what is said of it now."""

ON_RESUME: dict[str, tuple[Change, str]] = {
    "moments that were broadcast": (
        lambda state: state["optimizer_g"]["state"][0].update(exp_avg=torch.ones(1)),
        "exp_avg of parameter 0",
    ),
    "moments of NaN": (
        lambda state: state["optimizer_d"]["state"][0]["exp_avg_sq"].fill_(math.nan),
        "holds what is not finite",
    ),
    "an order with examples that are not there": (
        lambda state: state["batches"]["order"].fill_(10**9),
        "has not each of them once",
    ),
    "a place beyond the order": (lambda state: state["batches"].update(cursor=10**9), "the place in the order"),
    "a generator's state of three bytes": (
        lambda state: state["train_step"].update(latents=torch.zeros(3, dtype=torch.uint8)),
        "the state of a generator has not 3 bytes",
    ),
    "steps of the discriminator below 0": (
        lambda state: state["train_step"].update(d_updates=-1),
        "the discriminator's steps is no count",
    ),
    "a kept gradient of another network": (
        lambda state: state["diagnostics"].update(gradient=torch.ones(3)),
        "the gradient kept is torch.float32 [3]",
    ),
    "a doctor that has heard no numbers": (
        lambda state: state["doctor"].update(rows=[{"step": "x"}]),
        "doctor missing or of the wrong kind",
    ),
    "no moments": (lambda state: state.pop("optimizer_g"), "does not fit its configuration"),
}


def refusal(content: dict[str, Any], run: Path, use: Callable[[Path], object]) -> str:
    """What is said of a run with that last.pt, which stays as it is."""
    run.mkdir()
    save_atomically(content, run / LAST)
    whole = (run / LAST).read_bytes()
    with pytest.raises(CheckpointError) as caught:
        use(run)
    assert (run / LAST).read_bytes() == whole
    assert [path.name for path in run.iterdir()] == [LAST]
    told = describe_error(caught.value)
    assert told is not None
    assert told[0] == 2
    assert len(told[1]) <= 2000
    return told[1]


@pytest.mark.parametrize("name", HOSTILE)
def test_content_that_is_no_checkpoints_is_told_by_every_reader(name: str, undisturbed: Path, tmp_path: Path) -> None:
    change, words = HOSTILE[name]
    content = load_safely(undisturbed / LAST)
    change(content)
    assert words in refusal(content, tmp_path / "drawn", load_run)
    resumed = refusal(content, tmp_path / "resumed", go_on)
    assert words in resumed


@pytest.mark.parametrize("name", ON_RESUME)
def test_what_decides_the_steps_to_come_is_looked_at_before_the_first(
    name: str, undisturbed: Path, tmp_path: Path
) -> None:
    change, words = ON_RESUME[name]
    content = load_safely(undisturbed / LAST)
    change(content)
    assert words in refusal(content, tmp_path / "resumed", go_on)


@pytest.mark.parametrize(
    ("logs", "words"),
    [
        ("x", "logs missing or of the wrong kind"),
        ({"rows": torch.zeros(3), "events": []}, "logs missing or of the wrong kind"),
        ({"rows": torch.zeros(3, dtype=torch.uint8), "events": [[1, "x"]]}, "logs missing or of the wrong kind"),
        ({"rows": torch.zeros(3, dtype=torch.uint8), "events": []}, UNREADABLE),
        ({"rows": as_bytes(zlib.compress(b"3\n")), "events": []}, UNREADABLE),
        (
            {"rows": as_bytes(zlib.compress(b" " * 30_000 + b"\n")), "events": []},
            "the rows in the checkpoint cannot be read",
        ),
    ],
    ids=["text", "floats", "no sum", "not packed", "no rows", "a bomb"],
)
def test_logs_in_a_checkpoint_are_looked_at(logs: object, words: str, undisturbed: Path, tmp_path: Path) -> None:
    content = load_safely(undisturbed / LAST)
    content["logs"] = logs
    shutil.copytree(undisturbed, tmp_path / "run")
    save_atomically(content, tmp_path / "run" / LAST)
    (tmp_path / "run" / PREVIOUS).unlink()
    before = (tmp_path / "run" / "metrics.jsonl").read_bytes()
    with pytest.raises(GantrainError, match=words):
        go_on(tmp_path / "run")
    assert (tmp_path / "run" / "metrics.jsonl").read_bytes() == before


def go_on(run: Path) -> None:
    config, state = builders.resumed_config(run, {"schedule.steps": 12})
    builders.run(config, run, state)


def test_a_checkpoint_of_before_a_key_takes_its_default(undisturbed: Path, tmp_path: Path) -> None:
    content = load_safely(undisturbed / LAST)
    del content["config"]["sweep"], content["config"]["schedule"]["early_every"]
    (tmp_path / "run").mkdir()
    save_atomically(content, tmp_path / "run" / LAST)
    config, _ = builders.resumed_config(
        tmp_path / "run", {"schedule.steps": 12, "sweep.retry": config_of("sweep.retry")}
    )
    assert config.schedule.steps == 12
    assert config.sweep == compose(*WORDS).sweep
    with pytest.raises(GantrainError, match=r"schedule\.early_every: 0 in the run, 5 now"):
        builders.resumed_config(tmp_path / "run", {"schedule.steps": 12, "schedule.early_every": 5})


def config_of(key: str) -> object:
    """A key's default."""
    section, name = key.split(".")
    return getattr(getattr(compose(*WORDS), section), name)


@pytest.mark.parametrize(
    "line",
    ["3", "[]", "null", '{"kind": "train"}', '{"step": "x", "kind": "train"}', '{"step": 1}', "[" * 20_000, "{", "\0"],
)
def test_a_line_that_is_no_row_is_named_before_the_run_goes_on(line: str, undisturbed: Path, tmp_path: Path) -> None:
    shutil.copytree(undisturbed, tmp_path / "run")
    content = load_safely(tmp_path / "run" / LAST)
    del content["logs"]  # an older one, from which no rows can be had
    save_atomically(content, tmp_path / "run" / LAST)
    file = tmp_path / "run" / "metrics.jsonl"
    lines = file.read_text().splitlines()
    file.write_text("\n".join([*lines[:3], line, *lines[3:]]) + "\n")
    before = {path: path.read_bytes() for path in (file, tmp_path / "run" / LAST)}
    with pytest.raises(RunFolderError, match=rf"is damaged in line 4 of {len(lines) + 1}; repair or remove that line"):
        go_on(tmp_path / "run")
    assert {path: path.read_bytes() for path in before} == before
    file.write_text("\n".join([*lines, line]) + "\n")
    assert len(read_rows(file)) == len(lines), "the last line may be a write that was cut off"
