"""What TensorBoard shows besides scalars and images: bounds of means, how a run ended, best metrics."""

import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gantrain.metrics.registry import lower_is_better
from gantrain.run_io.status import FINISHED, PRUNED

if TYPE_CHECKING:
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData

END = ".end"
"""Suffix of the event file that records the end of a run; it is removed when the run is resumed."""
LOW, HIGH = "_minus_std", "_plus_std"
"""Suffixes of the tags with the bounds mean ± std; they are written to TensorBoard only."""


def with_bands(values: dict[str, float]) -> dict[str, float]:
    """The bounds mean ± std by tag, of each value that has a standard deviation NAME_std."""
    bounds: dict[str, float] = {}
    for name, mean in values.items():
        std = values.get(f"{name}_std")
        if std is not None:
            bounds |= {name + LOW: mean - std, name + HIGH: mean + std}
    return bounds


def plugin_summary(tag: str, content: "HParamsPluginData") -> "Summary":
    """A summary of TensorBoard's plugin for hyperparameters."""
    from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
    from tensorboard.plugins.hparams import metadata

    kind = SummaryMetadata.FromString(metadata.create_summary_metadata(content).SerializeToString())
    return Summary(value=[Summary.Value(tag=tag, metadata=kind, tensor=metadata.NULL_TENSOR)])


def write_end(folder: Path, state: str, step: int, reason: str | None) -> None:
    """Records the end of a run: one of `status.STATES`, the generator steps done, and an optional reason.

    Of the states TensorBoard distinguishes success and failure only.
    """
    from tensorboard.plugins.hparams import metadata
    from tensorboard.plugins.hparams.api_pb2 import STATUS_FAILURE, STATUS_SUCCESS
    from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionEndInfo
    from torch.utils.tensorboard import SummaryWriter

    status = STATUS_SUCCESS if state in (FINISHED, PRUNED) else STATUS_FAILURE
    info = SessionEndInfo(status=status, end_time_secs=time.time())
    end = plugin_summary(metadata.SESSION_END_INFO_TAG, HParamsPluginData(session_end_info=info))
    with SummaryWriter(str(folder), filename_suffix=END) as writer:
        writer._get_file_writer().add_summary(end)
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
        """Records the value if it is the best so far; returns whether it is."""
        lower = lower_is_better(metric)
        if value is None or not math.isfinite(value) or lower is None:
            return False
        name, sign = f"{metric}_{network}", 1 if lower else -1
        if name in self._values and sign * value >= sign * self._values[name]:
            return False
        self._values[name] = value
        return True
