"""What TensorBoard is told beside scalars and pictures: at a run's start, at its end, and each best figure."""

import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch.utils.tensorboard import SummaryWriter

from gantrain.config import from_dict
from gantrain.metrics.metric import LOWER_IS_BETTER
from gantrain.run_io import hparams
from gantrain.run_io.account import account_of
from gantrain.run_io.charts import charts_of, layout
from gantrain.run_io.events import END


def introduce(
    writer: SummaryWriter,
    config: dict[str, Any],
    *,
    job: dict[str, Any],
    sweep: dict[str, Any],
    commit: str | None,
    warnings: Sequence[str],
) -> None:
    """The page of charts, the row of hparams, and what was run.

    Args:
        writer: of a new run.
        config: nested, as `gantrain.config.to_dict` gives it; keys that are left out have their defaults.
        job: what its job.json holds, {} without.
        sweep: what its sweep's sweep.json holds, {} without.
        commit: of the checkout.
        warnings: what is known to go wrong with this configuration.
    """
    checked = from_dict(config)
    events = writer._get_file_writer()  # add_hparams would open a second run folder
    events.add_summary(layout(charts_of(checked)))
    of_sweep = None if job.get("job") is None else sweep.get("words", [])
    for part in hparams.row(checked, job.get("overrides", []), of_sweep=of_sweep, time=time.time()):
        events.add_summary(part)
    words = job.get("overrides") or sys.argv[1:]  # a worker of a sweep has words of its own
    writer.add_text("run", account_of(checked, words=words, commit=commit, warnings=warnings), 0)


def tell_end(folder: Path, state: str, step: int, reason: str | None) -> None:
    """How the run ended, one of `STATES`, after `step` generator steps, and why if there is more to say."""
    with SummaryWriter(str(folder), filename_suffix=END) as writer:
        writer._get_file_writer().add_summary(hparams.end(state, time.time()))
        if reason is not None:
            writer.add_text("run/end", f"{state} at step {step}: {reason}", step)


def take_back_end(folder: Path) -> None:
    """The run goes on: TensorBoard would keep the first end that it has read."""
    for path in folder.glob(f"*{END}"):
        path.unlink()


class Best:
    """The best value so far of each figure that is better one way."""

    def __init__(self, rows: Sequence[dict[str, Any]] = ()) -> None:
        """Takes rows of metrics.jsonl."""
        self._values: dict[str, float] = {}
        for row in rows:
            if row["kind"] == "metric":
                self.improves(row["name"], row["protocol"]["network"], row["value"])

    def improves(self, figure: str, network: str, value: float | None) -> bool:
        """Whether this is the best so far, which is remembered."""
        lower = LOWER_IS_BETTER.get(figure)
        if value is None or not math.isfinite(value) or lower is None:
            return False
        name, sign = f"{figure}_{network}", 1 if lower else -1
        if name in self._values and sign * value >= sign * self._values[name]:
            return False
        self._values[name] = value
        return True
