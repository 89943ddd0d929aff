"""`python -m gantrain bench`: the training loop beside other projects' loops and beside the device's limits."""

import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch

from gantrain.atomic_io import UnusableFolderError
from gantrain.benchmark.machine import machine_facts
from gantrain.benchmark.results import JSON, MARKDOWN, as_text, write
from gantrain.benchmark.rows import Row
from gantrain.benchmark.session import SCALES, Session
from gantrain.benchmark.suite import BLOCKS, measure
from gantrain.benchmark.targets import discriminate
from gantrain.builders import make_device
from gantrain.builders.device import arithmetic
from gantrain.config import ConfigError, option

SIZES = ("auto", *SCALES)


@dataclass(slots=True, kw_only=True)
class Options:
    """Time our iteration against other projects' loops over the same networks, and against the device's limits.

    A table goes to the terminal, bench.json and bench.md into a new folder. Ratios are of paired rounds.
    """

    out: str | None = option(None, "a new or empty folder; null is outputs/DATE/TIME-bench")
    device: str = option("auto", "auto, cpu, cuda or cuda:N")
    size: str = option("auto", "cpu, gpu, auto by the device, or rehearsal: every cell of gpu in small on a CPU")
    blocks: list[str] = option(list(BLOCKS), "which kinds of cells")
    minutes: float | None = option(None, "after which no cell is begun; null: 8.5 for gpu, 1.5 for cpu")
    rounds: int = option(3, "turns of each contestant")

    def __post_init__(self) -> None:
        """Checks names and ranges."""
        if self.size not in SIZES:
            raise ConfigError(f"size={self.size!r} is not known; choose one of [{', '.join(SIZES)}]")
        for name in self.blocks:
            if name not in BLOCKS:
                raise ConfigError(f"blocks={name!r} does not exist; choose from [{', '.join(BLOCKS)}]")
        if not self.blocks:
            raise ConfigError(f"blocks= is empty; choose from [{', '.join(BLOCKS)}]")
        if self.minutes is not None and not 0 < self.minutes <= 1440:
            raise ConfigError(f"minutes={self.minutes:g} must lie in (0, 1440]")
        if not 1 <= self.rounds <= 1000:
            raise ConfigError(f"rounds={self.rounds} must lie between 1 and 1000")


def run(options: Options) -> None:
    """Measures, printing a line a cell; what was found so far is written after each.

    Raises:
        ConfigError: size=gpu without a GPU, or `out` holds something.
        UnusableFolderError: `out` cannot be made or written.
    """
    size, device = _size_and_device(options)
    folder = _new_folder(options.out)
    scale = SCALES[size]

    with _settled(device):
        facts = {**machine_facts(device), "size": size, "rounds": options.rounds}

        def tell(row: Row) -> None:
            print(as_text(row), flush=True)
            write(folder, facts, session.rows, discriminate(session.rows, size))

        session = Session(device, scale, rounds=options.rounds, minutes=options.minutes or scale.minutes, tell=tell)
        print(f"{facts['device']}, torch {facts['torch']}", file=sys.stderr)
        started = time.monotonic()
        measure(session, options.blocks)
        facts["seconds"] = round(time.monotonic() - started, 1)
        verdicts = discriminate(session.rows, size)
        write(folder, facts, session.rows, verdicts)
    for verdict in verdicts:
        measured = "" if verdict.value is None else f"{verdict.value:.3g}"
        print(f"{verdict.outcome:8}  {verdict.name}: {measured} ({verdict.wanted})")
    print(folder / JSON, folder / MARKDOWN, sep="\n")


def _size_and_device(options: Options) -> tuple[str, torch.device]:
    if options.size == "gpu" and not torch.cuda.is_available():
        raise ConfigError(
            "size=gpu needs a CUDA device, and PyTorch sees none here: size=cpu measures on this machine, "
            "size=rehearsal tries every cell in small"
        )
    device = make_device("cpu" if options.size in ("cpu", "rehearsal") else options.device)
    size = options.size if options.size != "auto" else "gpu" if device.type == "cuda" else "cpu"
    if device.type == "cuda":
        torch.cuda.set_device(device)
    if (size == "gpu") != (device.type == "cuda") or options.device not in ("auto", device.type, str(device)):
        raise ConfigError(f"device={options.device!r} does not fit size={size}: leave one of them out")
    return size, device


@contextmanager
def _settled(device: torch.device) -> Iterator[None]:
    """The same for everyone: one thread on a CPU; on a GPU TF32, and cuDNN tries its algorithms, as a run has it."""
    threads = torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(1)
    try:
        with arithmetic("tf32", deterministic=False, device=device):
            yield
    finally:
        torch.set_num_threads(threads)


def _new_folder(out: str | None) -> Path:
    """The folder, made if it is not there; there is nothing in it."""
    folder = Path(out) if out else Path("outputs") / time.strftime("%Y-%m-%d") / time.strftime("%H-%M-%S-bench")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        holds = next(folder.iterdir(), None)
    except OSError as error:
        raise UnusableFolderError(
            f"out={str(folder)!r} cannot be made or read ({error.strerror}); give another folder, new or empty"
        ) from None
    if holds is not None:
        raise ConfigError(
            f"out={str(folder)!r} is not empty (it holds {holds.name!r}), and nothing is overwritten; give another "
            "folder, or leave out= away for a new one"
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UnusableFolderError(f"out={str(folder)!r} may not be written; give another folder, new or empty")
    return folder
