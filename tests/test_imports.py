"""Imports point down, and every configuration key is read by something."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from gantrain import config
from tests.conftest import REPOSITORY, python_path

PACKAGE = REPOSITORY / "gantrain"
LEAVES = {"errors", "formatting", "options"}
# Each room may import those named and the leaves; itself is always allowed. From the bottom to the top:
MAY_IMPORT: dict[str, set[str]] = {
    **{leaf: set() for leaf in LEAVES},
    "system": set(),
    "objectives": set(),
    "networks": set(),
    "theory": {"objectives"},
    "data": {"system"},
    "diagnostics": {"data", "objectives"},
    "metrics": {"system", "diagnostics", "networks", "data", "objectives"},
    "run_io": {"system", "metrics", "diagnostics", "data", "objectives"},
    "training": {"system", "run_io", "metrics", "diagnostics", "networks", "data", "objectives"},
    "report": {"run_io", "theory", "metrics", "diagnostics", "networks", "data", "objectives"},
    "config": {"training", "metrics", "networks", "data", "objectives"},
    "builders": {"system", "config", "training", "run_io", "metrics", "diagnostics", "networks", "data", "objectives"},
    "sweeps": {"system", "builders", "config", "training", "run_io", "metrics", "objectives"},
    "commands": {
        *{"system", "builders", "config", "training", "run_io", "report", "theory"},
        *{"metrics", "diagnostics", "networks", "data", "objectives"},
    },
    "cli": {"system", "builders", "commands", "config", "sweeps"},
    "__main__": {"cli", "__version__"},
}


def imports_of(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = [node.module] if isinstance(node, ast.ImportFrom) and node.module else []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            if name == "gantrain" and isinstance(node, ast.ImportFrom):
                found |= {alias.name for alias in node.names}
            elif name.startswith("gantrain."):
                found.add(name.split(".")[1])
    return found


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_down(path: Path) -> None:
    room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    if room != "__init__":
        assert imports_of(path) <= MAY_IMPORT[room] | {room, *LEAVES}


def test_torch_fidelity_is_imported_only_by_metrics() -> None:
    users = {p.relative_to(PACKAGE).parts[0] for p in PACKAGE.rglob("*.py") if "import torch_fidelity" in p.read_text()}
    users |= {p.relative_to(PACKAGE).parts[0] for p in PACKAGE.rglob("*.py") if "from torch_fidelity" in p.read_text()}
    assert users == {"metrics"}


def test_every_key_is_read() -> None:
    """A key that nothing outside its own checks reads is no option."""
    readers = (*(PACKAGE / "builders").glob("*.py"), *(PACKAGE / "sweeps").glob("*.py"), PACKAGE / "cli.py")
    source = "".join(path.read_text() for path in readers)
    source += (PACKAGE / "config" / "root.py").read_text().split("def metric_names")[1].replace("self.", "config.")
    for room, section in (("networks", "model"), ("data", "data")):
        source += "".join(path.read_text() for path in (PACKAGE / room).glob("*.py")).replace("options.", f"{section}.")
    for name, section in (("regularizers/*", "regularizer"), ("tricks/*", "tricks"), ("augment", "augment")):
        paths = (PACKAGE / "training").glob(f"{name}.py")
        source += "".join(path.read_text() for path in paths).replace("self.", f"{section}.")
    passed_whole = {"loss"}  # LossConfig.make hands every field to make_objective
    for key, _, _ in config.options():
        section, _, name = key.rpartition(".")
        if section not in passed_whole:
            assert re.search(rf"\b{section or 'config'}\.{name}\b", source), key


def test_every_key_has_a_line_of_help() -> None:
    for key, _, text in config.options():
        assert len(text) > 10, key


def test_no_module_has_a_catch_all_name() -> None:
    assert not [p for p in PACKAGE.rglob("*.py") if p.stem in ("utils", "misc", "helpers")]


HEAVY = (
    *("sklearn", "torchvision", "plotly", "matplotlib", "scipy", "pandas", "torch._dynamo", "torch_fidelity"),
    *("tensorboard", "PIL"),
)


def imported_by(code: str, *words: str) -> set[str]:
    """The modules that Python has imported after running this code."""
    done = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys\nprint(*sys.modules)", *words],
        env={**os.environ, "PYTHONPATH": python_path()},
        capture_output=True,
        text=True,
        check=True,
    )
    return set(done.stdout.split())


def test_the_command_line_starts_without_heavy_packages() -> None:
    assert not imported_by("import gantrain.cli") & set(HEAVY)


def test_the_version_is_printed_without_torch() -> None:
    modules = imported_by("from gantrain.__main__ import main; main()", "--version")
    assert "gantrain.__main__" in modules
    assert not modules & {"torch", "hydra"}
