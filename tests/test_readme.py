"""The README's promises that can be checked by reading."""

import re
import subprocess
import sys

from gantrain.objectives import DISCRIMINATOR_NAMES, GENERATOR_NAMES
from tests.conftest import REPOSITORY, compose


def test_the_table_of_objectives_is_current() -> None:
    done = subprocess.run([sys.executable, "-m", "scripts.readme_table", "--check"], cwd=REPOSITORY)
    assert done.returncode == 0, "make readme writes the table anew"
    text = (REPOSITORY / "README.md").read_text()
    for name in (*DISCRIMINATOR_NAMES, *GENERATOR_NAMES):
        assert f"`{name}`" in text


def test_every_command_of_the_readme_composes() -> None:
    text = (REPOSITORY / "README.md").read_text()
    commands = re.findall(r"python -m gantrain +(?!sample|evaluate|export|theory)([^`\n#]*[=][^`\n#]*)", text)
    assert len(commands) >= 4
    for line in commands:
        words = [word for word in line.split() if "=" in word and "resume=" not in word]
        sweeps = [w.split("=")[0] + "=" + v for w in words for v in w.split("=")[1].split(",")]
        single = [word.split(",")[0] for word in words]
        for value in sweeps or [""]:
            key = value.split("=")[0] + "="
            compose(*(value if word.startswith(key) else word for word in single))


def test_every_linked_file_is_there() -> None:
    text = (REPOSITORY / "README.md").read_text()
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        if "://" not in target:
            assert (REPOSITORY / target).exists(), target
