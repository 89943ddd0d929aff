"""Tables, commands and links of the README and the docs."""

import re
import shlex
from importlib.util import find_spec
from pathlib import Path

import pytest

from gantrain.commands import COMMANDS
from gantrain.config.compose import compose as compose_config
from gantrain.config.overrides import first_values, parse_overrides
from gantrain.objectives import discriminator_names, generator_names
from scripts.readme_table import with_tables
from tests.conftest import REPOSITORY, compose

PAGES = (*sorted(REPOSITORY.glob("*.md")), *sorted((REPOSITORY / "docs").rglob("*.md")))
PLUGINS = {"joblib": "hydra_joblib_launcher", "submitit": "hydra_submitit_launcher", "optuna": "hydra_optuna_sweeper"}


def test_the_table_of_objectives_is_current() -> None:
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    assert with_tables(text) == text, "make readme writes the table again"
    for name in (*discriminator_names(), *generator_names()):
        assert f"`{name}`" in text


def test_every_command_of_the_readme_composes() -> None:
    text = (REPOSITORY / "README.md").read_text()
    commands = re.findall(
        r"python -m gantrain +(?!sample|evaluate|export|theory|report|watch)([^`\n#]*[=][^`\n#]*)", text
    )
    assert len(commands) >= 4
    for line in commands:
        words = [word for word in line.split() if "=" in word and "resume=" not in word]
        sweeps = [w.split("=")[0] + "=" + v for w in words for v in w.split("=")[1].split(",")]
        single = [word.split(",")[0] for word in words]
        for value in sweeps or [""]:
            key = value.split("=")[0] + "="
            compose(*(value if word.startswith(key) else word for word in single))


def test_every_sweep_of_the_docs_composes() -> None:
    text = (REPOSITORY / "docs" / "sweeps.md").read_text().replace("\\\n", " ")
    lines = re.findall(r"^ +python -m gantrain (.*)$", text, flags=re.MULTILINE)
    lines += [words for words in re.findall(r"`(hydra/launcher=[^`]*)`", text)]
    composed = 0
    for line in lines:
        words = [word for word in shlex.split(line, comments=True) if not word.startswith(("-m", "sweep.resume="))]
        if not words or words[0] in COMMANDS or "ray" in line or "PARTITION" in line:
            continue
        if all(find_spec(f"hydra_plugins.{package}") for name, package in PLUGINS.items() if name in line):
            compose_config(first_values(parse_overrides(words)), with_hydra=True)
            composed += 1
    assert composed >= 7


@pytest.mark.parametrize("path", PAGES, ids=lambda path: str(path.relative_to(REPOSITORY)))
def test_every_linked_file_exists(path: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", path.read_text()):
        if "://" not in target:
            assert (path.parent / target).exists(), target
