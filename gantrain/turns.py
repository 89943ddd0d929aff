"""Threads that take turns: one at a time runs, and each finds what is the process's own as it left it.

Several runs in one process (`gantrain.sweeps.side_by_side`) give way to each other between two steps. PyTorch's default
generators, its flags of arithmetic and Hydra's present configuration are one for the whole process; they are
exchanged with the turn, so that a run computes what it computes alone. The current CUDA stream is a thread's own.
"""

import threading
from collections import deque
from collections.abc import Callable
from typing import Any

import torch

from gantrain.signals import asked

_own = threading.local()
_FLAGS = (
    (torch.backends.cudnn, ("benchmark", "deterministic", "allow_tf32")),
    (torch.backends.cuda.matmul, ("allow_tf32",)),
)


class Surroundings:
    """What a run sets for the whole process, kept while another one has its turn."""

    def __init__(self, more: Callable[[], Any] | None = None, put_back: Callable[[Any], None] | None = None) -> None:
        """As they are now; `more` reads what else there is, and `put_back` writes it."""
        self._more, self._put_back = more, put_back
        self._cuda: dict[torch.Generator, torch.Generator] = {}
        self.keep()
        if torch.cuda.is_initialized():  # a captured graph holds the state itself, which copies of it would not move
            self._cuda = {default: default.clone_state() for default in torch.cuda.default_generators}

    def keep(self) -> None:
        """Remembers them."""
        self._cpu = torch.get_rng_state()
        self._cuda = {default: default.graphsafe_get_state() for default in self._cuda}
        self._flags = [getattr(owner, name) for owner, names in _FLAGS for name in names]
        self._deterministic = torch.are_deterministic_algorithms_enabled()
        self._fills = torch.utils.deterministic.fill_uninitialized_memory  # type: ignore[attr-defined]
        self._rest = None if self._more is None else self._more()

    def enter(self) -> None:
        """Puts them back."""
        torch.set_rng_state(self._cpu)
        for default, state in self._cuda.items():
            default.graphsafe_set_state(state)
        values = iter(self._flags)
        for owner, names in _FLAGS:
            for name in names:
                setattr(owner, name, next(values))
        torch.use_deterministic_algorithms(self._deterministic)
        torch.utils.deterministic.fill_uninitialized_memory = self._fills  # type: ignore[attr-defined]
        if self._put_back is not None:
            self._put_back(self._rest)


class Turns:
    """A ring of threads.

    Attributes:
        count: how many there may be.
        interrupted: whether all of them are to end at their next turn.
    """

    def __init__(self, count: int) -> None:
        """Nobody has a turn yet."""
        self.count = count
        self.interrupted = False
        self._waiting: deque[threading.Event] = deque()
        self._lock = threading.Lock()
        self._busy = False

    def take(self, surroundings: Surroundings) -> None:
        """Waits for this thread's first turn."""
        _own.turns, _own.surroundings, _own.label = self, surroundings, ""
        self._wait()

    def leave(self) -> None:
        """This thread has had its last turn."""
        self._pass_on()
        _own.turns = None

    def give_way(self) -> None:
        """Lets every other thread have its turn.

        Raises:
            KeyboardInterrupt: the user wants all of them to end.
        """
        if self._waiting:
            _own.surroundings.keep()
            self._pass_on()
            self._wait()
        if self.interrupted and asked() is None:  # who is asked by a signal saves its next step and ends by itself
            raise KeyboardInterrupt

    def _wait(self) -> None:
        turn = threading.Event()
        with self._lock:
            self._waiting.append(turn)
            if not self._busy:
                self._next()
        turn.wait()
        _own.surroundings.enter()

    def _pass_on(self) -> None:
        with self._lock:
            self._next()

    def _next(self) -> None:
        self._busy = bool(self._waiting)
        if self._waiting:
            self._waiting.popleft().set()


def give_way() -> None:
    """Between two steps of a run: others have theirs, where there are any."""
    turns = _turns()
    if turns is not None:
        turns.give_way()


def side_by_side() -> int:
    """How many runs this process has under way at most; 1 for one alone."""
    turns = _turns()
    return 1 if turns is None else turns.count


def call_it(label: str) -> None:
    """What this thread's run is called."""
    _own.label = label


def label() -> str:
    """What this thread's run is called where several are under way; else ''."""
    return _own.label if _turns() is not None else ""


def _turns() -> Turns | None:
    return getattr(_own, "turns", None)
