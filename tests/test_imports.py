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
BELOW_BUILD = {
    "atomic_io",
    "cuda_graphs",
    "distributed",
    "signals",
    "config",
    "training",
    "run_io",
    "metrics",
    "diagnostics",
    "networks",
    "data",
    "objectives",
}
LEAVES = {"options", "formatting", "errors", "logs", "atomic_io", "cache", "locks"}
# Each room may import those named and the leaves; itself is always allowed.
MAY_IMPORT = {
    "atomic_io": set(),
    "cache": set(),
    "locks": set(),
    "options": set(),
    "formatting": set(),
    "cuda_graphs": set(),
    "objectives": set(),
    "distributed": set(),
    "signals": set(),
    "networks": set(),
    "data": {"distributed"},
    "config": {"objectives", "metrics", "networks", "data", "training"},
    "metrics": {"diagnostics", "atomic_io", "cuda_graphs", "distributed", "networks", "data", "objectives"},
    "diagnostics": {"metrics", "atomic_io", "cuda_graphs", "distributed", "networks", "data", "objectives"},
    "run_io": {"atomic_io", "config", "metrics", "diagnostics", "networks", "data", "objectives"},
    "training": {
        "atomic_io",
        "cuda_graphs",
        "distributed",
        "signals",
        "run_io",
        "metrics",
        "diagnostics",
        "networks",
        "data",
        "objectives",
    },
    "errors": {"distributed"},
    "logs": set(),
    "hydra_bridge": {"config", "objectives"},
    "overrides": {"config", "hydra_bridge"},
    "cli_checks": {"commands", "config", "hydra_bridge"},
    "attempt": {*BELOW_BUILD, "builders", "overrides"},
    "sweeps": {*BELOW_BUILD, "builders", "attempt", "hydra_bridge", "overrides"},
    "builders": BELOW_BUILD,
    "theory": {"objectives"},
    "report": {"run_io", "metrics", "diagnostics", "networks", "data", "theory", "objectives"},
    "commands": {*BELOW_BUILD, "builders", "theory", "report"},
    "cli": {*BELOW_BUILD, "attempt", "builders", "cli_checks", "commands", "hydra_bridge", "overrides", "sweeps"},
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


def test_sources_name_no_one_size_fits_all_module() -> None:
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
