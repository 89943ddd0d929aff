"""Memory, open files and threads of a process do not grow with the number of steps."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gantrain.run_io.run_folder import read_rows
from tests.conftest import REPOSITORY
from tests.faults.long_run import SAMPLED, words_for

MOST = {
    "allocated": 90_000,
    "on the device": 90_000,
    "blocks": 220,
    "objects": 60,
    "files": 1,
    "threads": 1,
    "system threads": 1,
}
"""Largest growth between two parts of a run: bytes of the C library and on the GPU, Python's blocks and containers,
open files and threads. The samples themselves take up to 20 kB and 70 blocks."""
MOST_RESIDENT = 4_000_000
"""Largest growth in bytes of resident memory, which is coarser because of fragmentation."""


def train(folder: Path, steps: int, leaks_from: int | None = None, device: str = "cpu") -> list[dict[str, int | None]]:
    command = [sys.executable, "-m", "tests.faults.long_run", str(folder), str(steps), str(leaks_from or steps), device]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=3000)
    assert done.returncode == 0, done.stderr[-3000:]
    samples: list[dict[str, int | None]] = json.loads((folder / SAMPLED).read_text())
    return samples


def growth(samples: list[dict[str, int | None]], after: int, until: int) -> dict[str, int]:
    """Growth of the minimum from the first half of these steps to the second; temporary use does not count."""
    chosen = [found for found in samples if after < (found["step"] or 0) <= until]
    halves = chosen[: len(chosen) // 2], chosen[len(chosen) // 2 :]
    assert len(halves[0]) >= 5
    found = {}
    for name in chosen[0]:
        first, second = ([value for one in half if (value := one[name]) is not None] for half in halves)
        if first and name != "step":
            found[name] = min(second) - min(first)
    return found


@pytest.mark.slow
def test_a_process_does_not_grow_and_leaks_are_detected(tmp_path: Path) -> None:
    """In the last quarter 1 kB and an object per step, and a few files and threads, are kept on purpose."""
    steps = 1200
    samples = train(tmp_path / "run", steps, leaks_from=3 * steps // 4)
    flat, leaking = growth(samples, steps // 2, 3 * steps // 4), growth(samples, 3 * steps // 4, steps)
    assert {name: more for name, more in flat.items() if more > MOST.get(name, MOST_RESIDENT)} == {}
    assert {name for name, more in leaking.items() if more > MOST.get(name, MOST_RESIDENT)} >= set(leaking) - {
        "resident"
    }
    rows = read_rows(tmp_path / "run" / "metrics.jsonl")
    kinds = [row["kind"] for row in rows]
    assert kinds.count("train") == 100
    assert kinds.count("diagnostic") == 100
    assert len({row["step"] for row in rows if row["kind"] == "metric"}) == 25
    assert {"tricks.history=8", "augment=ada"} <= set(words_for(steps))


@pytest.mark.exhaustive
@pytest.mark.slow
def test_a_process_does_not_grow_over_twenty_thousand_steps(tmp_path: Path) -> None:
    """A leak of 1 kB a step would show as 5 MB."""
    steps = 20_000
    found = growth(train(tmp_path / "run", steps), steps // 2, steps)
    assert {name: more for name, more in found.items() if more > MOST.get(name, MOST_RESIDENT)} == {}
