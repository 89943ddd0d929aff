"""What a sweep's command line may say, and what is refused before anything is made."""

from pathlib import Path
from typing import Any

import pytest

from gantrain import cli
from gantrain.cli import check_command_line
from gantrain.config import ConfigError
from gantrain.run_io.run_reader import find_runs, read_run
from gantrain.sweeps.driver import prepare
from tests.conftest import TINY

SWEEP = "--multirun"


@pytest.mark.parametrize(
    ("words", "jobs"),
    [
        (("model=glob(*)",), 5),
        (("model=glob([d*,sn*])", "seed=range(3)"), 6),
        (("metrics.networks=[ema],[raw,ema]", "optimizer.lr_g=1e-4,2e-4"), 4),
        (("loss.max_log_ratio=null,10", "loss=exact,gan"), 4),
        (("name='a,b',c", "~regularizer"), 2),
        ((), 1),
    ],
)
def test_jobs_are_counted_before_the_first_begins(words: tuple[str, ...], jobs: int) -> None:
    check_command_line([SWEEP, *words])
    assert prepare([SWEEP, *words]).jobs == jobs


@pytest.mark.parametrize(
    ("word", "refusal"),
    [
        ("seed=1,b", "seed='b' must be a whole number"),
        ("seed=1.5,2", "seed=1.5 must be a whole number"),
        ("loss.max_log_ratio=null,x", "loss.max_log_ratio='x' must be a number or null"),
        ("model=dcgan,sngn", "Could not find 'model/sngn'"),
        ("experiment=seeds,sed", "Could not find 'experiment/sed'"),
    ],
)
def test_every_value_is_tried_before_the_first_job(word: str, refusal: str) -> None:
    with pytest.raises(ConfigError) as error:
        check_command_line([SWEEP, word])
    assert refusal in str(error.value)


def test_a_thousand_values_of_a_key_are_not_a_thousand_compositions(monkeypatch: pytest.MonkeyPatch) -> None:
    compose, count = cli.compose_config, 0

    def counted(words: list[str]) -> Any:
        nonlocal count
        count += 1
        return compose(words)

    monkeypatch.setattr(cli, "compose_config", counted)
    check_command_line([SWEEP, "seed=range(1000)", "model=dcgan,sngan"])
    assert count <= 3
    with pytest.raises(ConfigError, match="seed='x' must be"):
        check_command_line([SWEEP, f"seed={','.join(map(str, range(999)))},x"])


@pytest.mark.parametrize("place", ["''", ".", "x/${hydra.job.num}"])
def test_a_jobs_folder_lies_directly_in_the_sweeps(place: str, tmp_path: Path, command: Any) -> None:
    words = [*TINY, "metrics=none", "seed=0,1", "hydra.sweep.dir=s"]
    code, text = command("-m", *words, f"hydra.sweep.subdir={place}")
    assert code == 2
    assert "is no folder directly in the sweep's" in text
    assert not (tmp_path / "s").exists()


def test_a_jobs_folder_may_have_another_name(tmp_path: Path, command: Any) -> None:
    words = [*TINY, "metrics=none", "seed=0,1", "hydra.sweep.dir=s"]
    code, text = command("-m", *words, "hydra.sweep.subdir=${hydra.job.num}")
    assert code == 0, text
    assert [run.name for run in map(read_run, find_runs([tmp_path / "s"]))] == ["0", "1"]


def test_an_unknown_figure_is_refused_before_anything_is_trained(tmp_path: Path, command: Any) -> None:
    code, text = command("-m", *TINY, "seed=0,1", "sweep.objective=fooo", "hydra.sweep.dir=s")
    assert code == 1
    assert text.count("sweep.objective='fooo' is not measured with metrics.names=['modes']") == 4
    runs = [read_run(folder) for folder in find_runs([tmp_path / "s"])]
    assert [(run.state, run.rows) for run in runs] == [("failed", ())] * 2
    code, text = command("sweep.resume=s", "sweep.retry=true", "sweep.objective=modes")
    assert code == 0, text
    assert "2 of 2 jobs: 2 finished" in text


@pytest.mark.parametrize("words", [("-m", "seed=0,1", "--cfg", "job"), ("seed=0,1", "--info=all", "-m")])
def test_one_configuration_is_not_shown_of_many(words: tuple[str, ...], command: Any) -> None:
    code, text = command(*words)
    assert code == 2
    assert "shows the configuration of one run, not of a sweep: leave out --multirun" in text


def test_a_runs_folder_takes_no_sweep(tmp_path: Path, command: Any) -> None:
    assert command(*TINY, "metrics=none", "hydra.run.dir=one")[0] == 0
    before = sorted((tmp_path / "one").iterdir())
    code, text = command("-m", *TINY, "metrics=none", "seed=0,1", "hydra.sweep.dir=one")
    assert code == 2
    assert "hydra.sweep.dir='one' holds a run" in text
    assert sorted((tmp_path / "one").iterdir()) == before
