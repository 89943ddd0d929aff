"""Tables on a terminal, of texts that others wrote: names of folders, values of configurations, reasons of failures."""

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from gantrain.config import printable


class PlainConsole(Console):
    """Rich's console, whose own colors and cursor movements are the only ones: those in texts become �."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """As rich renders it, character for character where there is none of control."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(printable(segment.text), segment.style)
