"""What the device can do at best: copies, matrix products, empty kernels."""

from collections.abc import Callable
from functools import partial

import torch

from gantrain.benchmark.rows import Row
from gantrain.benchmark.session import Session
from gantrain.benchmark.timing import Spread, spread_of, time_many, time_once

BLOCK = "ceilings"
NODES = 1_000
"""Kernels in the graph of empty ones."""


def run(session: Session) -> None:
    """All ceilings."""
    session.attempt(BLOCK, "copy", 2, partial(_copy, session))
    session.attempt(BLOCK, "matmul", 2, partial(_matmul, session))
    session.attempt(BLOCK, "operator", 2, partial(_operators, session))
    if session.device.type == "cuda":
        session.attempt(BLOCK, "graph node", 2, partial(_graph_nodes, session))


def peak_flops(session: Session) -> float:
    """Floating-point operations a second of a large matrix product, in bf16 on a GPU and float32 on a CPU."""
    if session.peak_flops is None:
        size = session.scale.matrix
        dtype = torch.bfloat16 if session.device.type == "cuda" else torch.float32
        left, right = (torch.randn(size, size, device=session.device, dtype=dtype) for _ in range(2))
        taken = _seconds(session, partial(torch.mm, left, right))
        session.peak_flops = 2 * size**3 / taken.median
    return session.peak_flops


def _seconds(session: Session, work: Callable[[], object]) -> Spread:
    """Of one call."""
    for _ in range(3):
        work()
    count = max(1, round(session.scale.slice_seconds / max(time_once(work, session.device), 1e-6)))
    return spread_of([time_many(work, min(count, NODES), session.device) for _ in range(session.rounds)])


def _copy(session: Session) -> list[Row]:
    source = torch.empty(session.scale.copied, dtype=torch.uint8, device=session.device)
    target = torch.empty_like(source)
    taken = _seconds(session, partial(target.copy_, source))
    figures = {"GB/s read and written": 2 * session.scale.copied / taken.median / 1e9}
    return [Row(block=BLOCK, contest="copy", cell=f"{session.scale.copied >> 10} KiB", figures=figures)]


def _matmul(session: Session) -> list[Row]:
    figures = {"TFLOP/s": peak_flops(session) / 1e12}
    kind = "bf16" if session.device.type == "cuda" else "float32"
    return [Row(block=BLOCK, contest="matmul", cell=f"{kind}, {session.scale.matrix}³", figures=figures)]


def _operators(session: Session) -> list[Row]:
    """One small operator from Python; on a GPU the time that the host needs to start it, or the device to run it."""
    one = torch.zeros(1, device=session.device)
    taken = _seconds(session, partial(one.add_, 1))
    return [Row(block=BLOCK, contest="operator", cell="add to one number", microseconds=taken.scaled(1e6))]


def _graph_nodes(session: Session) -> list[Row]:
    one = torch.zeros(1, device=session.device)
    one.add_(1)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(NODES):
            one.add_(1)
    taken = _seconds(session, graph.replay)
    return [Row(block=BLOCK, contest="graph node", cell=f"one of {NODES}", microseconds=taken.scaled(1e6 / NODES))]
