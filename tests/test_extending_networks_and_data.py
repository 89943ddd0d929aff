"""The network and the data sets of docs/extending.md, run as a user's scripts."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from gantrain.data import DATASETS, register_dataset
from gantrain.networks import NETWORKS, register_network
from gantrain.options import ConfigError
from tests.conftest import REPOSITORY, TINY, python_path


def run_example(folder: Path, script: str, *words: str) -> subprocess.CompletedProcess[str]:
    """Writes the documentation's files that start with a comment of their name, and runs the script."""
    text = (REPOSITORY / "docs" / "extending.md").read_text(encoding="utf-8")
    for content, name in re.findall(r"```\w+\n((?:# @package \w+\n)?# ([\w/]+\.\w+)\n.*?)```", text, flags=re.DOTALL):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(content, encoding="utf-8")
    return subprocess.run(
        [sys.executable, script, "--config-dir=.", *words],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": python_path()},
        capture_output=True,
        text=True,
        timeout=300,
    )


@pytest.mark.parametrize(
    ("script", "choice", "key"),
    [
        ("my_network.py", "model=flat_example", "model.hidden"),
        ("my_data.py", "data=stripes_example", "data.stripes"),
    ],
)
def test_the_example_trains_with_its_own_key(tmp_path: Path, script: str, choice: str, key: str) -> None:
    words = [word for word in TINY if not word.startswith(choice.partition("=")[0] + "=")]
    done = run_example(tmp_path, script, *words, choice, f"{key}=8", "metrics=none", "hydra.run.dir=run")
    assert done.returncode == 0, done.stderr
    section, _, name = key.partition(".")
    saved = yaml.safe_load((tmp_path / "run" / "config.yaml").read_text())
    assert saved[section][name] == 8
    assert (tmp_path / "run" / "last.pt").is_file()
    other = run_example(tmp_path, script, f"{key}=9", "data=digits", "model=dcgan")
    assert other.returncode == 2
    assert re.search(rf"{key}=9 is only used by {section}=.*\b{choice.partition('=')[2]}\b", other.stderr)


def test_the_example_of_points_trains(tmp_path: Path) -> None:
    done = run_example(tmp_path, "my_points.py", "data=two_example", "schedule.steps=2", "hydra.run.dir=run")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "run" / "last.pt").is_file()


def test_the_test_of_the_example_passes_and_its_range_is_checked(tmp_path: Path) -> None:
    wide = run_example(tmp_path, "my_data.py", "data=stripes_example", "data.stripes=17")
    assert (wide.returncode, "data.stripes=17 must be between 1 and 16" in wide.stderr) == (2, True)
    code = "import test_my_data as t; t.test_horizontal_stripes_are_constant_along_rows()"
    environment = {**os.environ, "PYTHONPATH": python_path()}
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, check=True, timeout=300)


@pytest.mark.parametrize(("records", "register"), [(NETWORKS, register_network), (DATASETS, register_dataset)])
def test_a_name_is_registered_once(records: list, register: object) -> None:
    with pytest.raises(ConfigError, match="already registered"):
        register(records[0])  # type: ignore[operator]
