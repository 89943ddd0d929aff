"""Several GANs in one process: one after the other, and each on a CUDA stream of its own."""

from collections.abc import Callable
from contextlib import ExitStack
from functools import partial

import torch

from gantrain.benchmark.building import Iterating, make_config, make_trainer
from gantrain.benchmark.cells import SWEPT, VARIANTS
from gantrain.benchmark.contest import Contestant, hold
from gantrain.benchmark.rows import Row
from gantrain.benchmark.session import Session
from gantrain.benchmark.timing import synchronize
from gantrain.config import ConfigError
from gantrain.cuda_graphs import working_stream

BLOCK = "sweep"
IN_TURN, STREAMS = "in turn", "ours, a stream each"


def run(session: Session) -> None:
    """One contest for each number of GANs."""
    for gans in session.scale.gans:
        session.attempt(BLOCK, f"M={gans}", 8 + 2 * gans, partial(_contest, session, gans))


def available(session: Session) -> str:
    """The first of the contest's variants whose keys there are."""
    contest = SWEPT[session.scale.cells]
    for name in contest.variants[:-1]:
        try:
            make_config(session, (*contest.overrides, *VARIANTS[name]))
        except ConfigError:
            continue
        return name
    return contest.variants[-1]


def _contest(session: Session, gans: int) -> list[Row]:
    contest, variant = SWEPT[session.scale.cells], available(session)
    overrides = (*contest.overrides, *VARIANTS[variant])
    schedule = make_config(session, overrides).schedule
    images = gans * schedule.batch_size * schedule.d_steps
    contestants = [
        Contestant(name=IN_TURN, start=partial(_in_turn, session, overrides, gans), images=images, note=variant)
    ]
    if session.scale.cells == "gpu":
        start = partial(_streams, session, overrides, gans)
        contestants.append(Contestant(name=STREAMS, start=start, images=images, note=variant))
    return hold(session, BLOCK, f"M={gans}", contestants, against=IN_TURN)


def _several(session: Session, overrides: tuple[str, ...], gans: int) -> list[Callable[[], None]]:
    return [Iterating(make_trainer(session, (*overrides, f"seed={seed}"))) for seed in range(gans)]


def _in_turn(session: Session, overrides: tuple[str, ...], gans: int, stack: ExitStack) -> Callable[[], None]:
    iterations = _several(session, overrides, gans)

    def all_of_them() -> None:
        for iteration in iterations:
            iteration()

    return all_of_them


def _streams(session: Session, overrides: tuple[str, ...], gans: int, stack: ExitStack) -> Callable[[], None]:
    iterations = _several(session, overrides, gans)
    synchronize(session.device)  # what they start from was made on the default stream
    cuda = session.device.type == "cuda"  # a rehearsal has none
    streams = [working_stream(session.device) if cuda else None for _ in iterations]

    def all_of_them() -> None:
        for iteration, stream in zip(iterations, streams, strict=True):
            with torch.cuda.stream(stream):
                iteration()

    return all_of_them
