"""The page's templates, and the filters that write values in them."""

from functools import cache
from pathlib import Path
from typing import Any

import plotly.graph_objects as go
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from gantrain.config import as_word
from gantrain.report.formatting import counted, number, spread_words

TEMPLATES = Path(__file__).parent


def render(template: str, **values: Any) -> str:
    """A template of this folder with the values in it, escaped."""
    return _environment().get_template(template).render(**values)


def source(name: str) -> str:
    """A style or script of this folder."""
    return (TEMPLATES / name).read_text(encoding="utf-8")


def embedded(figure: go.Figure, height: int) -> Markup:
    """A picture of Plotly's as the page holds it, `height` pixels high; the page has the script once."""
    look = {"displaylogo": False, "responsive": True}
    return Markup(figure.to_html(full_html=False, include_plotlyjs=False, config=look, default_height=f"{height}px"))


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
