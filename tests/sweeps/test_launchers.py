"""Sweeps through Hydra's launchers: jobs in worker processes of their own."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from gantrain.run_io.run_reader import find_runs, read_run
from tests.conftest import TINY, python_path
from tests.same_runs import rows_without_times

FOUR = [*TINY, "metrics=none", "loss.gen=alt,kl", "seed=0,1", "hydra.sweep.dir=s"]


def has_slurm() -> bool:
    if shutil.which("sinfo") is None:
        return False
    return subprocess.run(["sinfo", "--noheader"], capture_output=True, timeout=30).returncode == 0


LAUNCHERS = {
    "joblib": ("hydra_joblib_launcher", ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]),
    "submitit, this machine": (
        "hydra_submitit_launcher",
        ["hydra/launcher=submitit_local", "hydra.launcher.timeout_min=10"],
    ),
    "submitit, Slurm": (
        "hydra_submitit_launcher",
        ["hydra/launcher=submitit_slurm", "hydra.launcher.timeout_min=10", "hydra.launcher.cpus_per_task=1"],
    ),
    "ray": (
        "hydra_ray_launcher",
        [
            "hydra/launcher=ray",
            "+hydra.launcher.ray.init.num_cpus=2",
            "+hydra.launcher.ray.init.include_dashboard=false",
        ],
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", [name if name == "joblib" else pytest.param(name, marks=pytest.mark.exhaustive) for name in LAUNCHERS]
)
def test_four_jobs_equal_those_of_one_process(name: str, tmp_path: Path) -> None:
    package, words = LAUNCHERS[name]
    if importlib.util.find_spec(f"hydra_plugins.{package}") is None:
        pytest.skip(f"no {package} is installed: pip install 'gantrain[{package.split('_')[1]}]', slurm for submitit")
    if "Slurm" in name and not has_slurm():
        pytest.skip("no Slurm cluster answers here: sinfo is not there or fails")

    def run(*words: str, cwd: Path) -> tuple[int, str]:
        cwd.mkdir()
        done = subprocess.run(
            [sys.executable, "-m", "gantrain", *words],
            cwd=cwd,
            env={**os.environ, "PYTHONPATH": python_path()},
            capture_output=True,
            text=True,
            timeout=400,
        )
        return done.returncode, done.stdout + done.stderr

    code, text = run("-m", *FOUR, "loss.disc=gan,hinge", *words, cwd=tmp_path / "many")
    assert code == 1, text
    assert "8 of 8 jobs: 4 finished, 4 failed" in text, text
    code, text = run("-m", *FOUR, cwd=tmp_path / "one")
    assert code == 0, text
    single = {_asked(folder): rows_without_times(folder) for folder in find_runs([tmp_path / "one" / "s"])}
    found = {_asked(folder): folder for folder in find_runs([tmp_path / "many" / "s"])}
    assert len(found) == 8
    for asked, rows in single.items():
        assert rows_without_times(found[("gan", *asked[1:])]) == rows
    for asked, folder in found.items():
        if asked[0] == "hinge":
            assert "does not work with disc='hinge'" in (read_run(folder).reason or "")


def _asked(folder: Path) -> tuple[str, str, int]:
    config = read_run(folder).config
    return config["loss.disc"], config["loss.gen"], config["seed"]
