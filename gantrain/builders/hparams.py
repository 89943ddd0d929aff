"""A run's row in TensorBoard's HPARAMS tab, with the same few columns in all runs of a sweep.

TensorBoard takes the columns of all rows from the first run that it reads. So each run declares the columns of its
sweep and has values for every key. Metrics are read from the scalars `metric/*` and `best/*` while the run trains.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from google.protobuf.struct_pb2 import Value
from tensorboard.compat.proto.summary_pb2 import Summary
from tensorboard.plugins.hparams import metadata
from tensorboard.plugins.hparams.api_pb2 import (
    DATA_TYPE_BOOL,
    DATA_TYPE_FLOAT64,
    DATA_TYPE_STRING,
    Experiment,
    HParamInfo,
    MetricInfo,
    MetricName,
)
from tensorboard.plugins.hparams.plugin_data_pb2 import HParamsPluginData, SessionStartInfo

from gantrain.config import MAY_CHANGE_ON_RESUME, Config, as_word, flatten, options, to_dict
from gantrain.run_io.tensorboard import plugin_summary

OBJECTIVE = "objective"
ALWAYS = (
    OBJECTIVE,
    "data.name",
    "model.name",
    "model.width",
    "optimizer.lr_d",
    "optimizer.lr_g",
    "schedule.batch_size",
    "schedule.steps",
    "seed",
)
"""Columns of every run."""
USUALLY_FIRST = (OBJECTIVE, "data.name", "model.name", "schedule.steps", "seed")
"""The columns that TensorBoard shows at first, for single runs."""
NEVER = {"name", *MAY_CHANGE_ON_RESUME} - {"schedule.steps"}
"""Keys that do not distinguish experiments, in addition to the sections `paper`, `sweep` and `hydra`."""
METRICS_SHOWN = 4
"""Metrics with one column for the latest and one for the best value; the others are only among the scalars."""


def row(config: Config, overrides: Sequence[str], *, of_sweep: Sequence[str] | None, time: float) -> list[Summary]:
    """Summaries with the run's hyperparameters, written at its start.

    Args:
        config: configuration of the run.
        overrides: `key=value` words of the command line, including groups such as `optimizer=ttur`.
        of_sweep: words of its sweep, [] if unknown; None for a single run. Runs of a sweep have columns for the keys
            that it varies, single runs for those that differ from the defaults.
        time: of the start, seconds since 1970.
    """
    values = {key: value for key, value in flatten(to_dict(config)).items() if _is_shown(key)}
    varied = [word for word in overrides if "=" in word and word not in (of_sweep or ())]
    defaults = {key: default for key, default, _ in options()}
    asked = {}
    for word in varied:
        key, _, text = word.lstrip("+").partition("=")
        asked[f"{key}.name" if f"{key}.name" in values else key] = text  # data=digits is data.name=digits
    values = {key: text for key, text in asked.items() if _is_shown(key)} | values
    if of_sweep is None:
        first = set(USUALLY_FIRST)
        columns = [key for key, value in values.items() if key not in defaults or value != defaults[key]]
    else:
        first = {OBJECTIVE, *asked}
        columns = [key for key in asked if key in values]
    hparams = {OBJECTIVE: _value(str(config.loss.make()), nullable=False)}
    hparams |= {key: _value(value, nullable=defaults.get(key) is None) for key, value in values.items()}
    experiment = Experiment(
        hparam_infos=[_column(k, hparams[k], first=k in first) for k in dict.fromkeys((*ALWAYS, *columns))],
        metric_infos=list(_metric_columns(config)),
        time_created_secs=time,
    )
    start = SessionStartInfo(hparams=hparams, start_time_secs=time)
    return [
        plugin_summary(metadata.EXPERIMENT_TAG, HParamsPluginData(experiment=experiment)),
        plugin_summary(metadata.SESSION_START_INFO_TAG, HParamsPluginData(session_start_info=start)),
    ]


def _is_shown(key: str) -> bool:
    return key not in NEVER and key.partition(".")[0] not in ("paper", "sweep", "hydra", "hydra/sweeper")


def _value(value: Any, *, nullable: bool) -> Value:
    """A value with the type that TensorBoard sorts by; keys that may be null are text in all runs."""
    if isinstance(value, bool):
        return Value(bool_value=value)
    if isinstance(value, int | float) and not nullable:
        return Value(number_value=value)
    return Value(string_value=as_word(value))


def _column(key: str, value: Value, *, first: bool) -> HParamInfo:
    kinds = {"bool_value": DATA_TYPE_BOOL, "number_value": DATA_TYPE_FLOAT64, "string_value": DATA_TYPE_STRING}
    return HParamInfo(name=key, type=kinds[str(value.WhichOneof("kind"))], differs=first)


def _metric_columns(config: Config) -> Iterable[MetricInfo]:
    for metric in config.value_names[:METRICS_SHOWN]:
        for network in config.metrics.networks:
            name = f"{metric}_{network}"
            yield MetricInfo(name=MetricName(tag=f"metric/{name}"), display_name=f"{name}, last")
            yield MetricInfo(name=MetricName(tag=f"best/{name}"), display_name=f"{name}, best")
    yield MetricInfo(name=MetricName(tag="cost/images"), display_name="real images seen")
    yield MetricInfo(name=MetricName(tag="cost/seconds"), display_name="seconds of training")
