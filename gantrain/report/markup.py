"""Templates, and how values are written in them."""

import math
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from gantrain.config import as_word
from gantrain.report.variants import Spread

TEMPLATES = Path(__file__).parent


def render(template: str, **values: Any) -> str:
    """A template of this folder with the values in it, escaped."""
    return _environment().get_template(template).render(**values)


def source(name: str) -> str:
    """A style or script of this folder."""
    return (TEMPLATES / name).read_text(encoding="utf-8")


def number(value: float | None, digits: int = 4) -> str:
    """Four significant digits, whole numbers with thousands apart; a dash for None."""
    if value is None:
        return "–"
    if float(value).is_integer() and abs(value) < 1e12:
        return f"{value:,.0f}"
    return f"{value:,.0f}" if 10**digits <= abs(value) < 1e12 else f"{value:#.{digits}g}".rstrip(".")


def spread_words(found: Spread | None) -> str:
    """`23.41 ± 0.52`, as many decimals as the second digit of the standard deviation."""
    if found is None:
        return "–"
    if not found.std or not 1e-6 < found.std < 1e6:
        return number(found.mean) + ("" if found.std is None else f" ± {number(found.std, 2)}")
    decimals = max(0, 1 - math.floor(math.log10(found.std)))
    return f"{found.mean:,.{decimals}f} ± {found.std:,.{decimals}f}"


def duration(seconds: float | None) -> str:
    """`45 s`, `12 min` or `3.4 h`; a dash for None."""
    if seconds is None:
        return "–"
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 7200 else f"{seconds / 3600:.3g} h"


def counted(count: int, thing: str) -> str:
    """`1 run`, `3 runs`."""
    return f"{count:,} {thing}{'' if count == 1 else 's'}"


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": number,
        "spread": spread_words,
        "duration": duration,
        "counted": counted,
        "word": as_word,
    }
    return environment
