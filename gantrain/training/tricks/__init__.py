"""Optional training tricks. Each is one module; `TRICKS` lists them.

A trick consists of two classes: a dataclass of options, which builds a `Trick`, whose methods the training step
calls. The section `tricks.*` of the configuration consists of the options of all of them, so names must differ.
docs/extending.md shows how to add one.
"""

from gantrain.training.tricks.base import Decision, Note, Trick, TrickOptions, TrickSetup
from gantrain.training.tricks.history import History, HistoryOptions
from gantrain.training.tricks.instance_noise import InstanceNoise, InstanceNoiseOptions
from gantrain.training.tricks.top_k import TopK, TopKOptions

TRICKS: tuple[type[TrickOptions], ...] = (InstanceNoiseOptions, TopKOptions, HistoryOptions)
"""In the order in which their keys are listed and the step calls them."""

__all__ = [
    "TRICKS",
    "Decision",
    "History",
    "HistoryOptions",
    "InstanceNoise",
    "InstanceNoiseOptions",
    "Note",
    "TopK",
    "TopKOptions",
    "Trick",
    "TrickOptions",
    "TrickSetup",
]
