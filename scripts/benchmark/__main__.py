"""`make bench`, or `python -m scripts.benchmark key=value ...`: see `Options` for the keys."""

import json
import platform
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from gantrain.builders.device import arithmetic
from gantrain.run_io.run_folder import git_commit
from scripts.benchmark.fid import fid
from scripts.benchmark.timing import HEAD, Row
from scripts.benchmark.training import SETTINGS, Bench, data, end_to_end, loops, overhead

PARTS: dict[str, Callable[[Bench], Iterator[Row]]] = {
    "loops": loops,
    "end_to_end": end_to_end,
    "fid": fid,
    "overhead": overhead,
    "data": data,
}


@dataclass
class Options:
    """Keys of the command line.

    Attributes:
        size: cpu, gpu, auto (by the device), or rehearsal: the rows of gpu with tiny networks on a CPU.
        parts: of PARTS.
        rounds: measurements of each row.
        minutes: no part begins later than this.
        out: a folder; by default outputs/DATE/TIME-bench.
    """

    size: str = "auto"
    parts: list[str] = field(default_factory=lambda: list(PARTS))
    rounds: int = 5
    minutes: float = 8.0
    out: str = ""


def read_options(words: Sequence[str]) -> Options:
    """Options from key=value words.

    Raises:
        ValueError: an unknown key or value.
    """
    try:
        options: Any = OmegaConf.to_object(OmegaConf.merge(Options, OmegaConf.from_dotlist(list(words))))
    except OmegaConfBaseException as error:
        raise ValueError(str(error).splitlines()[0]) from None
    if options.size not in ("auto", "rehearsal", *SETTINGS):
        raise ValueError(f"size={options.size!r}: choose from auto, rehearsal, {', '.join(SETTINGS)}")
    if unknown := set(options.parts) - set(PARTS):
        raise ValueError(f"parts={sorted(unknown)}: choose from {', '.join(PARTS)}")
    if options.rounds < 1:
        raise ValueError(f"rounds={options.rounds}: at least 1")
    if options.size == "gpu" and not torch.cuda.is_available():
        raise ValueError("size=gpu needs a CUDA device; size=rehearsal tries every row on a CPU")
    return options  # type: ignore[no-any-return]


def make_bench(size: str, rounds: int) -> Bench:
    """What is measured at a size."""
    if size == "gpu":
        gpu = torch.device("cuda", 0)
        return Bench(gpu, SETTINGS[size], rounds, seconds=0.3, images=50_000, overhead_steps=1_000, fid_images=10_000)
    cpu = torch.device("cpu")
    if size == "cpu":
        return Bench(cpu, SETTINGS[size], rounds, seconds=0.5, images=5_000, overhead_steps=100, fid_images=64)
    return Bench(cpu, SETTINGS["gpu"], rounds, seconds=0.0, images=64, overhead_steps=4, fid_images=4, small=True)


def machine(device: torch.device) -> dict[str, Any]:
    """Processor or GPU, versions and commit."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.is_file() else []
    named = (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    return {
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU, one thread",
        "processor": next(named, platform.machine()),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "commit": git_commit(),
    }


def as_markdown(facts: dict[str, Any], rows: Sequence[Row]) -> str:
    """The machine and one table per comparison."""
    lines = [f"# Benchmark on {facts['device']}", "", *(f"- {name}: {value}" for name, value in facts.items())]
    for table in dict.fromkeys(row.table for row in rows):
        cells = [list(HEAD), ["---"] * len(HEAD), *(row.cells() for row in rows if row.table == table)]
        lines += ["", f"## {table}", "", *(f"| {' | '.join(line)} |" for line in cells)]
    return "\n".join(lines) + "\n"


def main() -> int:
    """Measures, prints the tables and writes bench.md and bench.json; 2 if the command line is wrong."""
    try:
        options = read_options(sys.argv[1:])
    except ValueError as error:
        print(f"benchmark: {error}", file=sys.stderr)
        return 2
    size = options.size if options.size != "auto" else "gpu" if torch.cuda.is_available() else "cpu"
    bench, started, rows = make_bench(size, options.rounds), time.monotonic(), list[Row]()
    folder = Path(options.out or time.strftime("outputs/%Y-%m-%d/%H-%M-%S-bench"))
    folder.mkdir(parents=True, exist_ok=True)
    facts = {**machine(bench.device), "size": size, "rounds": options.rounds}
    print(f"{facts['device']}, {facts['processor']}, torch {facts['torch']}", file=sys.stderr)
    with arithmetic("tf32", deterministic=False, device=bench.device):
        for name in options.parts:
            if time.monotonic() - started > 60 * options.minutes:
                print(f"{name}: no time left", file=sys.stderr)
                continue
            print(f"{name} ...", file=sys.stderr)
            rows += PARTS[name](bench)
            (folder / "bench.md").write_text(as_markdown(facts, rows), encoding="utf-8")
            document = {"machine": facts, "rows": [row.as_dict() for row in rows]}
            (folder / "bench.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    print(as_markdown(facts, rows))
    print(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
