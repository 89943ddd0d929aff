"""A run of the benchmark: the device, how large its cells are, the clock, and the rows so far."""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch

from gantrain.benchmark.rows import Row
from gantrain.config import ConfigError

WIDTHS = ("model.width=", "model.d_width=", "schedule.batch_size=")


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """How large the cells are.

    Attributes:
        cells: whose table is run, gpu or cpu.
        minutes: what all blocks may take unless the options say otherwise.
        slice_seconds: of one contestant's turn in a round.
        warm_up: iterations before anything is timed; a graph is captured in them.
        images: in the resident set.
        fid_samples: of ours; `fid_peer_samples` of the other way.
        statistics: samples and features of the cell that times the statistics alone.
        overhead_steps: between two looks at a run with and one without logging.
        loader_images: that pass through the loader in one turn.
        matrix: rows of the square matrices.
        copied: bytes that are copied.
        gans: how many at once.
        pace: of the cells, in seconds here for one on a GPU; 0 begins them all.
        small: whether everything is made as small as it works.
    """

    cells: str
    minutes: float
    slice_seconds: float
    warm_up: int
    images: int
    fid_samples: int
    fid_peer_samples: int
    fid_batch: int
    statistics: int
    overhead_steps: int
    loader_images: int
    matrix: int
    copied: int
    gans: tuple[int, ...]
    pace: float
    small: bool = False

    def shrunk(self, overrides: Iterable[str]) -> list[str]:
        """The overrides, of a rehearsal with narrow networks and batches of four."""
        if not self.small:
            return list(overrides)
        kept = [word for word in overrides if not word.startswith(WIDTHS)]
        return [*kept, "model.width=4", "model.d_width=4", "schedule.batch_size=4"]


SCALES = {
    "gpu": Scale(
        cells="gpu",
        minutes=8.5,
        slice_seconds=0.3,
        warm_up=20,
        images=50_000,
        fid_samples=50_000,
        fid_peer_samples=10_000,
        fid_batch=500,
        statistics=2_048,
        overhead_steps=1_000,
        loader_images=6_400,
        matrix=8_192,
        copied=2**30,
        gans=(1, 2, 4, 8),
        pace=1.0,
    ),
    "cpu": Scale(
        cells="cpu",
        minutes=1.5,
        slice_seconds=0.3,
        warm_up=2,
        images=10_000,
        fid_samples=16,
        fid_peer_samples=16,
        fid_batch=16,
        statistics=512,
        overhead_steps=100,
        loader_images=1_600,
        matrix=1_024,
        copied=2**26,
        gans=(1, 2),
        pace=0.3,
    ),
    "rehearsal": Scale(
        cells="gpu",
        minutes=8.5,
        slice_seconds=0.001,
        warm_up=1,
        images=64,
        fid_samples=4,
        fid_peer_samples=4,
        fid_batch=4,
        statistics=32,
        overhead_steps=4,
        loader_images=16,
        matrix=64,
        copied=2**16,
        gans=(1, 2),
        pace=0.0,
        small=True,
    ),
}


class Session:
    """What the blocks write into; nothing that does not fit into the time is begun.

    Attributes:
        device: what everything runs on.
        scale: how large the cells are.
        rounds: how often each contestant has its turn.
        rows: what was found so far.
    """

    def __init__(
        self, device: torch.device, scale: Scale, *, rounds: int, minutes: float, tell: Callable[[Row], None]
    ) -> None:
        """`tell` hears every row as it is found."""
        self.device = device
        self.scale = scale
        self.rounds = rounds
        self.rows: list[Row] = []
        self._deadline = time.monotonic() + 60 * minutes
        self._tell = tell
        self.peak_flops: float | None = None

    @property
    def left(self) -> float:
        """Seconds that are left."""
        return self._deadline - time.monotonic()

    def add(self, row: Row) -> None:
        """Keeps a row."""
        self.rows.append(row)
        self._tell(row)

    def attempt(self, block: str, contest: str, needs: float, work: Callable[[], Iterable[Row]]) -> None:
        """Adds what `work` finds if there is time; a failure becomes a row and the rest goes on.

        Args:
            block: of a row that says why there is nothing.
            contest: of the same.
            needs: about how many seconds it takes on a GPU.
            work: what is tried.
        """
        needs *= self.scale.pace
        if needs > max(self.left, 0):
            reason = f"skipped: {max(self.left, 0):.0f} s were left, {needs:.0f} needed"
            self.add(Row(block=block, contest=contest, cell="", status=reason))
            return
        try:
            for row in work():
                self.add(row)
        except ConfigError as error:
            self.add(Row(block=block, contest=contest, cell="", status=f"not available: {first_line(error)}"))
        except Exception as error:  # whatever broke, the other cells still have their time
            self.add(Row(block=block, contest=contest, cell="", status=failure(error)))


def failure(error: BaseException) -> str:
    """The status of a cell that broke."""
    return f"failed: {type(error).__name__}: {first_line(error)}"


def first_line(error: BaseException) -> str:
    """What it says, short."""
    return (str(error).strip().splitlines() or [""])[0].split(";")[0][:160]
