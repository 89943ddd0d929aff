"""Signals that stop a run: it saves a checkpoint after the current step and exits with a code for schedulers.

SIGTERM is what Slurm's preemption, Kubernetes and torchrun send before SIGKILL, SIGUSR1 what `sbatch
--signal=USR1@60` sends. The first Ctrl-C (SIGINT) also waits for the current step, the second stops at once.
"""

import atexit
import contextlib
import logging
import signal
import sys
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any

INTERRUPTED, RESTART = 130, 75
"""Exit codes after Ctrl-C, and after a scheduler's signal (EX_TEMPFAIL of sysexits.h: it may start the run again)."""
SIGNALS = [getattr(signal, name) for name in ("SIGTERM", "SIGUSR1", "SIGINT") if hasattr(signal, name)]

log = logging.getLogger(__name__)

_received: list[str] = []
_handling: list[bool] = []


class StopRequested(KeyboardInterrupt):
    """A signal has stopped the run, and its checkpoint is saved.

    Attributes:
        name: of the signal.
    """

    def __init__(self, name: str) -> None:
        """Takes the signal's name."""
        super().__init__(name)
        self.name = name


def exit_code(interruption: KeyboardInterrupt) -> int:
    """75 if a scheduler's signal has stopped a run that can be resumed, 130 after Ctrl-C."""
    by_scheduler = isinstance(interruption, StopRequested) and interruption.name != "SIGINT"
    return RESTART if by_scheduler else INTERRUPTED


@contextlib.contextmanager
def handle_signals() -> Iterator[None]:
    """Within the context, signals do not end the process but are returned by `pending_signal`.

    Has an effect only in the main thread, where Python handles signals, and not when nested.
    """
    if threading.current_thread() is not threading.main_thread() or _handling:
        yield
        return
    _received.clear()
    _handling.append(True)
    before = {number: signal.signal(number, _receive) for number in SIGNALS}
    hook = sys.unraisablehook
    # A second Ctrl-C that arrives in a destructor is ignored by Python; without this it would print a traceback.
    sys.unraisablehook = lambda ignored: None if ignored.exc_type is KeyboardInterrupt else hook(ignored)
    try:
        yield
    finally:
        sys.unraisablehook = hook
        for number, handler in before.items():
            signal.signal(number, handler)
        _handling.clear()
        _received.clear()


def ignore_late_interrupts() -> None:
    """Ignores Ctrl-C while Python shuts down, where it would print a traceback."""
    atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)  # registered last, called first


def pending_signal() -> str | None:
    """Name of the first signal received within `handle_signals`; None if there was none."""
    return _received[0] if _received else None


def _receive(number: int, _: FrameType | None) -> Any:
    name = signal.Signals(number).name
    if name == "SIGINT" and "SIGINT" in _received:
        raise KeyboardInterrupt
    _received.append(name)
    again = "; press Ctrl-C again to stop at once" if name == "SIGINT" else ""
    log.warning("%s: stopping after this step, with a checkpoint%s", name, again)
