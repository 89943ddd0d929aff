"""What TensorBoard shows besides scalars and images: charts, hyperparameters, how a run ended, best metrics."""

import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gantrain.config import from_dict
from gantrain.metrics.registry import lower_is_better

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

END = ".end"
"""Suffix of the event file that holds how a run ended; it is removed when the run is resumed."""


def write_introduction(
    writer: "SummaryWriter",
    config: dict[str, Any],
    *,
    job: dict[str, Any],
    sweep: dict[str, Any],
    commit: str | None,
    warnings: Sequence[str],
) -> None:
    """Writes the layout of the charts, the hyperparameters, and a description of the run.

    Args:
        writer: of a new run.
        config: nested, from `gantrain.config.to_dict`; missing keys have their defaults.
        job: content of the run's job.json, {} without one.
        sweep: content of its sweep's sweep.json, {} without one.
        commit: of the checkout.
        warnings: known problems of this configuration.
    """
    from gantrain.run_io import hparams
    from gantrain.run_io.account import account_of
    from gantrain.run_io.charts import charts_of, layout

    checked = from_dict(config)
    events = writer._get_file_writer()  # add_hparams would create a second run folder
    events.add_summary(layout(charts_of(checked)))
    of_sweep = None if job.get("job") is None else sweep.get("words", [])
    for part in hparams.row(checked, job.get("overrides", []), of_sweep=of_sweep, time=time.time()):
        events.add_summary(part)
    words = job.get("overrides") or sys.argv[1:]  # a sweep's worker process has other arguments
    writer.add_text("run", account_of(checked, words=words, commit=commit, warnings=warnings), 0)


def write_end(folder: Path, state: str, step: int, reason: str | None) -> None:
    """Writes how a run ended: one of `status.STATES`, the generator steps done, and a reason if there is one."""
    from torch.utils.tensorboard import SummaryWriter

    from gantrain.run_io import hparams

    with SummaryWriter(str(folder), filename_suffix=END) as writer:
        writer._get_file_writer().add_summary(hparams.end(state, time.time()))
        if reason is not None:
            writer.add_text("run/end", f"{state} at step {step}: {reason}", step)


def remove_end(folder: Path) -> None:
    """Removes the end of a run that is resumed; TensorBoard would keep the first one it reads."""
    for path in folder.glob(f"*{END}"):
        path.unlink()


class BestValues:
    """The best value so far of each metric that has a better direction."""

    def __init__(self, rows: Sequence[dict[str, Any]] = ()) -> None:
        """Starts from rows of metrics.jsonl."""
        self._values: dict[str, float] = {}
        for row in rows:
            if row["kind"] == "metric":
                self.update(row["name"], row["protocol"]["network"], row["value"])

    def update(self, metric: str, network: str, value: float | None) -> bool:
        """Whether the value is the best so far; it is then remembered."""
        lower = lower_is_better(metric)
        if value is None or not math.isfinite(value) or lower is None:
            return False
        name, sign = f"{metric}_{network}", 1 if lower else -1
        if name in self._values and sign * value >= sign * self._values[name]:
            return False
        self._values[name] = value
        return True
