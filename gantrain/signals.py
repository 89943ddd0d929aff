"""Signals that ask a run to end: it saves at the next step and ends with a code by which schedulers start it again.

SIGTERM is what Slurm's preemption, Kubernetes and torchrun send before SIGKILL, SIGUSR1 what `sbatch
--signal=USR1@60` sends. SIGINT is Ctrl-C: the first one is heeded at the next step too, a second one at once.
"""

import atexit
import contextlib
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

INTERRUPTED, AGAIN = 130, 75
"""Exit codes of what the keyboard has ended, and of what a scheduler may start again (EX_TEMPFAIL of sysexits.h)."""
SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGUSR1", "SIGINT") if hasattr(signal, name)]

_asked: list[str] = []
_inside: list[bool] = []


class StopRequested(KeyboardInterrupt):
    """A run that was asked to end and has saved.

    Attributes:
        name: of the signal.
    """

    def __init__(self, name: str) -> None:
        """Takes the signal's name."""
        super().__init__(name)
        self.name = name


def exit_code(interruption: KeyboardInterrupt) -> int:
    """130 for the keyboard's, 75 where a scheduler has asked and the run can go on."""
    by_scheduler = isinstance(interruption, StopRequested) and interruption.name != "SIGINT"
    return AGAIN if by_scheduler else INTERRUPTED


@contextlib.contextmanager
def handle_signals() -> Iterator[None]:
    """Inside, `asked` tells of signals, which would otherwise end the process at once.

    In the main thread, where Python handles signals, and for the outermost of several; elsewhere it changes nothing.
    A second Ctrl-C that comes while Python is in a destructor is lost to it, without a word: the first one holds.
    """
    if threading.current_thread() is not threading.main_thread() or _inside:
        yield
        return
    _asked.clear()
    _inside.append(True)
    before = {number: signal.signal(number, _note) for number in SIGNALS}
    hook = sys.unraisablehook
    sys.unraisablehook = lambda ignored: None if ignored.exc_type is KeyboardInterrupt else hook(ignored)
    try:
        yield
    finally:
        sys.unraisablehook = hook
        for number, handler in before.items():
            signal.signal(number, handler)
        _inside.clear()
        _asked.clear()


def ignore_late_interrupts() -> None:
    """From here on Python's own clearing up at the end is not interrupted by a late Ctrl-C, with a traceback."""
    atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)  # the last one registered is the first one called


def asked() -> str | None:
    """The name of the signal by which the process was asked to end since `handle_signals` began; None without one."""
    return _asked[0] if _asked else None


def _note(number: int, _: FrameType | None) -> Any:
    name = signal.Signals(number).name
    if name == "SIGINT" and "SIGINT" in _asked:
        raise KeyboardInterrupt
    _asked.append(name)
    again = "; once more ends it at once" if name == "SIGINT" else ""
    print(f"gantrain: {name}: ending after this step, with a checkpoint{again}", file=sys.stderr, flush=True)
