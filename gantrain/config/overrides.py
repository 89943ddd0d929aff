"""Parses command-line overrides with Hydra's grammar, and counts the values of a sweep."""

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep

from gantrain.config import MAY_CHANGE_ON_RESUME, Config, ConfigError, flatten, to_dict
from gantrain.config.compose import config_loader, readable_errors

MOST_JOBS = 10_000
"""Limit on the jobs of a sweep: each has a folder, and all values are checked before the first job starts."""


def parse_overrides(words: Sequence[str]) -> list[Override]:
    """Parses `key=value` words.

    Raises:
        ConfigError: a word does not follow Hydra's grammar.
    """
    globs = any("glob(" in word for word in words)  # the parser lists the options of a group for these
    with readable_errors(words, f"{' '.join(words)}: "):
        return list(OverridesParser.create(config_loader() if globs else None).parse_overrides(list(words)))


def key_of(word: str) -> str:
    """The key of a `key=value` word."""
    return word.partition("=")[0].lstrip("+~")


def quoted(text: str) -> str:
    """Quotes any text so that Hydra's grammar reads it as one value."""
    escaped = text.replace("\\", "\\\\").replace("'", "\\'")
    return f"'{escaped}'"


def with_literal_resume(words: list[str]) -> list[str]:
    """The words with the folder of `resume=` quoted, since the folder names of a sweep's jobs contain = and comma."""
    found = []
    for word in words:
        key, _, value = word.partition("=")
        literal = key == "resume" and value[:1] not in ("'", '"', "")
        found.append(f"{key}={quoted(value)}" if literal else word)
    return found


def first_values(overrides: Sequence[Override]) -> list[str]:
    """The words of a sweep's first job.

    Raises:
        ConfigError: see `count_values`.
    """
    return [_first_value(override) for override in overrides]


def _first_value(override: Override) -> str:
    if not override.is_sweep_override():
        return str(override.input_line)
    if override.is_discrete_sweep():
        count_values(override)
        return f"{override.get_key_element()}={next(iter(override.sweep_string_iterator()))}"
    interval = override.value()
    assert isinstance(interval, IntervalSweep)
    return f"{override.get_key_element()}={interval.start}"


def count_values(override: Override) -> int:
    """The number of values of a discrete sweep, without listing those of a range.

    Raises:
        ConfigError: there are no values, more than `MOST_JOBS`, or infinitely many.
    """
    word, value = str(override.input_line), override.value()
    if isinstance(value, RangeSweep):
        start, stop, step = value.start, value.stop, value.step
        assert start is not None
        assert stop is not None
        if not all(isinstance(number, int) or math.isfinite(number) for number in (start, stop, step)) or step == 0:
            raise ConfigError(f"{word} is infinite: a range needs finite limits and a nonzero step")
        count = max(0, math.ceil((Fraction(stop) - Fraction(start)) / Fraction(step)))
    else:
        count = sum(1 for _ in override.sweep_string_iterator())
    if count == 0:
        raise ConfigError(f"{word} has no value; give at least one, or leave it out")
    refuse_too_many(word, count)
    return count


def refuse_too_many(word: str, count: int) -> None:
    """Refuses a sweep of more than `MOST_JOBS` jobs."""
    if count > MOST_JOBS:
        shown = f"{count:,}" if count < 10**15 else "more than 10^15"
        raise ConfigError(f"{word} results in {shown} jobs; the limit is {MOST_JOBS:,}: give fewer values")


def explicit_keys(words: Sequence[str], config: Config) -> dict[str, Any]:
    """The dotted keys that the command line sets, with their composed values.

    A group or an experiment sets all of its keys, except those that may change on resume: these count only if the
    command line names them.
    """
    flat = flatten(to_dict(config))
    found: dict[str, Any] = {}
    for override in parse_overrides(words):
        name = override.key_or_group
        chosen = [key for key in flat if name in ("experiment", key) or key.startswith(f"{name}.")]
        found |= {key: flat[key] for key in chosen if key == name or key not in MAY_CHANGE_ON_RESUME}
    return found
