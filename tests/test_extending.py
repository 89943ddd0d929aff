"""The examples of docs/extending.md run as they are printed."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY, python_path

TEXT = (REPOSITORY / "docs" / "extending.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", TEXT, flags=re.MULTILINE | re.DOTALL))


def blocks_of(section: str) -> list[str]:
    """The fenced Python blocks of a section, without scripts, which start with a comment of their name."""
    return re.findall(r"^```python\n(?!# \w+\.py\n)(.*?)^```$", section, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("title", [title for title, section in SECTIONS.items() if blocks_of(section)])
def test_the_examples_of_a_section_run(title: str, tmp_path: Path) -> None:
    """In a process of their own, since they register what they add."""
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(blocks_of(SECTIONS[title]))],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": python_path(), "GANTRAIN_CACHE": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, f"{title}: {done.stderr[-3000:]}"


def test_every_fenced_block_belongs_to_a_section() -> None:
    assert len(blocks_of(TEXT)) == sum(len(blocks_of(section)) for section in SECTIONS.values()) > 0


@pytest.mark.parametrize("module", [block for block in blocks_of(TEXT) if block.startswith('"""')])
def test_a_printed_module_can_be_kept_in_the_package(module: str) -> None:
    """It satisfies ruff, and imports nothing from the `__init__` that will import it."""
    file = REPOSITORY / "gantrain" / "example.py"
    for command in (["check"], ["format", "--check"]):
        done = subprocess.run(
            [sys.executable, "-m", "ruff", *command, f"--stdin-filename={file}", "-"],
            cwd=REPOSITORY,
            input=module,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    assert not re.search(r"^from gantrain\.training\.(regularizers|tricks) import", module, flags=re.MULTILINE)
