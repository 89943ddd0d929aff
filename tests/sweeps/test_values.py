"""The values of a sweep: counted, and checked before anything is made."""

from pathlib import Path
from typing import Any

import pytest

from gantrain.config import ConfigError
from gantrain.run_io.run_reader import find_runs, read_run
from gantrain.sweeps import values
from tests.conftest import TINY, plan

TWO = (*TINY, "metrics=none", "schedule.steps=1", "seed=0,1", "hydra.sweep.dir=s")


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
def test_jobs_are_counted_before_the_first_starts(words: tuple[str, ...], jobs: int) -> None:
    assert plan(*words).jobs == jobs


@pytest.mark.parametrize(
    ("word", "refusal"),
    [
        ("seed=1,b", "seed='b' must be a whole number"),
        ("seed=1.5,2", "seed=1.5 must be a whole number"),
        ("loss.max_log_ratio=null,x", "loss.max_log_ratio='x' must be a number or null"),
        ("model=dcgan,sngn", "Could not find 'model/sngn'"),
        ("experiment=seeds,sed", "Could not find 'experiment/sed'"),
        ("loss.gen=alt,rlk", "loss.gen=rlk is unknown"),
        (f"seed={','.join(map(str, range(999)))},x", "seed='x' must be a whole number"),
    ],
)
def test_every_value_is_checked_before_the_first_job(word: str, refusal: str) -> None:
    with pytest.raises(ConfigError) as error:
        plan(word)
    assert refusal in str(error.value)


def test_values_of_a_key_are_not_composed_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    compose, calls = values.compose, []
    monkeypatch.setattr(values, "compose", lambda words: calls.append(words) or compose(words))
    plan("seed=range(1000)", "model=dcgan,sngan")
    assert len(calls) == 2


@pytest.mark.parametrize(
    ("words", "refusal"),
    [
        (("hydra.sweep.subdir=''",), "is not directly in the sweep's folder"),
        (("hydra.sweep.subdir=.",), "is not directly in the sweep's folder"),
        (("hydra.sweep.subdir=x/${hydra.job.num}",), "is not directly in the sweep's folder"),
        (("--cfg", "job"), "contradict each other"),
        (("resume=outputs",), "resume continues one run and cannot be part of a sweep"),
        (("--config-name=config",), "--config-dir instead"),
        (("hydra/sweeper=nothing",), "hydra/sweeper/nothing"),
        (("hydra.foo=3",), "hydra.foo"),
    ],
    ids=str,
)
def test_sweeps_refused_before_a_folder_is_made(
    words: tuple[str, ...], refusal: str, tmp_path: Path, command: Any
) -> None:
    (tmp_path / "outputs").mkdir()
    code, text = command("-m", *words, *TWO) if words[0].startswith("-") else command("-m", *TWO, *words)
    assert (code, "Traceback" in text) == (2, False), text
    assert refusal in text
    assert not (tmp_path / "s").exists()


def test_names_of_jobs_and_the_folder_of_hydra(tmp_path: Path, command: Any) -> None:
    code, text = command("-m", *TWO, "hydra.sweep.subdir=${hydra.job.num}")
    assert code == 0, text
    assert [run.name for run in map(read_run, find_runs([tmp_path / "s"]))] == ["0", "1"]
    assert "- seed=1" in (tmp_path / "s" / "1" / ".hydra" / "overrides.yaml").read_text()
    assert "job 1: seed=1" in (tmp_path / "s" / "1" / "train.log").read_text()
    assert "2 finished" not in (tmp_path / "s" / "1" / "train.log").read_text()


def test_a_job_without_the_metric_of_the_sweep_fails(tmp_path: Path, command: Any) -> None:
    words = [word for word in TWO if word != "metrics=none"]
    code, text = command("-m", *words, "sweep.objective=fooo")
    assert code == 1
    assert text.count("sweep.objective='fooo' is not measured with metrics.names=['modes']") == 4
    code, text = command("sweep.resume=s", "sweep.retry=true", "sweep.objective=modes")
    assert code == 0, text
    assert "2 of 2 jobs: 2 finished" in text


FOLDERS = (
    ("run", "config.yaml", "contains a run"),
    ("sweep", "sweep.json", "contains a sweep"),
    ("mine", "a", "is not empty"),
)


def test_a_folder_that_is_not_empty_is_refused(tmp_path: Path, command: Any) -> None:
    for name, file, refusal in FOLDERS:
        (tmp_path / name).mkdir()
        (tmp_path / name / file).write_text("{}")
        code, text = command("-m", *TWO, f"hydra.sweep.dir={name}")
        assert code == 2
        assert f"{name}' {refusal}" in text
        assert [path.name for path in (tmp_path / name).iterdir()] == [file]


def test_an_experiment_of_the_users_own_folder(tmp_path: Path, command: Any) -> None:
    (tmp_path / "own" / "experiment").mkdir(parents=True)
    (tmp_path / "own" / "experiment" / "mine.yaml").write_text("# @package _global_\ntricks: {top_k: 0.5}\n")
    code, text = command("-m", "--config-dir=own", *TWO, "experiment=mine")
    assert code == 0, text
    code, text = command("sweep.resume=s", "schedule.steps=2")
    assert code == 0, text
    assert [read_run(folder).config["tricks.top_k"] for folder in find_runs([tmp_path / "s"])] == [0.5, 0.5]
