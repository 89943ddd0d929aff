"""Builds the parts of a run from a checked configuration; the only package that knows both."""

from gantrain.builders.data import check_classes, load_data, load_density, load_images, prepare_data
from gantrain.builders.device import STREAMS, make_device, stream_seed
from gantrain.builders.measuring import (
    CPU_SAMPLES,
    CUDA_SAMPLES,
    DEFAULT_POINTS,
    Protocol,
    build_image_metrics,
    build_metrics,
    choose_reference,
    find_weights,
    measuring_protocol,
)
from gantrain.builders.runs import (
    report,
    resumed_config,
    run,
    run_worker,
    stored_config,
    warnings_for,
    with_changes,
)
from gantrain.builders.training import (
    CLASSES_IN_A_GRID,
    DIAGNOSTIC_EXAMPLES,
    MAPPED_POINTS,
    build_grid,
    build_networks,
    build_trainer,
    make_plan,
)

__all__ = [
    "CLASSES_IN_A_GRID",
    "CPU_SAMPLES",
    "CUDA_SAMPLES",
    "DEFAULT_POINTS",
    "DIAGNOSTIC_EXAMPLES",
    "MAPPED_POINTS",
    "STREAMS",
    "Protocol",
    "build_grid",
    "build_image_metrics",
    "build_metrics",
    "build_networks",
    "build_trainer",
    "check_classes",
    "choose_reference",
    "find_weights",
    "load_data",
    "load_density",
    "load_images",
    "make_device",
    "make_plan",
    "measuring_protocol",
    "prepare_data",
    "report",
    "resumed_config",
    "run",
    "run_worker",
    "stored_config",
    "stream_seed",
    "warnings_for",
    "with_changes",
]
