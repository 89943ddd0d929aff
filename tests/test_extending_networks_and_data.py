"""The network and the data set of docs/extending.md, run as a user's script."""

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
    for content, name in re.findall(r"```\w+\n(# ([\w/]+\.\w+)\n.*?)```", text, flags=re.DOTALL):
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
    [("my_network.py", "model=flat", "model.hidden"), ("my_data.py", "data=stripes", "data.stripes")],
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
    assert f"{key}=9 is only used by {choice}" in other.stderr


@pytest.mark.parametrize(("records", "register"), [(NETWORKS, register_network), (DATASETS, register_dataset)])
def test_a_name_is_registered_once(records: list, register: object) -> None:
    with pytest.raises(ConfigError, match="already registered"):
        register(records[0])  # type: ignore[operator]
