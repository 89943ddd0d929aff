"""Options of a command: its `key=value` words, converted and checked by OmegaConf."""

import difflib
import os
import sys
import textwrap
from collections.abc import Sequence
from dataclasses import MISSING, field, fields
from typing import Any, TypeVar, cast

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException, ValidationError

from gantrain.config import ConfigError, as_word, kind_of

T = TypeVar("T")


def words_option(help: str) -> Any:
    """The field, a list of str, of the words without a key, such as folders; at least one must be given."""
    return field(metadata={"help": help, "words": True})


def parse_words(options: type[T], command: str, words: Sequence[str]) -> T:
    """The options that these words set; `--help` prints all options and exits.

    A field called `class_` is the key `class`. Lists are written `a,b` or `[a,b]`, missing values `null`. Ranges are
    checked by the dataclass itself (`__post_init__`).

    Args:
        options: a dataclass; a field without a default is required.
        command: its name, for help and errors.
        words: `key=value`; words without a key go to the field made by `words_option`.

    Raises:
        ConfigError: a word that is not key=value, an unknown or missing key, or a value of the wrong type.
    """
    if any(word in ("-h", "--help", "help") for word in words):
        print(help_of(options, command))
        sys.exit(0)
    known = {key_of(f.name): f for f in fields(options)}  # type: ignore[arg-type]
    free_words = next((key for key, f in known.items() if f.metadata.get("words")), None)
    way_out = f"python -m gantrain {command} --help lists the keys"
    given: dict[str, Any] = {}
    for word in words:
        key, equals, text = word.partition("=")
        is_folder = not equals or os.path.exists(word)  # the folder of a run has = in its name
        if free_words is not None and key not in known and is_folder:
            given.setdefault(free_words, []).append(word)
        elif not equals:
            hint = f"did you mean run={word}? " if "run" in known and os.path.exists(word) else ""
            raise ConfigError(f"{word!r} is not key=value; {hint}{way_out}")
        elif key not in known:
            near = difflib.get_close_matches(key, known, n=3, cutoff=0.5)
            hint = f"did you mean {' or '.join(near)}? " if near else ""
            raise ConfigError(f"{key!r} is not a key of {command}; {hint}{way_out}")
        elif key == free_words:
            given.setdefault(key, []).extend(filter(None, text.strip("[]").split(",")))
        elif key in given:
            raise ConfigError(f"{key} is given twice; keep one")
        else:
            given[key] = text
    composed = OmegaConf.structured(options)
    for key, value in given.items():
        _set(composed, options, key, known[key].name, value)
    for key, f in known.items():
        if key not in given and f.default is MISSING and f.default_factory is MISSING:
            raise ConfigError(f"{key} is missing: {f.metadata['help']}; {way_out}")
    try:
        return cast(T, OmegaConf.to_object(composed))
    except OmegaConfBaseException as error:
        raise ConfigError(f"{str(error).splitlines()[0]}; {way_out}") from None


def _set(composed: DictConfig, options: type, key: str, name: str, value: str | list[str]) -> None:
    """Sets a key; OmegaConf converts the text to the field's type."""
    kind = kind_of(name, options) or "a list, written [A,B], or null"
    parts = value if isinstance(value, list) else [part.strip() for part in value.strip("[]").split(",")]
    found: Any = None
    try:
        if isinstance(value, list):
            composed[name] = [_literal(part) for part in parts]
        elif not value:
            raise ConfigError(f"{key}= is empty; give a value or leave it out")
        elif value.lower() in ("null", "none") and "null" in kind:
            composed[name] = None
        elif kind.startswith("a list"):
            composed[name] = []
            for found in filter(None, parts):
                composed[name].append(_literal(found))
        else:
            composed[name] = _literal(value)
    except ValidationError:
        if found is not None:
            kind = kind_of(f"{name}[0]", options) or "text"
        raise ConfigError(f"{key}={(found or value)!r} must be {kind}") from None
    except OmegaConfBaseException as error:
        raise ConfigError(f"{key}={value!r}: {str(error).splitlines()[0]}") from None


def _literal(text: str) -> str:
    """Text in which OmegaConf sees no interpolation."""
    return text.replace("${", "\\${")


def help_of(options: type, command: str) -> str:
    """Help text of a command: its description, and each key with its default and help."""
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
