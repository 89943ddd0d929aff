"""`python -m gantrain theory`: figures of what the theory predicts of each objective, into a folder of its own."""

import os
import shlex
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gantrain.config import ConfigError, option
from gantrain.files import PART, UnusableFolderError
from gantrain.theory import divergence_curves, gradient_map, gradient_weights, parting_gaussians
from gantrain.theory.index import as_html
from gantrain.theory.page import TheoryFigure

PAGE = "index.html"

FIGURES: dict[int, Callable[["Options"], TheoryFigure]] = {
    1: lambda _: divergence_curves.figure(),
    4: lambda _: parting_gaussians.figure(),
    5: lambda _: gradient_weights.figure(),
    6: lambda _: gradient_map.figure(),
}
"""What draws each figure, by its number."""


@dataclass(slots=True, kw_only=True)
class Options:
    """Draw what the theory predicts of the objectives, from training's own formulas, with captions and numbers."""

    out: str | None = option(None, "a new or empty folder; null is outputs/DATE/TIME-theory")
    figures: list[int] = option(
        list(FIGURES),
        "1 divergences and generators, 4 parting Gaussians, 5 gradient weights over D, 6 every pair's gradient",
    )

    def __post_init__(self) -> None:
        """Checks the figures' numbers."""
        known = ", ".join(map(str, FIGURES))
        for number in self.figures:
            if number not in FIGURES:
                raise ConfigError(f"figures={number} does not exist; choose from [{known}]")
        if not self.figures:
            raise ConfigError(f"figures= is empty; choose from [{known}]")


def run(options: Options) -> None:
    """Writes the figures as PNG, SVG and CSV and a page of all; prints a line a figure.

    Raises:
        ConfigError: `out` holds something; nothing is ever overwritten.
        UnusableFolderError: `out` cannot be made or written.
    """
    folder = _new_folder(options.out)
    drawn = []
    for number in sorted(set(options.figures)):
        start = time.perf_counter()
        figure = FIGURES[number](options)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".", suffix=PART) as part:
            for path in figure.save(Path(part)):  # a figure's files come whole or not at all
                path.replace(folder / path.name)
        drawn.append(figure)
        print(f"{folder / figure.name}.png  {time.perf_counter() - start:.1f} s", flush=True)
    part_page = folder / f".{PAGE}{PART}"
    part_page.write_text(as_html(drawn, shlex.join(["python", "-m", "gantrain", *sys.argv[1:]])), encoding="utf-8")
    part_page.replace(folder / PAGE)
    print(folder / PAGE)


def _new_folder(out: str | None) -> Path:
    """The folder, made if it is not there; there is nothing in it."""
    folder = Path(out) if out else Path("outputs") / time.strftime("%Y-%m-%d") / time.strftime("%H-%M-%S-theory")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        holds = next(folder.iterdir(), None)
    except OSError as error:
        raise UnusableFolderError(
            f"out={str(folder)!r} cannot be made or read ({error.strerror}); give another folder, new or empty"
        ) from None
    if holds is not None:
        raise ConfigError(
            f"out={str(folder)!r} is not empty (it holds {holds.name!r}), and nothing is overwritten; give another "
            "folder, or leave out= away for a new one"
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UnusableFolderError(f"out={str(folder)!r} may not be written; give another folder, new or empty")
    return folder
