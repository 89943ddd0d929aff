"""How much a run writes is told before it begins, and one that there is no room for does not begin."""

import json
import shutil
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torchvision.utils import save_image

from gantrain import builders
from gantrain.builders import disk
from gantrain.config import ConfigError
from gantrain.run_io.run_folder import as_grid
from gantrain.training.checkpoint import LAST
from tests.conftest import TINY, compose

CPU = torch.device("cpu")
MANY = {"dcgan, nothing measured", "sngan, wider", "resnet", "history"}
Usage = namedtuple("Usage", "total used free")
RUNS = {
    "dcgan, everything each step": (*TINY, "log.every_steps=1", "log.diagnostics_every_steps=1", "schedule.steps=60"),
    "dcgan, nothing measured": (*TINY, "metrics=none", "schedule.steps=4"),
    "sngan, wider": (*TINY, "model=sngan", "model.width=16", "schedule.steps=3"),
    "poole, without EMA": (*TINY, "model=poole", "schedule.ema_decay=0", "metrics.networks=[raw]", "schedule.steps=3"),
    "resnet": (*TINY, "model=resnet", "model.width=4", "model.d_width=4", "schedule.steps=3"),
    "with labels of a thousand classes": (*TINY, "cond=projection", "schedule.steps=3"),
    "history": (*TINY, "tricks.history=100", "schedule.steps=4"),
    "points": ("data=ring", "model=mlp", "model.width=16", "schedule.steps=40", "metrics.samples=50", "device=cpu"),
}


def bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@pytest.mark.slow
@pytest.mark.parametrize("name", [pytest.param(n, marks=pytest.mark.exhaustive) if n in MANY else n for n in RUNS])
def test_the_estimate_is_what_a_run_writes(name: str, tmp_path: Path) -> None:
    """Never less than what lies there at the end, nor than that and one more checkpoint, nor three times as much."""
    config = compose(*RUNS[name], "log.checkpoint_every_steps=2")
    folder = tmp_path / "run"
    builders.run(config, folder)
    written, last = bytes_in(folder), (folder / LAST).stat().st_size
    assert written + last <= builders.disk_need(config, CPU) <= 3 * written
    assert last <= disk.checkpoint_bytes(config) <= 1.5 * last


@pytest.mark.parametrize("images", [4, 64])
def test_a_grid_of_noise_is_as_large_as_the_estimate(images: int, tmp_path: Path) -> None:
    """A trained generator's compresses to between a fifth, of digits, and nine tenths of it."""
    picture = as_grid(torch.randint(256, (images, 3, 32, 32), dtype=torch.uint8), round(images**0.5))
    save_image(picture, tmp_path / "grid.png")
    most = disk._picture_bytes(compose("data=digits", f"log.grid_images={images}"))
    assert 0.85 * most < (tmp_path / "grid.png").stat().st_size <= most


def test_what_the_estimate_is_made_of() -> None:
    """Each interval and the network's size move it as much as they should."""

    def need(*words: str, device: torch.device = CPU) -> int:
        return builders.disk_need(compose("data=digits", *words), device)

    plain = need()
    rows = need("log.every_steps=1", "log.diagnostics_every_steps=0") - need("log.diagnostics_every_steps=0")
    assert rows == (100_000 - 1_000) * (disk.ROW + (disk.CHECKPOINTS + 1) * disk.PACKED)
    assert need("profile=true") - plain == disk.TRACE
    grid = need("log.grids_every_steps=1000") - need("log.grids_every_steps=2000")
    assert grid == 50 * 2 * 3 * (34 * 8 + 2) ** 2
    checkpoints = need("tricks.history=10000") - plain
    assert checkpoints == 4 * 10_000 * (3 * 32 * 32 * 4 + 8)
    assert need("log.checkpoint_every_steps=1") == plain
    assert 3.5 < (need("model.width=512") - plain) / (need("model.width=256") - plain) < 6


@pytest.mark.parametrize("words", [("data=digits",), ("data=ring", "model=mlp", "schedule.steps=100000"), ()])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_logs_of_a_run_of_the_defaults_stay_small(words: tuple[str, ...], device: str) -> None:
    """All but its checkpoints; tenfold steps take no tenfold room, since intervals are shares of a run or 100 steps."""
    config = compose(*words)
    assert config.schedule.steps == 100_000
    logs = builders.disk_need(config, torch.device(device)) - disk.CHECKPOINTS * disk.checkpoint_bytes(config)
    logs -= disk.checkpoint_bytes(config)
    assert 3e6 < logs < 60e6
    plan = builders.make_plan(config, torch.device(device))
    assert plan.steps // plan.grids_every == 20
    assert plan.steps // plan.checkpoint_every == 10
    assert plan.steps // plan.log_every == 1000
    longer = builders.make_plan(compose(*words, "schedule.steps=10000000"), torch.device(device))
    assert longer.steps // longer.grids_every == 20
    assert longer.log_every == 100


