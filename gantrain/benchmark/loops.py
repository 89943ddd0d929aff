"""The loop alone: the images are on the device already and nothing is printed."""

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

from gantrain.benchmark.building import Iterating, make_config, make_peer, make_trainer
from gantrain.benchmark.cells import LOOPS, VARIANTS, Contest
from gantrain.benchmark.contest import Contestant, hold
from gantrain.benchmark.counting import iteration_flops
from gantrain.benchmark.peers import PEERS
from gantrain.benchmark.rows import Row
from gantrain.benchmark.session import Session
from gantrain.builders import build_networks

BLOCK = "loops"


def run(session: Session) -> None:
    """All contests of the session's table."""
    for contest in LOOPS[session.scale.cells]:
        session.attempt(BLOCK, contest.name, contest.seconds, partial(_contest, session, contest))


def floor_flops(session: Session, contest: Contest) -> int:
    """Floating-point operations that one iteration of a contest cannot do without."""
    config = make_config(session, contest.overrides)
    return iteration_flops(
        build_networks(config, 0),
        config.loss.make(),
        batch_size=config.schedule.batch_size,
        d_steps=config.schedule.d_steps,
        image_size=config.data.image_size,
    )


def images_of(session: Session, contest: Contest) -> int:
    """Real images into D in an iteration."""
    schedule = make_config(session, contest.overrides).schedule
    return schedule.batch_size * schedule.d_steps


def ours(session: Session, contest: Contest) -> list[Contestant]:
    """Our variants."""
    return [
        Contestant(
            name=name,
            start=_starter(session, (*contest.overrides, *VARIANTS[name])),
            images=images_of(session, contest),
        )
        for name in contest.variants
    ]


def _starter(session: Session, overrides: tuple[str, ...]) -> Callable[[ExitStack], Callable[[], None]]:
    return lambda stack: Iterating(make_trainer(session, overrides))


def _contest(session: Session, contest: Contest) -> list[Row]:
    images = images_of(session, contest)
    peers = [
        Contestant(
            name=name,
            start=partial(make_peer, session, name, contest.overrides),
            images=images,
            note=PEERS[name].deviation,
        )
        for name in contest.peers
    ]
    return hold(
        session,
        BLOCK,
        contest.name,
        [*peers, *ours(session, contest)],
        against=contest.against,
        flops=floor_flops(session, contest),
    )
