"""Progress of a run on the terminal."""

import contextlib
import logging
import sys
import time
from collections.abc import Callable, Iterator
from types import TracebackType

from tqdm import tqdm

HOUR = 3600.0
FIRST_STEPS = 10
"""Number of steps before the duration of the run is estimated."""
LINE_SECONDS = 15.0

log = logging.getLogger(__name__)


class Progress:
    """A progress bar on a terminal; elsewhere a line every 15 seconds."""

    def __init__(self, *, first: int, steps: int, images: Callable[[int], int], warn_slow: bool) -> None:
        """Starts the clock.

        Args:
            first: step that the run starts or resumes from.
            steps: last step.
            images: step -> real images that D has seen by then.
            warn_slow: whether to warn after the first steps if the run will take hours.
        """
        self.first, self.steps, self.images = first, steps, images
        self.warn_slow = warn_slow
        self.shown: dict[str, str] = {}
        self.started = self.last_line = time.monotonic()
        self.terminal = sys.stderr.isatty()
        self.bar = tqdm(
            total=steps, initial=first, unit="step", disable=not self.terminal, dynamic_ncols=True, smoothing=0.1
        )

    def __enter__(self) -> "Progress":
        """Returns itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes the bar."""
        self.bar.close()

    def advance(self, step: int) -> None:
        """Shows that `step` steps are done."""
        self.bar.set_postfix({**self.shown, "images/s": f"{self.images_per_second(step):.0f}"}, refresh=False)
        self.bar.update()
        done = step - self.first
        if self.warn_slow and done == min(FIRST_STEPS, self.steps - self.first):
            self._warn_if_slow(done)
        if not self.terminal and (time.monotonic() - self.last_line > LINE_SECONDS or step == self.steps):
            self.last_line = time.monotonic()
            log.info("%s", self._line(step))

    def show(self, **values: str) -> None:
        """Sets values to show with the progress."""
        self.shown |= values

    @contextlib.contextmanager
    def paused(self) -> Iterator[None]:
        """Excludes the time of the block (evaluation, grids, checkpoints) from training time and speed."""
        paused = time.monotonic()
        try:
            yield
        finally:
            self.started += time.monotonic() - paused

    def training_seconds(self) -> float:
        """Training time since the start."""
        return time.monotonic() - self.started

    def images_per_second(self, step: int) -> float:
        """Real images that D sees per second of training time."""
        return (self.images(step) - self.images(self.first)) / max(self.training_seconds(), 1e-9)

    def _line(self, step: int) -> str:
        rate = self.images_per_second(step)
        left = (self.images(self.steps) - self.images(step)) / max(rate, 1e-9)
        shown = "  ".join(f"{name} {value}" for name, value in self.shown.items())
        return f"step {step}/{self.steps}  {rate:.0f} images/s  {tqdm.format_interval(left)} left  {shown}"

    def _warn_if_slow(self, done: int) -> None:
        seconds = (time.monotonic() - self.started) / done * (self.steps - self.first)
        if seconds > HOUR:
            log.warning(
                "at this speed %s steps take about %.1f hours on this CPU; try a smaller run: experiment=demo "
                "(minutes), or model.width=16 schedule.steps=1000",
                f"{self.steps:,}",
                seconds / HOUR,
            )
