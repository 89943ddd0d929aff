"""What a person sees while a run trains."""

import sys
import time
from collections.abc import Callable
from types import TracebackType

from tqdm import tqdm

HOUR = 3600.0
FIRST_LOOK = 10  # steps before the length of the run is estimated


class Progress:
    """A bar on a terminal; elsewhere (a log file, a notebook's pipe) a line every 15 seconds."""

    def __init__(self, *, first: int, steps: int, images: Callable[[int], int], warn_slow: bool) -> None:
        """Starts at step `first` of `steps`; `images(step)` real images reach D in that many steps."""
        self.first, self.steps, self.images = first, steps, images
        self.warn_slow = warn_slow
        self.words: dict[str, str] = {}
        self.started = self.last_line = time.monotonic()
        self.terminal = sys.stderr.isatty()
        self.bar = tqdm(
            total=steps, initial=first, unit="step", disable=not self.terminal, dynamic_ncols=True, smoothing=0.1
        )

    def __enter__(self) -> "Progress":
        """The bar itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Closes the bar."""
        self.bar.close()

    def advance(self, step: int) -> None:
        """`step` steps are done."""
        self.bar.set_postfix({**self.words, "images/s": f"{self.images_per_second(step):.0f}"}, refresh=False)
        self.bar.update()
        done = step - self.first
        if self.warn_slow and done == min(FIRST_LOOK, self.steps - self.first):
            self._warn_if_slow(done)
        if not self.terminal and (time.monotonic() - self.last_line > 15 or step == self.steps):
            self.last_line = time.monotonic()
            self.say(self._line(step))

    def show(self, **words: str) -> None:
        """Figures that stand beside the bar until they are shown again."""
        self.words |= words

    def say(self, line: str) -> None:
        """Prints a line above the bar."""
        self.bar.write(line, file=sys.stderr) if self.terminal else print(line, file=sys.stderr, flush=True)

    def exclude(self, seconds: float) -> None:
        """Takes time that went into something other than training (measuring, grids) out of the speed."""
        self.started += seconds

    def training_seconds(self) -> float:
        """Time that went into training since the start."""
        return time.monotonic() - self.started

    def images_per_second(self, step: int) -> float:
        """Real images that reached D a second, in training alone."""
        return (self.images(step) - self.images(self.first)) / max(self.training_seconds(), 1e-9)

    def _line(self, step: int) -> str:
        rate = self.images_per_second(step)
        left = (self.images(self.steps) - self.images(step)) / max(rate, 1e-9)
        words = "  ".join(f"{name} {value}" for name, value in self.words.items())
        return f"step {step}/{self.steps}  {rate:.0f} images/s  {tqdm.format_interval(left)} left  {words}"

    def _warn_if_slow(self, done: int) -> None:
        seconds = (time.monotonic() - self.started) / done * (self.steps - self.first)
        if seconds > HOUR:
            self.say(
                f"At this speed the {self.steps:,} steps take about {seconds / HOUR:.1f} hours on this CPU. "
                "Smaller things to try: experiment=demo (minutes), or model.width=16 schedule.steps=1000."
            )
