"""The list of data sets."""

import sys
from dataclasses import fields

from gantrain.data import cifar10, digits, folder, points
from gantrain.data.spec import DatasetSpec
from gantrain.options import ConfigError, choice

DATASETS: list[DatasetSpec] = [cifar10.SPEC, digits.SPEC, folder.SPEC, *points.SPECS]


def find_dataset(name: str) -> DatasetSpec:
    """The data set of that name.

    Raises:
        ConfigError: there is none.
    """
    choice("data.name", name, tuple(spec.name for spec in DATASETS))
    return next(spec for spec in DATASETS if spec.name == name)


def register_dataset(spec: DatasetSpec) -> None:
    """Adds a data set, so that `data.name` can choose it.

    Raises:
        ConfigError: the name is taken, or the set has new keys and the schema has already been made.
    """
    if any(known.name == spec.name for known in DATASETS):
        raise ConfigError(f"a data set named {spec.name!r} is already registered")
    known_keys = {f.name for known in DATASETS for f in fields(known.options)}
    new = [f.name for f in fields(spec.options) if f.name not in known_keys]
    if new and "gantrain.config" in sys.modules:
        raise ConfigError(f"register {spec.name!r} before importing gantrain.config: its key {new[0]!r} is new")
    DATASETS.append(spec)
