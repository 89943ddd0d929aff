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
        "counted": counted,
        "word": as_word,
    }
    return environment
