"""The commands on the page repeat the runs."""

import json
import shlex
from pathlib import Path

import pytest
import yaml

from gantrain.config import flatten, to_dict
from gantrain.report.configurations import command, hydra_word, sweep_commands
from gantrain.run_io.run_folder import OVERRIDES
from gantrain.run_io.run_reader import read_run
from tests.conftest import TINY, compose
from tests.written_runs import write_run


@pytest.mark.parametrize("with_overrides", [True, False])
def test_a_command_composes_to_the_same_configuration(tmp_path: Path, with_overrides: bool) -> None:
    words = (
        "data=mixture",
        "model=mlp",
        "optimizer=ttur",
        "schedule=toy",
        "data.means=[[-2,0],[2.125,0]]",
        "data.stds=[0.3]",
        "optimizer.lr_g=0.000123456789",
        "loss.disc=alpha",
        "loss.alpha_disc=0.3",
        "seed=7",
        "paper.source=a paper, of sorts (2016)",
    )
    own = [word for word in TINY if word.partition(".")[0] not in ("data=digits", "log")]
    folder = write_run(tmp_path / "run", *words[:-1], "log.grid_images=64", steps=20, every=10, grids=0)
    (folder / OVERRIDES).write_text(yaml.safe_dump([*own, *words[:-1], "schedule.steps=20", "+sweep.max=3"]))
    if not with_overrides:
        (folder / OVERRIDES).unlink()
    run = read_run(folder)
    program, dash, module, *asked = shlex.split(command(run))
    assert (program, dash, module) == ("python", "-m", "gantrain")
    assert "+sweep.max=3" not in asked
    again = flatten(to_dict(compose(*asked)))
    assert {k: v for k, v in again.items() if k != "name"} == {k: v for k, v in run.config.items() if k != "name"}


@pytest.mark.parametrize("text", ["plain/path", "a b", "it's", "a,b=c", "back\\slash", "end \\", "\\'", "(x)", "ü: 1"])
def test_any_text_is_quoted_without_loss(text: str) -> None:
    again = compose(f"data.root={hydra_word(text)}", "data=folder")
    assert again.data.root == text


def test_the_sweeps_command(tmp_path: Path) -> None:
    runs = [read_run(write_run(tmp_path / f"{k}", f"seed={k}", steps=20, every=10, grids=0)) for k in range(2)]
    assert sweep_commands(runs) == []
    (tmp_path / "sweep.json").write_text(json.dumps({"words": ["seed=0,1", "name=a b"]}))
    assert sweep_commands(runs) == ["python -m gantrain -m seed=0,1 'name=a b'"]
    (tmp_path / "sweep.json").write_text("{")
    assert sweep_commands(runs) == []
