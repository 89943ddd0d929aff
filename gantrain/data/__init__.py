"""Image sets as uint8 tensors and point sets with known densities. Each is a module with a `DatasetSpec`."""

from gantrain.data.batches import BatchSampler
from gantrain.data.gaussian_mixture import GaussianMixture, PointSet
from gantrain.data.images import DataError, ImageSet, dequantize, restore_generator, to_range, to_uint8
from gantrain.data.registry import DATASETS, find_dataset, register_dataset
from gantrain.data.spec import NOT_MIRRORED, DataSet, DatasetSpec, ImageOptions, PointOptions

__all__ = [
    "DATASETS",
    "NOT_MIRRORED",
    "BatchSampler",
    "DataError",
    "DataSet",
    "DatasetSpec",
    "GaussianMixture",
    "ImageOptions",
    "ImageSet",
    "PointOptions",
    "PointSet",
    "dequantize",
    "find_dataset",
    "register_dataset",
    "restore_generator",
    "to_range",
    "to_uint8",
]
