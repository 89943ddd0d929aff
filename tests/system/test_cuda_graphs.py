"""What a capture does around the graph itself, with a fake CUDA; tests/gpu has the real one."""

import gc
import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import torch

from gantrain.system import cuda_graphs

DEVICE = torch.device("cuda", 0)


class Owner:
    """An owner of graphs."""


class Generator:
    """A generator that knows whether its state takes part in a capture."""

    def __init__(self, captured: bool = True) -> None:
        self.captured = captured

    def clone_state(self) -> "Generator":
        return Generator(captured=False)

    def graphsafe_set_state(self, other: "Generator") -> None:
        self.captured = other.captured


class World:
    """The few calls of torch.cuda that a capture makes, and their effects."""

    def __init__(self, end: Exception | None = None) -> None:
        self.ring = itertools.count()
        self.current: Any = "the one before"
        self.default = Generator()
        self.pools_ended: list[Any] = []
        self.end = end
        world = self

        class Graph:
            """Restores the stream as PyTorch does: not if the end of the capture fails."""

            def __init__(self, _: Any, *, pool: Any, stream: Any, capture_error_mode: str) -> None:
                self.stream, self.before = stream, world.current

            def __enter__(self) -> None:
                world.current = self.stream

            def __exit__(self, *_: Any) -> None:
                if world.end is not None:
                    raise world.end
                world.current = self.before

        self.graph = Graph

    def stream(self, device: torch.device) -> Any:
        made = Owner()
        made.cuda_stream, made.device = next(self.ring) % cuda_graphs.POOL, device  # type: ignore[attr-defined]
        return made


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    made = World()
    monkeypatch.setattr(cuda_graphs, "_streams", {})
    monkeypatch.setattr(cuda_graphs, "_taken", set())
    monkeypatch.setattr(cuda_graphs, "NEEDS_GENERATORS", False)
    monkeypatch.setattr(torch.cuda, "Stream", made.stream)
    monkeypatch.setattr(torch.cuda, "graph", made.graph)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda device: made.current)
    monkeypatch.setattr(torch.cuda, "set_stream", lambda stream: setattr(made, "current", stream))
    monkeypatch.setattr(torch.cuda, "default_generators", (made.default,))

    def end(index: int, pool: Any) -> None:
        if pool in made.pools_ended:
            raise RuntimeError("not currently recording to mempool_id")
        made.pools_ended.append(pool)

    monkeypatch.setattr(torch._C, "_cuda_endAllocateToPool", end)
    yield made
    gc.collect()


def test_a_stream_is_reserved_while_its_owner_exists(world: World) -> None:
    owners = [Owner() for _ in range(cuda_graphs.POOL)]
    held = {cuda_graphs.capture_stream(DEVICE, owner).cuda_stream for owner in owners}
    assert held == set(range(cuda_graphs.POOL))
    with pytest.raises(RuntimeError, match="all 32 CUDA streams of PyTorch"):
        cuda_graphs.capture_stream(DEVICE, Owner())
    owners.pop()
    gc.collect()
    assert cuda_graphs.capture_stream(DEVICE, Owner()).cuda_stream in held


def test_workspaces_are_not_freed_while_a_graph_may_use_them(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    freed: list[bool] = []
    monkeypatch.setattr(torch._C, "_cuda_clearCublasWorkspaces", lambda: freed.append(True))
    owner = Owner()
    cuda_graphs.capture_stream(DEVICE, owner)
    cuda_graphs.free_workspaces()
    assert not freed
    del owner
    gc.collect()
    cuda_graphs.free_workspaces()
    assert freed == [True]


def failing() -> None:
    raise ValueError("the first")


@pytest.mark.parametrize(
    ("work", "end", "raised", "already_ended"),
    [
        (lambda: "found", None, None, []),
        (failing, None, "the first", []),
        (failing, RuntimeError("operation failed due to a previous error"), "the first", []),
        (lambda: None, RuntimeError("unjoined work"), "unjoined work", []),
        (lambda: None, RuntimeError("unjoined work"), "unjoined work", ["pool"]),  # later PyTorch has ended the pool
    ],
)
def test_a_capture_returns_the_result_or_raises_the_first_error_and_undoes_everything(
    world: World, work: Any, end: Exception | None, raised: str | None, already_ended: list[str]
) -> None:
    world.end, world.pools_ended = end, already_ended
    own = Generator()

    def capture() -> Any:
        return cuda_graphs.capture_graph(
            work,
            torch.cuda.CUDAGraph.__new__(torch.cuda.CUDAGraph),
            stream=world.stream(DEVICE),
            pool="pool",
            generators=[own],  # type: ignore[list-item]
        )

    if raised is None:
        assert capture() == "found"
        assert world.pools_ended == []
    else:
        with pytest.raises((ValueError, RuntimeError), match=raised):
            capture()
        assert world.pools_ended == ["pool"]
        assert not world.default.captured
        assert not own.captured
    assert world.current == "the one before"
