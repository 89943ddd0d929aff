"""`python -m gantrain theory`: figures of what the theory predicts of each objective, into a folder of its own."""

import os
import shlex
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gantrain.atomic_io import PART, UnusableFolderError
from gantrain.config import ConfigError, option
from gantrain.theory import best_gaussians, divergence_curves, gradient_map, gradient_weights, parting_gaussians, paths
from gantrain.theory.index import as_html
from gantrain.theory.mixture import EXAMPLE, MixtureError, parse_mixture
from gantrain.theory.page import TheoryFigure
from gantrain.theory.records import DivergenceNameError, divergence_named
from gantrain.theory.threads import one_thread

PAGE = "index.html"

FIGURES: dict[int, Callable[["Options"], TheoryFigure]] = {
    1: lambda _: divergence_curves.figure(),
    2: lambda o: best_gaussians.figure(parse_mixture(o.mixture), o.named(best_gaussians.DEFAULT_NAMES)),
    3: lambda o: paths.figure(parse_mixture(o.mixture), o.named(paths.DEFAULT_NAMES), tuple(range(o.seeds))),
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
        "1 divergences and generators, 2 best Gaussians, 3 where the rules lead, 4 parting Gaussians, "
        "5 gradient weights over D, 6 every pair's gradient",
    )

    mixture: str = option(EXAMPLE, "of figures 2 and 3, the data: weight:mean:std of each component")
    divergences: list[str] | None = option(
        None, "of figures 2 and 3: names such as kl, alt, alpha:0.3; null is every one that the figure can show"
    )
    seeds: int = option(5, "of figure 3: games with a learned discriminator, for each divergence and rule")

    def __post_init__(self) -> None:
        """Checks the figures' numbers, the mixture and the names."""
        known = ", ".join(map(str, FIGURES))
        for number in self.figures:
            if number not in FIGURES:
                raise ConfigError(f"figures={number} does not exist; choose from [{known}]")
        if not self.figures:
            raise ConfigError(f"figures= is empty; choose from [{known}]")
        if not 1 <= self.seeds <= 100:
            raise ConfigError(f"seeds={self.seeds} must lie between 1 and 100")
        try:
            parse_mixture(self.mixture)
        except MixtureError as error:
            text = str(error)
            raise ConfigError(text if text.startswith("mixture=") else f"mixture={self.mixture!r}: {text}") from None
        if self.divergences is None:
            return
        if not self.divergences or len(set(self.divergences)) < len(self.divergences):
            raise ConfigError(f"divergences={','.join(self.divergences)} must name each once, and at least one")
        try:
            for name in self.divergences:
                divergence_named(name)
            if 3 in self.figures:
                paths.check_names(tuple(self.divergences))
        except DivergenceNameError as error:
            raise ConfigError(f"divergences: {error}") from None

    def named(self, usual: tuple[str, ...]) -> tuple[str, ...]:
        """The divergences asked for, or the figure's own."""
        return usual if self.divergences is None else tuple(self.divergences)


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
        with one_thread():
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
