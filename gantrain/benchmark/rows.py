"""What a cell of the benchmark gives."""

from dataclasses import dataclass, field

from gantrain.benchmark.timing import Spread

OK = "ok"


@dataclass(slots=True, kw_only=True)
class Row:
    """What one loop, or one piece of work, was measured to do.

    Attributes:
        block: the kind of cell.
        contest: what it was measured beside, such as `A, B=64, k=1`.
        cell: its name there.
        status: `ok`, or why there are no figures.
        images_per_second: real images into D; of a sweep, of all its GANs together; of a loader, what it gives.
        microseconds: of an iteration.
        ratios: how many times as fast as another cell of the contest, round by round, by its name.
        against: the one of `ratios` that the table shows.
        launches: kernels an iteration on a GPU, aten operators on a CPU.
        waits: how often the host waits for the device in an iteration; counted on a CPU.
        flops: floating-point operations that its convolutions and products did in an iteration; counted on a CPU.
        share_of_floor: FLOP that the step needs over the time they would take at the measured peak of a matrix product.
        peak_mib: device memory at its highest.
        figures: whatever else was measured, by name with its unit.
        note: a deviation from the others' mathematics.
    """

    block: str
    contest: str
    cell: str
    status: str = OK
    images_per_second: Spread | None = None
    microseconds: Spread | None = None
    ratios: dict[str, Spread] = field(default_factory=dict)
    against: str = ""
    launches: float | None = None
    waits: int | None = None
    flops: int | None = None
    share_of_floor: float | None = None
    peak_mib: float | None = None
    figures: dict[str, float] = field(default_factory=dict)
    note: str = ""