@pytest.mark.slow
def test_the_checkpoints_and_grids_that_stay_are_few(tmp_path: Path) -> None:
    words = (*TINY, "schedule.steps=40", "log.grids_every_steps=10", "log.checkpoint_every_steps=1")
    folder = tmp_path / "run"
    builders.run(compose(*words, "log.every_steps=10"), folder)
    assert sorted(p.name for p in folder.glob("*.pt")) == ["best.pt", "last.pt", "previous.pt"]
    assert not list(folder.rglob(".*.part"))
    assert len(list((folder / "samples").iterdir())) == 1 + 1 + 4
    rows = [json.loads(line)["kind"] for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert rows.count("train") == 4


def full(monkeypatch: pytest.MonkeyPatch, free: int, total: int = 10**12) -> list[Path]:
    """Has the disk say that; what it was asked about."""
    asked: list[Path] = []

    def usage(path: Path) -> Usage:
        asked.append(Path(path))
        return Usage(total, total - free, free)

    monkeypatch.setattr(shutil, "disk_usage", usage)
    return asked


def test_a_run_without_room_is_refused_before_data_are_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Callable[..., tuple[int, str]]
) -> None:
    asked = full(monkeypatch, free=1_000_000)

    def load(*_: object) -> None:
        raise AssertionError("data were loaded")

    monkeypatch.setattr(builders.runs, "load_data", load)
    code, words = command(*TINY, "hydra.run.dir=new/run")
    assert code == 2
    need = builders.disk_need(compose(*TINY), CPU)
    assert f"writes up to {need / 1e6:.3g} MB" in words
    assert "has 1 MB free" in words
    assert str(tmp_path / "new" / "run") in words
    assert "hydra.run.dir" in words
    assert "model.width" in words
    assert "Traceback" not in words
    assert asked == [tmp_path / "new" / "run"]
    assert not (tmp_path / "new" / "run").exists(), "nothing stays of it"


def test_where_the_folder_is_not_there_its_parent_is_asked_and_as_much_as_needed_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = compose(*TINY)
    need = builders.disk_need(config, CPU)
    asked = full(monkeypatch, free=need)
    disk.check_room(config, tmp_path / "a" / "b", CPU)
    assert asked == [tmp_path]
    full(monkeypatch, free=need - 1)
    with pytest.raises(ConfigError, match="the run writes up to"):
        disk.check_room(config, tmp_path / "a" / "b", CPU)
    full(monkeypatch, free=0, total=0)
    disk.check_room(config, tmp_path, CPU)  # a file system that does not say

    def unknown(_: Path) -> None:
        raise OSError("not supported")

    monkeypatch.setattr(shutil, "disk_usage", unknown)
    disk.check_room(config, tmp_path, CPU)


def test_a_resumed_run_needs_less_but_room_for_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Callable[..., tuple[int, str]]
) -> None:
    """What it has written counts; without room it is left as it is."""
    words = (*TINY, "metrics=none", "schedule.steps=2")
    assert command(*words, "hydra.run.dir=run")[0] == 0
    before = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    one = disk.checkpoint_bytes(compose(*words))
    full(monkeypatch, free=one // 2)
    code, told = command("resume=run", "schedule.steps=4")
    assert code == 2
    assert "move the folder to another file system" in told
    after = {path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.is_file()}
    assert before == after
    need = builders.disk_need(compose(*words, "schedule.steps=4"), CPU)
    full(monkeypatch, free=max(one, need - bytes_in(tmp_path / "run")))
    assert command("resume=run", "schedule.steps=4")[0] == 0


@pytest.mark.slow
def test_each_job_of_a_sweep_is_checked_when_it_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: Callable[..., tuple[int, str]]
) -> None:
    """The second finds the disk full; the first is whole."""
    frees = iter((10**12, 10))
    monkeypatch.setattr(shutil, "disk_usage", lambda _: Usage(10**12, 0, next(frees)))
    code, _ = command("-m", *TINY, "metrics=none", "schedule.steps=2", "seed=0,1", "hydra.sweep.dir=s")
    assert code != 0
    states = [json.loads((tmp_path / "s" / f"00{k}-seed={k}" / "status.json").read_text())["state"] for k in (0, 1)]
    assert states == ["finished", "failed"]
    assert "the run writes up to" in (tmp_path / "s" / "001-seed=1" / "error.txt").read_text()
