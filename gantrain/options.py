"""How a key is declared, and the checks that every section's values go through."""

import math
from dataclasses import field
from typing import Any

from gantrain.errors import GantrainError


class ConfigError(GantrainError):
    """A bad configuration; the message names the key, the value, the rule and the way out."""


def option(default: Any, help: str) -> Any:
    """A dataclass field with its line of help; `...` for one that has to be given."""
    if default is ...:
        return field(metadata={"help": help})
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata={"help": help})
    return field(default=default, metadata={"help": help})


def require(ok: bool, key: str, value: object, rule: str) -> None:
    """Raises a ConfigError of key, value and rule unless `ok`."""
    if not ok:
        raise ConfigError(f"{key}={value!r} {rule}")


def choice(key: str, value: object, known: tuple[str, ...]) -> None:
    """Refuses a name that is not among the known ones."""
    require(value in known, key, value, f"is not known; choose one of [{', '.join(known)}]")


def between(key: str, value: float | None, low: float, high: float, *, what: str = "") -> None:
    """Refuses a number outside [low, high]; None passes. `what` says why."""
    if value is not None:
        hint = f"; {what}" if what else ""
        require(low <= value <= high, key, value, f"must lie between {low:g} and {high:g}{hint}")


def unread(key: str, value: object, unset: object, reader: str) -> None:
    """Refuses a value that nothing would read."""
    require(value == unset, key, value, f"is read by {reader} only; leave it at {unset!r}")


def at_least_0(key: str, value: float, what: str) -> None:
    """Refuses a negative number, an infinite one and NaN; `what` says what a value stands for."""
    require(math.isfinite(value) and value >= 0, key, value, f"must be a finite number of at least 0; {what}")


def is_number(value: object) -> bool:
    """Whether a value is a finite number; true and false are none."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < math.inf
