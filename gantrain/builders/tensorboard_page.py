"""What TensorBoard shows about a run from its start: the charts, the hyperparameters, and a description."""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from gantrain.config import Config
from gantrain.run_io.run_folder import JOB, SWEEP, git_commit, read_content
from gantrain.run_io.run_reader import read_overrides

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter


def write_introduction(writer: "SummaryWriter", config: Config, folder: Path, warnings: Sequence[str] = ()) -> None:
    """Writes the layout of the charts, the hyperparameters, and a description of the run.

    Args:
        writer: of a new run.
        config: configuration of the run.
        folder: of the run; its job.json, .hydra/overrides.yaml and its sweep's sweep.json are read if they exist.
        warnings: known problems of this configuration.
    """
    from gantrain.builders import hparams
    from gantrain.builders.account import account_of
    from gantrain.builders.charts import charts_of, layout

    overrides = read_overrides(folder)
    sweep = read_content(folder.parent / SWEEP)
    events = writer._get_file_writer()  # add_hparams would create a second run folder
    events.add_summary(layout(charts_of(config)))
    of_sweep = None if read_content(folder / JOB).get("job") is None else sweep.get("words", [])
    for part in hparams.row(config, overrides, of_sweep=of_sweep, time=time.time()):
        events.add_summary(part)
    words = overrides or sys.argv[1:]  # a sweep's worker process has other arguments
    writer.add_text("run", account_of(config, words=words, commit=git_commit(), warnings=warnings), 0)
