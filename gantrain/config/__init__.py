"""The schema: every configuration key with its type, its range and one line of help.

`register` gives it to Hydra; `from_omegaconf` turns a composed configuration into a checked `Config`.
Values are checked when a dataclass is created, before any data is loaded.
"""

from gantrain.config.cond import CondConfig
from gantrain.config.convert import from_dict, from_omegaconf, register, to_dict
from gantrain.config.data import DataConfig
from gantrain.config.log import DoctorConfig, LogConfig
from gantrain.config.loss import LossConfig
from gantrain.config.metrics import INCEPTION_PRECISIONS, SAMPLING_NETWORKS, SPLITS, MetricsConfig
from gantrain.config.model import ModelConfig
from gantrain.config.optimizer import LR_DECAYS, OptimizerConfig, ScheduleConfig
from gantrain.config.paper import PaperConfig
from gantrain.config.regularizer import RegularizerConfig
from gantrain.config.root import EXECUTORS, MAY_CHANGE_ON_RESUME, PRECISIONS, Config, kind_of, options
from gantrain.config.sweep import SweepConfig
from gantrain.config.tricks import TricksConfig
from gantrain.formatting import as_word, flatten, printable
from gantrain.options import ConfigError, choice, option

__all__ = [
    "EXECUTORS",
    "INCEPTION_PRECISIONS",
    "LR_DECAYS",
    "MAY_CHANGE_ON_RESUME",
    "PRECISIONS",
    "SAMPLING_NETWORKS",
    "SPLITS",
    "CondConfig",
    "Config",
    "ConfigError",
    "DataConfig",
    "DoctorConfig",
    "LogConfig",
    "LossConfig",
    "MetricsConfig",
    "ModelConfig",
    "OptimizerConfig",
    "PaperConfig",
    "RegularizerConfig",
    "ScheduleConfig",
    "SweepConfig",
    "TricksConfig",
    "as_word",
    "choice",
    "flatten",
    "from_dict",
    "from_omegaconf",
    "kind_of",
    "option",
    "options",
    "printable",
    "register",
    "to_dict",
]
