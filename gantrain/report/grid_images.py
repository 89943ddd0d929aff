"""Sample grids of many runs at the same steps of training, as data URIs within a budget of bytes."""

import base64
import io
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import numpy as np
from PIL import Image

BUDGET = 8_000_000
FEWEST = 5
"""With fewer moments than this, images are compressed more."""


@dataclass(frozen=True, slots=True)
class Coding:
    """WebP quality in [0, 100], and the scale of width and height."""

    quality: int
    scale: float = 1.0


CODINGS = (Coding(85), Coding(75), Coding(50), Coding(75, 0.5), Coding(50, 0.25))
"""From high to low quality; the first with at least FEWEST moments within the budget is used."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """An image: its data URI, and the original width and height in pixels."""

    uri: str
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class GridSequence:
    """The grids that fit the budget.

    Attributes:
        moments: training steps, ascending, including the last one.
        steps: for each run and moment, the step of the run's nearest grid; () for a run without grids or one that did
            not fit.
        images: for each run, its images by step.
        coding: their compression.
        bytes: total size of the data URIs.
    """

    moments: tuple[int, ...]
    steps: tuple[tuple[int, ...], ...]
    images: tuple[dict[int, Encoded], ...]
    coding: Coding
    bytes: int


def fit_grids(grids: Sequence[Mapping[int, Path]], budget: int = BUDGET) -> GridSequence:
    """As many evenly spaced moments of all runs as fit the budget.

    If even the final images do not fit, the last runs have none. Unreadable files, such as unfinished ones, are
    left out.

    Args:
        grids: for each run, its images by step.
        budget: bytes of all data URIs.
    """
    taken = [{step: path for step, path in of_run.items() if is_readable(path)} for of_run in grids]
    every = sorted({step for of_run in taken for step in of_run})
    encoded = cache(encode)

    def sizes(coding: Coding, moments: Sequence[int]) -> list[int]:
        return [
            sum(len(encoded(of_run[step], coding).uri) for step in set(_nearest(of_run, moments))) for of_run in taken
        ]

    for coding in CODINGS:
        count = _most_moments(every, budget, partial(sizes, coding))
        if count >= min(FEWEST, len(every)):
            break
    if every and count == 0:
        until = np.cumsum(sizes(coding, every[-1:])).tolist()
        taken = [of_run if size <= budget else {} for of_run, size in zip(taken, until, strict=True)]
        count = 1
    moments = evenly(every, count)
    steps = tuple(_nearest(of_run, moments) for of_run in taken)
    images = tuple(
        {step: encoded(of_run[step], coding) for step in dict.fromkeys(of_steps)}
        for of_run, of_steps in zip(taken, steps, strict=True)
    )
    return GridSequence(moments, steps, images, coding, sum(sizes(coding, moments)))


def evenly(steps: Sequence[int], count: int) -> tuple[int, ...]:
    """At most `count` of these steps, ascending: the last, the first, and those nearest to even spacing."""
    if count < 2 or len(steps) < 2:
        return tuple(steps[-1:]) if count else ()
    return tuple(dict.fromkeys(_nearest(steps, np.linspace(steps[0], steps[-1], count).tolist())))


def encode(path: Path, coding: Coding) -> Encoded:
    """An image as a WebP data URI."""
    with Image.open(path) as opened:
        image = opened.convert("RGB")
    width, height = image.size
    if coding.scale != 1:
        smaller = max(1, round(width * coding.scale)), max(1, round(height * coding.scale))
        image = image.resize(smaller, Image.Resampling.BOX)
    written = io.BytesIO()
    image.save(written, "WEBP", quality=coding.quality)
    return Encoded(f"data:image/webp;base64,{base64.b64encode(written.getvalue()).decode()}", width, height)


def is_readable(path: Path) -> bool:
    """Whether the file is a complete image."""
    try:
        with Image.open(path) as opened:
            opened.verify()
    except (OSError, SyntaxError):
        return False
    return True


def _nearest(steps: Collection[int], moments: Sequence[float]) -> tuple[int, ...]:
    """For each moment the nearest step, the earlier of two; () without steps."""
    if not steps:
        return ()
    return tuple(min(steps, key=lambda step: (abs(step - moment), step)) for moment in moments)


def _most_moments(every: Sequence[int], budget: int, sizes: Callable[[Sequence[int]], list[int]]) -> int:
    """The largest number of moments that fits, at most `len(every)`; 0 if not even the last one does."""
    fits, too_many = 0, len(every) + 1
    count = 1
    while fits < count < too_many:
        size = sum(sizes(evenly(every, count)))
        if size <= budget:
            fits = count
        else:
            too_many = count
        likely = int(count * budget / size) if size else len(every)
        count = min(max(likely, fits + 1), too_many - 1)
    return fits
