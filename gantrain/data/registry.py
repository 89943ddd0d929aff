"""The list of data sets."""

from gantrain.data import cifar10, digits, folder, points
from gantrain.data.spec import DatasetSpec
from gantrain.options import find_choice, register_choice

DATASETS: list[DatasetSpec] = [cifar10.SPEC, digits.SPEC, folder.SPEC, *points.SPECS]


def find_dataset(name: str) -> DatasetSpec:
    """The data set of that name; ConfigError if there is none."""
    return find_choice("data", name, DATASETS)


def register_dataset(spec: DatasetSpec) -> None:
    """Adds a data set, see `register_choice`."""
    register_choice("data", spec, DATASETS)
