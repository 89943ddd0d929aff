"""Contestants that take turns, and the rows that come of it."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

from gantrain.benchmark.counting import kernels_of, operators_of
from gantrain.benchmark.rows import Row
from gantrain.benchmark.session import Session, failure, first_line
from gantrain.benchmark.timing import PeakMemory, paired_ratio, release, speed_spread, spread_of, time_rounds
from gantrain.config import ConfigError


@dataclass(frozen=True, slots=True, kw_only=True)
class Contestant:
    """Something that is timed.

    Attributes:
        name: of its cell.
        start: makes the work; what has to be closed goes onto the stack.
        images: that one call of the work handles.
        note: a deviation from the others' mathematics.
        counted: whether its launches are looked at.
    """

    name: str
    start: Callable[[ExitStack], Callable[[], object]]
    images: int
    note: str = ""
    counted: bool = True


def hold(
    session: Session,
    block: str,
    contest: str,
    contestants: Sequence[Contestant],
    *,
    against: str = "",
    flops: int | None = None,
) -> list[Row]:
    """Times the contestants in turns.

    One that cannot be made, or breaks while it is warmed up, gets a row that says why, and the others go on.

    Args:
        session: device, rounds and sizes.
        block: of the rows.
        contest: of the rows.
        contestants: what is timed; ratios are taken to every one that is not ours.
        against: whose ratio stands in the table.
        flops: floating-point operations that one call cannot do without.
    """
    rows, works = {}, {}
    with ExitStack() as stack:
        for contestant in contestants:
            row = rows[contestant.name] = Row(
                block=block, contest=contest, cell=contestant.name, note=contestant.note, against=against
            )
            memory = PeakMemory(session.device)
            try:
                work = contestant.start(stack)
                for _ in range(session.scale.warm_up):
                    work()
                if contestant.counted:
                    _count(session, row, work)
            except ConfigError as error:
                row.status = f"not available: {first_line(error)}"
            except Exception as error:  # one broken contestant leaves the others their contest
                row.status = failure(error)
            else:
                works[contestant.name] = work
                row.peak_mib = memory.mebibytes()
                row.note = "; ".join(filter(None, (row.note, getattr(work, "note", ""))))
        seconds = time_rounds(works, session.device, rounds=session.rounds, slice_seconds=session.scale.slice_seconds)
        works.clear()
    release(session.device)
    images = {contestant.name: contestant.images for contestant in contestants}
    for name, taken in seconds.items():
        row = rows[name]
        row.microseconds = spread_of(taken).scaled(1e6)
        row.images_per_second = speed_spread(images[name], taken)
        # a call may handle more images than the peer's: what is compared is the time of one
        each = [second / images[name] for second in taken]
        row.ratios = {
            peer: paired_ratio(each, [second / images[peer] for second in theirs])
            for peer, theirs in seconds.items()
            if peer != name and not peer.startswith("ours")
        }
        if flops and session.peak_flops:
            row.share_of_floor = flops / session.peak_flops / (row.microseconds.median * 1e-6)
    return list(rows.values())


def _count(session: Session, row: Row, work: Callable[[], object]) -> None:
    if session.device.type == "cuda":  # under compiled code and graphs the dispatcher sees next to nothing
        row.launches = kernels_of(work, session.device)
        return
    found = operators_of(work)
    row.launches, row.waits, row.flops = found.count, found.waits, found.flops
