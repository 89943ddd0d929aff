"""Objects whose pickles run code: each leaves a canary where it is unpickled."""

import builtins
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any


class Payload:
    """Its pickle has a shell make a file."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.system, (f"touch '{self.canary}'",)


class Evaluated(Payload):
    """Its pickle has Python evaluate words that make a file."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return builtins.eval, (f"open({str(self.canary)!r}, 'w').close()",)


class Opened(Payload):
    """Its pickle opens a file for writing."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return builtins.open, (str(self.canary), "w")


class Restored(Payload):
    """A class of the user's, with a state to be set."""

    def __setstate__(self, state: dict[str, Any]) -> None:
        Path(state["canary"]).touch()


PAYLOADS = (Payload, Evaluated, Opened, Restored)


def laughing() -> list[Any]:
    """A billion values in a few bytes."""
    found: list[Any] = [1]
    for _ in range(9):
        found = [found] * 10
    return found
