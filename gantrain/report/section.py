"""One part of the report's page."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Section:
    """One part of the page.

    Attributes:
        key: its anchor.
        title: its heading.
        html: its markup, already escaped.
        css: the style that it needs besides the page's own.
        js: the script that it needs besides the page's own.
    """

    key: str
    title: str
    html: str
    css: str = ""
    js: str = ""
