"""The page's sections, their templates, and the filters that write values in them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from gantrain.formatting import as_word
from gantrain.report.formatting import counted, mean_and_std, number

if TYPE_CHECKING:
    import plotly.graph_objects as go

TEMPLATES = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the page.

    Attributes:
        key: its anchor.
        title: its heading.
        html: escaped markup.
        css: additional style.
        js: additional script.
    """

    key: str
    title: str
    html: str
    css: str = ""
    js: str = ""


def render(template: str, **values: Any) -> str:
    """A template of this folder with the values, escaped."""
    return _environment().get_template(template).render(**values)


def source(name: str) -> str:
    """A style or script of this folder."""
    return (TEMPLATES / name).read_text(encoding="utf-8")


def embedded(figure: go.Figure, height: int) -> Markup:
    """A Plotly figure as a part of the page, `height` pixels high; the page has Plotly's script once."""
    config = {"displaylogo": False, "responsive": True}
    return Markup(figure.to_html(full_html=False, include_plotlyjs=False, config=config, default_height=f"{height}px"))


def as_json(content: Any) -> Markup:
    """JSON for a <script> element; escaped so that no text can close it."""
    text = json.dumps(content, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return Markup(text.replace("<", "\\u003c"))


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"number": number, "spread": mean_and_std, "counted": counted, "word": as_word}
    return environment
