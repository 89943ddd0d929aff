"""Image sets as resident uint8 tensors; one file a source."""

from gantrain.data.images import BatchSampler, DataError, ImageSet, dequantize, restore_generator, to_range, to_uint8

__all__ = ["BatchSampler", "DataError", "ImageSet", "dequantize", "restore_generator", "to_range", "to_uint8"]
