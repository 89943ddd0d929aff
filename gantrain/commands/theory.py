"""`python -m gantrain theory`: figures of what the theory predicts for each objective, in a new folder."""

import os
import shlex
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch

from gantrain.config import ConfigError, option
from gantrain.system.atomic_io import PART, UnusableFolderError, replace_text
from gantrain.theory import (
    best_gaussians,
    divergence_curves,
    gradient_map,
    gradient_weights,
    separating_gaussians,
    training_paths,
)
from gantrain.theory.figure import TheoryFigure, as_html
from gantrain.theory.mixture import EXAMPLE, MixtureError, parse_mixture
from gantrain.theory.names import DivergenceNameError, divergence_named

PAGE = "index.html"

FIGURES: dict[int, Callable[["Options"], TheoryFigure]] = {
    1: lambda _: divergence_curves.figure(),
    2: lambda o: best_gaussians.figure(parse_mixture(o.mixture), o.names),
    3: lambda o: training_paths.figure(parse_mixture(o.mixture), o.names, tuple(range(o.seeds))),
    4: lambda _: separating_gaussians.figure(),
    5: lambda _: gradient_weights.figure(),
    6: lambda _: gradient_map.figure(),
}
"""The functions that compute the figures, by number."""


@dataclass(slots=True, kw_only=True)
class Options:
    """Plot what theory predicts for each objective, from the formulas used in training, with captions and data."""

    out: str | None = option(None, "a new or empty folder; null: outputs/DATE/TIME-theory")
    figures: list[int] = option(
        list(FIGURES),
        "1 divergences and generators, 2 best Gaussians, 3 convergence of the generator rules, 4 separating Gaussians, "
        "5 gradient weights over D, 6 every pair's gradient",
    )

    mixture: str = option(EXAMPLE, "data of figures 2 and 3: weight:mean:std of each component")
    divergences: list[str] | None = option(
        None, "for figures 2 and 3: names such as kl, alt, alpha:0.3; null: all that the figure supports"
    )
    seeds: int = option(5, "for figure 3: games with a learned discriminator, for each divergence and rule")

    def __post_init__(self) -> None:
        """Checks the figures' numbers, the mixture and the names."""
        known = ", ".join(map(str, FIGURES))
        for number in self.figures:
            if number not in FIGURES:
                raise ConfigError(f"figures={number} does not exist; choose from [{known}]")
        if not self.figures:
            raise ConfigError(f"figures= is empty; choose from [{known}]")
        if not 1 <= self.seeds <= 100:
            raise ConfigError(f"seeds={self.seeds} must be between 1 and 100")
        try:
            parse_mixture(self.mixture)
        except MixtureError as error:
            text = str(error)
            raise ConfigError(text if text.startswith("mixture=") else f"mixture={self.mixture!r}: {text}") from None
        if self.divergences is None:
            return
        if not self.divergences or len(set(self.divergences)) < len(self.divergences):
            raise ConfigError(
                f"divergences={','.join(self.divergences)} must name at least one divergence, without repetitions"
            )
        try:
            for name in self.divergences:
                divergence_named(name)
            if 3 in self.figures:
                training_paths.check_names(tuple(self.divergences))
        except DivergenceNameError as error:
            raise ConfigError(f"divergences: {error}") from None

    @property
    def names(self) -> tuple[str, ...] | None:
        """The divergences, or None for each figure's default."""
        return None if self.divergences is None else tuple(self.divergences)


def run(options: Options) -> None:
    """Writes the figures as PNG, SVG and CSV with a page that shows them, and prints the path of each.

    Raises:
        ConfigError: `out` is not empty; nothing is overwritten.
        UnusableFolderError: `out` cannot be created or written.
    """
    folder = _new_folder(options.out)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # the tensors are too small for threads to help
    try:
        _draw(options, folder)
    finally:
        torch.set_num_threads(threads)


def _draw(options: Options, folder: Path) -> None:
    drawn = []
    for number in sorted(set(options.figures)):
        start = time.perf_counter()
        figure = FIGURES[number](options)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".", suffix=PART) as part:
            for path in figure.save(Path(part)):  # either all files of a figure appear or none
                path.replace(folder / path.name)
        drawn.append(figure)
        print(f"{folder / figure.name}.png  {time.perf_counter() - start:.1f} s", flush=True)
    replace_text(folder / PAGE, as_html(drawn, shlex.join(["python", "-m", "gantrain", *sys.argv[1:]])))
    print(folder / PAGE)


def _new_folder(out: str | None) -> Path:
    """The folder, created if missing; refused unless empty."""
    folder = Path(out) if out else Path("outputs") / time.strftime("%Y-%m-%d") / time.strftime("%H-%M-%S-theory")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        holds = next(folder.iterdir(), None)
    except OSError as error:
        raise UnusableFolderError(
            f"out={str(folder)!r} cannot be created or read ({error.strerror}); give another folder, new or empty"
        ) from None
    if holds is not None:
        raise ConfigError(
            f"out={str(folder)!r} is not empty (it contains {holds.name!r}) and will not be overwritten; give another "
            "folder, or omit out= for a new one"
        )
    if not os.access(folder, os.W_OK | os.X_OK):
        raise UnusableFolderError(f"out={str(folder)!r} is not writable; give another folder, new or empty")
    return folder
