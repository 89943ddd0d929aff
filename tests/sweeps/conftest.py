"""Sweeps in this process."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra

from gantrain import __main__ as entry


@pytest.fixture
def in_process(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Iterator[Callable[..., tuple[int, str]]]:
    """`python -m gantrain …` in this process, in a folder of its own: (exit code, stderr)."""
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
