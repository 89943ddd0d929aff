"""Declaration of configuration keys, and checks of their values."""

import math
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import MISSING, Field, field, fields, make_dataclass
from typing import Any, Protocol, TypeVar

from gantrain.errors import GantrainError
from gantrain.formatting import as_word


class ConfigError(GantrainError):
    """A bad configuration value; the message gives the key, the value, the rule and a way out."""


def option(default: Any, help: str) -> Any:
    """A dataclass field with its line of help; `...` for a required one."""
    if default is ...:
        return field(metadata={"help": help})
    if isinstance(default, list):
        return field(default_factory=lambda: list(default), metadata={"help": help})
    return field(default=default, metadata={"help": help})


def require(ok: bool, key: str, value: object, rule: str) -> None:
    """Raises a ConfigError with key, value and rule unless `ok`."""
    if not ok:
        raise ConfigError(f"{key}={value!r} {rule}")


def choice(key: str, value: object, known: tuple[str, ...]) -> None:
    """Refuses an unknown name."""
    require(value in known, key, value, f"is unknown; choose one of [{', '.join(known)}]")


def between(key: str, value: float | None, low: float, high: float, *, what: str = "") -> None:
    """Refuses a number outside [low, high]; None passes. `what` says why."""
    if value is not None:
        hint = f"; {what}" if what else ""
        require(low <= value <= high, key, value, f"must be between {low:g} and {high:g}{hint}")


def unread(key: str, value: object, unset: object, reader: str) -> None:
    """Refuses a value that has no effect."""
    require(value == unset, key, value, f"is only used by {reader}; leave it at {unset!r}")


def at_least_0(key: str, value: float, what: str) -> None:
    """Refuses negative numbers, infinity and NaN; `what` is appended to the message."""
    require(math.isfinite(value) and value >= 0, key, value, f"must be a finite number of at least 0; {what}")


def is_number(value: object) -> bool:
    """Whether a value is a finite number; booleans are not."""
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < math.inf


class Choice(Protocol):
    """A record that a section chooses by `name`, such as a network or a data set."""

    @property
    def name(self) -> str:
        """Value of the section's `name` key."""

    @property
    def options(self) -> type:
        """Dataclass of the keys that it reads."""

    @property
    def fixed(self) -> Mapping[str, tuple[object, str]]:
        """Keys that must have one value, and why."""


ChoiceType = TypeVar("ChoiceType", bound=Choice)


def find_choice(key: str, name: str, choices: Sequence[ChoiceType]) -> ChoiceType:
    """The record of that name, for section `key`.

    Raises:
        ConfigError: there is none.
    """
    choice(f"{key}.name", name, tuple(record.name for record in choices))
    return next(record for record in choices if record.name == name)


def register_choice(key: str, record: ChoiceType, choices: list[ChoiceType]) -> None:
    """Adds a record, so that `{key}.name` can choose it.

    Raises:
        ConfigError: the name is taken, or the record has new keys and the schema has already been made.
    """
    if any(known.name == record.name for known in choices):
        raise ConfigError(f"{key}={record.name} is already registered")
    known_keys = {f.name for known in choices for f in fields(known.options)}
    new = [f.name for f in fields(record.options) if f.name not in known_keys]
    if new and "gantrain.config" in sys.modules:
        raise ConfigError(f"register {key}={record.name} before importing gantrain.config: its key {new[0]!r} is new")
    choices.append(record)


def merge_options(
    name: str,
    parts: Iterable[type],
    *,
    base: type,
    doc: str,
    own: Sequence[tuple[str, Any, Any]] = (),
    distinct: bool = False,
) -> Any:
    """A dataclass with the fields of several options dataclasses, for a section of the configuration.

    Args:
        name: of the class.
        parts: the dataclasses; a field that several of them declare is taken from the first.
        base: class without fields that the new one inherits methods from.
        doc: docstring.
        own: fields before the others, as (name, type, field).
        distinct: whether each field may be declared by one of the dataclasses only.

    Raises:
        ConfigError: two dataclasses declare the same field although `distinct`.
    """
    found: dict[str, tuple[str, Any, Any]] = {key: (key, kind, value) for key, kind, value in own}
    owners: dict[str, type] = {}
    for part in parts:
        for f in fields(part):
            owner = owners.setdefault(f.name, part)
            if distinct and owner is not part:
                raise ConfigError(f"{f.name} is a key of both {owner.__name__} and {part.__name__}; rename one")
            found.setdefault(f.name, (f.name, f.type, _copy(f)))
    made = make_dataclass(name, found.values(), bases=(base,), slots=True, kw_only=True)
    made.__doc__, made.__module__ = doc, base.__module__
    return made


def read_options(key: str, section: Any, chosen: Choice, choices: Iterable[Choice]) -> Any:
    """The options that a chosen record reads, taken from a section with the keys of all records.

    Args:
        key: of the section, for errors.
        section: instance of a class made by `merge_options`.
        chosen: the record.
        choices: all records; errors name those that read a key.

    Raises:
        ConfigError: a key is set that the record does not read, or that must have a fixed value.
    """
    read = {f.name for f in fields(chosen.options)}
    for f in fields(section):
        value = getattr(section, f.name)
        if f.name in chosen.fixed:
            wanted, why = chosen.fixed[f.name]
            rule = f"does not fit {key}={chosen.name}, {why}; set {key}.{f.name}={as_word(wanted)}"
            require(value == wanted, f"{key}.{f.name}", value, rule)
        elif f.name not in read and f.name != "name":
            readers = [record.name for record in choices if f.name in {g.name for g in fields(record.options)}]
            unread(f"{key}.{f.name}", value, _default(f), f"{key}={', '.join(readers)}")
    return chosen.options(**{name: getattr(section, name) for name in read})


def _copy(f: "Field[Any]") -> Any:
    if f.default_factory is not MISSING:
        return field(default_factory=f.default_factory, metadata=f.metadata)
    return field(default=f.default, metadata=f.metadata)


def _default(f: "Field[Any]") -> object:
    return f.default_factory() if f.default_factory is not MISSING else f.default
