"""What is aimed at, and whether a run of the benchmark reached it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gantrain.benchmark.cells import SN_A_STEP
from gantrain.benchmark.rows import Row

MET, NOT_MET, NOT_RUN = "met", "not met", "not run"
BOTH = ("cpu", "gpu")


@dataclass(frozen=True, slots=True)
class Target:
    """A figure to reach.

    Attributes:
        name: what it is about.
        bound: the least, or where `at_most` the most, that meets it.
        value: reads the figure off the rows; None where they have none.
        sizes: of the benchmark that can tell.
        at_most: whether smaller is better.
        unit: of the bound.
    """

    name: str
    bound: float
    value: Callable[[Sequence[Row]], float | None]
    sizes: tuple[str, ...] = ("gpu",)
    at_most: bool = False
    unit: str = "×"


@dataclass(frozen=True, slots=True)
class Verdict:
    """A target and what became of it."""

    name: str
    wanted: str
    value: float | None
    outcome: str


def best_ratio(block: str, contest: str, peer: str, allowed: Callable[[str], bool] = bool) -> "Reader":
    """Reads the largest median ratio of ours against a peer, over the cells whose name is allowed."""

    def read(rows: Sequence[Row]) -> float | None:
        found = [
            row.ratios[peer].median
            for row in rows
            if (row.block, row.contest) == (block, contest) and peer in row.ratios and allowed(row.cell)
        ]
        return max(found, default=None)

    return read


def best_share(contest: str) -> "Reader":
    """Reads the largest share of the floor among ours."""

    def read(rows: Sequence[Row]) -> float | None:
        found = [
            row.share_of_floor
            for row in rows
            if (row.block, row.contest) == ("loops", contest)
            and row.share_of_floor is not None
            and row.cell.startswith("ours")
        ]
        return max(found, default=None)

    return read


def figure(block: str, name: str) -> "Reader":
    """Reads a named figure of a block; the first that has it."""
    return lambda rows: next((r.figures[name] for r in rows if r.block == block and name in r.figures), None)


def per_flop(rows: Sequence[Row]) -> float | None:
    """Ours against the examples' loop, in floating-point operations a second: theirs spares a pass of the generator."""
    rows = [row for row in rows if row.block == "loops" and row.flops]
    flops = {row.contest: row.flops for row in rows if row.cell == "examples"}
    found = [
        row.ratios["examples"].median * row.flops / theirs
        for row in rows
        if row.cell == "ours" and "examples" in row.ratios and row.flops and (theirs := flops.get(row.contest))
    ]
    return max(found, default=None)


Reader = Callable[[Sequence[Row]], float | None]

A64, D64, E64 = "A, B=64, k=1", "D, B=64, k=5", "E, B=64, k=1"
TARGETS = (
    Target("loop alone, A, B=64, against examples", 4, best_ratio("loops", A64, "examples")),
    Target("the same by a graph alone", 3, best_ratio("loops", A64, "examples", lambda cell: cell == "ours, graph")),
    Target("end to end, A, B=64, against examples with 2 workers", 5, best_ratio("endtoend", A64, "examples")),
    Target("end to end, as shipped at 64 pixels", 5, best_ratio("endtoend", "64px, B=64, k=1", "examples")),
    Target("loop alone, D, k=5, B=64, against fidelity", 6, best_ratio("loops", D64, "fidelity")),
    Target(
        "the same with spectral norm a forward pass",
        3,
        best_ratio("loops", D64, "fidelity", lambda cell: SN_A_STEP not in cell),
    ),
    Target("loop alone, E, B=64, against mimicry", 2, best_ratio("loops", E64, "mimicry")),
    Target("share of the floor, A, B=64", 0.25, best_share(A64), unit=""),
    Target("share of the floor, A, B=128", 0.35, best_share("A, B=128, k=1"), unit=""),
    Target("share of the floor, A, B=256", 0.45, best_share("A, B=256, k=1"), unit=""),
    Target("FID of 50,000 samples", 4, figure("fid", "seconds for 50k"), at_most=True, unit=" s"),
    Target("FID against torch-fidelity's way", 2.5, best_ratio("fid", "FID of 50k", "fidelity")),
    Target("FID, difference on the same samples", 0.01, figure("fid", "difference"), at_most=True, unit=""),
    Target("8 GANs on streams of their own, against one after the other", 2, best_ratio("sweep", "M=8", "in turn")),
    Target("SNGAN-CNN at FID 18, training", 5, lambda rows: None, at_most=True, unit=" minutes"),
    Target("loop alone, per FLOP, against examples", 0.9, per_flop, sizes=("cpu",)),
    Target("resident images against a loader's core", 5, best_ratio("endtoend", "loader", "loader"), sizes=("cpu",)),
    Target("logging and diagnostics", 2, figure("overhead", "percent"), sizes=BOTH, at_most=True, unit=" %"),
)


def discriminate(rows: Sequence[Row], size: str) -> list[Verdict]:
    """What became of every target; a rehearsal's figures, and those of another size, tell nothing of one."""
    found = []
    for target in TARGETS:
        value = target.value(rows) if size in target.sizes else None
        met = value is not None and (value <= target.bound if target.at_most else value >= target.bound)
        outcome = NOT_RUN if value is None else MET if met else NOT_MET
        wanted = f"{'≤' if target.at_most else '≥'} {target.bound:g}{target.unit}"
        found.append(Verdict(target.name, wanted, value, outcome))
    return found
