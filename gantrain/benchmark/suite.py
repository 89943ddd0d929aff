"""The blocks of the benchmark, in the order in which they are worth having."""

from collections.abc import Callable, Sequence

from gantrain.benchmark import ceilings, endtoend, fid, layers, loops, overhead, sweep
from gantrain.benchmark.session import Session

BLOCKS: dict[str, Callable[[Session], None]] = {
    "ceilings": ceilings.run,
    "loops": loops.run,
    "endtoend": endtoend.run,
    "fid": fid.run,
    "sweep": sweep.run,
    "overhead": overhead.run,
    "layers": layers.run,
}


def measure(session: Session, blocks: Sequence[str]) -> None:
    """Runs these blocks; the peak of a matrix product first, which shares of the floor are read against."""
    ceilings.peak_flops(session)
    for name, run in BLOCKS.items():
        if name in blocks:
            run(session)
