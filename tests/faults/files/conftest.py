"""A small run whose last.pt is changed again and again."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from torch import Tensor

from gantrain.training.checkpoint import LAST
from tests.commands.saved_runs import save_run
from tests.faults.files.reading import READERS

WORDS = ("model.width=2", "augment=ada", "tricks.history=16", "cond=projection", "log.diagnostics_every_steps=1")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_run(tmp_path_factory.mktemp("fuzzed") / "run", *WORDS)


@pytest.fixture(scope="module")
def whole(run: Path) -> bytes:
    return (run / LAST).read_bytes()


@pytest.fixture(scope="module")
def usual(run: Path, whole: bytes) -> dict[str, list[Tensor]]:
    """What each reader makes of the whole file."""
    found = {name: read(run) for name, read in READERS.items()}
    assert all(len(tensors) > 2 for tensors in found.values())
    return found


@pytest.fixture(autouse=True)
def _unharmed(run: Path, whole: bytes) -> Iterator[None]:
    """No example's file for the next test."""
    yield
    (run / LAST).write_bytes(whole)
