"""The page's templates, and the filters that write values in them."""

from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from gantrain.config import as_word
from gantrain.report.wording import counted, number, spread_words

TEMPLATES = Path(__file__).parent


def render(template: str, **values: Any) -> str:
    """A template of this folder with the values in it, escaped."""
    return _environment().get_template(template).render(**values)


def source(name: str) -> str:
    """A style or script of this folder."""
    return (TEMPLATES / name).read_text(encoding="utf-8")


def duration(seconds: float | None) -> str:
    """`45 s`, `12 min` or `3.4 h`; a dash for None."""
    if seconds is None:
        return "–"
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 7200 else f"{seconds / 3600:.3g} h"


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
