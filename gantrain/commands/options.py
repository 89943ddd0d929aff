"""The words after a command: `key=value`, read into a dataclass of options."""

import difflib
import os
import sys
import textwrap
import types
from dataclasses import MISSING, field, fields
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

from gantrain.config import ConfigError, as_word

T = TypeVar("T")
TRUE, FALSE, NONE = ("true", "yes", "on"), ("false", "no", "off"), ("null", "none")


def words_option(help: str) -> Any:
    """The field, a list of str, that takes the words without a key, such as folders; at least one has to be given."""
    return field(metadata={"help": help, "words": True})


def parse_words(options: type[T], command: str, words: list[str]) -> T:
    """The options that these words set; `--help` prints them all and exits.

    A field called `class_` is the key `class`; a field without a default must be given. Lists are written
    `a,b` or `[a,b]`, absent values `null`. Words without a key go to the field of `words_option`, if there is one.
    Ranges are checked by the dataclass itself (`__post_init__`).

    Raises:
        ConfigError: a word that is no key=value, an unknown or missing key, or a value of another type.
    """
    if any(word in ("-h", "--help", "help") for word in words):
        print(help_of(options, command))
        sys.exit(0)
    types_of = {key_of(name): kind for name, kind in get_type_hints(options).items()}
    places = next((key_of(f.name) for f in fields(options) if f.metadata.get("words")), None)  # type: ignore[arg-type]
    found: dict[str, Any] = {}
    for word in words:
        key, equals, text = word.partition("=")
        is_place = not equals or os.path.exists(word)  # a run's folder has = in its name
        if places is not None and key not in types_of and is_place:
            found.setdefault(places, []).append(word)
            continue
        if not equals:
            hint = f"did you mean run={word}? " if "run" in types_of and os.path.exists(word) else ""
            raise ConfigError(f"{word!r} is no key=value; {hint}{_way_out(command)}")
        if key not in types_of:
            near = difflib.get_close_matches(key, types_of, n=3, cutoff=0.5)
            hint = f"did you mean {' or '.join(near)}? " if near else ""
            raise ConfigError(f"{key!r} is not a key of {command}; {hint}{_way_out(command)}")
        if key in found:
            raise ConfigError(f"{key} is given twice; keep one")
        found[key] = _value(key, text, types_of[key])
    for f in fields(options):  # type: ignore[arg-type]
        needed = f.default is MISSING and f.default_factory is MISSING
        if needed and key_of(f.name) not in found:
            raise ConfigError(f"{key_of(f.name)} is missing: {f.metadata['help']}; {_way_out(command)}")
    names = {key_of(f.name): f.name for f in fields(options)}  # type: ignore[arg-type]
    return options(**{names[key]: value for key, value in found.items()})


def help_of(options: type, command: str) -> str:
    """The command's purpose and every key with its default and its line of help."""
    rows = []
    places = ""
    for f in fields(options):
        if f.metadata.get("words"):
            places = f"{key_of(f.name).upper()} ... "
            rows.append((key_of(f.name).upper(), str(f.metadata["help"])))
            continue
        default: object = f.default
        if default is MISSING:
            default = f.default_factory() if f.default_factory is not MISSING else "..."
        rows.append((f"{key_of(f.name)}={as_word(default).strip('[]')}", str(f.metadata["help"])))
    width = max(len(key) for key, _ in rows) + 2
    purpose = " ".join((options.__doc__ or "").split())
    lines = [f"python -m gantrain {command} {places}key=value ...", "", *textwrap.wrap(purpose, 100), ""]
    for key, text in rows:
        first, *rest = textwrap.wrap(text, max(40, 116 - width))
        lines += [f"  {key.ljust(width)}{first}", *(" " * (width + 2) + line for line in rest)]
    return "\n".join(lines)


def key_of(field_name: str) -> str:
    """The key of a field: without the underscore that keeps it from being a Python keyword."""
    return field_name.removesuffix("_")


def _way_out(command: str) -> str:
    return f"python -m gantrain {command} --help lists the keys"


def _value(key: str, text: str, kind: Any) -> Any:
    if get_origin(kind) in (Union, types.UnionType):
        if text.lower() in NONE:
            return None
        (kind,) = (part for part in get_args(kind) if part is not type(None))
    if get_origin(kind) is list:
        (inner,) = get_args(kind)
        return [_value(key, part.strip(), inner) for part in text.strip("[]").split(",") if part.strip()]
    if kind is bool:
        if text.lower() in (*TRUE, *FALSE):
            return text.lower() in TRUE
        raise ConfigError(f"{key}={text!r} must be true or false")
    if kind in (int, float):
        try:
            return kind(text.replace("_", ""))
        except ValueError:
            raise ConfigError(f"{key}={text!r} must be {'a whole number' if kind is int else 'a number'}") from None
    assert kind is str, kind
    if not text:
        raise ConfigError(f"{key}= is empty; give a value or leave it out")
    return text
