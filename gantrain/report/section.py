"""One part of the report's page."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Section:
    """One part of the page: its anchor, its title, its markup (already escaped), and the style and script that it needs besides the page's own."""
    key: str
    title: str
    html: str
    css: str = ""
    js: str = ""
