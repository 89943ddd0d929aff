"""Image sets as resident uint8 tensors, one file a source; 2-D points for toys."""

from gantrain.data.batches import BatchSampler
from gantrain.data.images import DataError, ImageSet, dequantize, restore_generator, to_range, to_uint8
from gantrain.data.points import PointSet

DataSet = ImageSet | PointSet

__all__ = [
    "BatchSampler",
    "DataError",
    "DataSet",
    "ImageSet",
    "PointSet",
    "dequantize",
    "restore_generator",
    "to_range",
    "to_uint8",
]
