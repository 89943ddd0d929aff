"""What a figure depends on besides the generator: figures compare only where all of it is equal."""

from collections.abc import Sequence
from typing import Any

from gantrain.run_io.run_reader import RunRecord

OF_DATA = ("data.name", "data.image_size", "data.means", "data.stds", "data.weights")
"""Keys of the configuration that a protocol does not repeat, and that make another figure of it all the same."""
NO_CONDITION = (
    *("network", "step"),  # told apart elsewhere
    *("real", "near", "held_out_accuracy"),  # follow from the reference and the classifier
    *("std", "kid_std", "inception_score_std"),  # results
    "weights_origin",  # a place; their digest stands in `weights`
)
"""What a row's protocol holds besides conditions."""

Protocol = dict[str, Any]


def protocols_of(run: RunRecord, figure: str) -> list[Protocol]:
    """The different protocols under which a run measured this figure, e.g. `fid_ema`: one, unless it was resumed."""
    found: dict[str, Protocol] = {}
    for row in run.measured.get(figure, ()):
        protocol = {key: run.config[key] for key in OF_DATA if run.config.get(key) not in (None, [])}
        protocol |= {key: _rounded(value) for key, value in row["protocol"].items() if key not in NO_CONDITION}
        found.setdefault(repr(sorted(protocol.items())), protocol)
    return list(found.values())


def disagreements(protocols: Sequence[Protocol]) -> dict[str, list[Any]]:
    """The keys in which they differ, with every value, None where it is absent; in the order of their appearance."""
    keys = dict.fromkeys(key for protocol in protocols for key in protocol)
    found = {}
    for key in keys:
        values = {repr(protocol.get(key)): protocol.get(key) for protocol in protocols}
        if len(values) > 1:
            found[key] = list(values.values())
    return found


def _rounded(value: Any) -> Any:
    """Floats to six digits: those that machines compute differ in the last ones."""
    return float(f"{value:.6g}") if isinstance(value, float) else value
