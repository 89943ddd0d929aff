"""Every convolution of a pair by itself, forward and backward: where channels_last and fewer bits pay."""

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from gantrain.benchmark.building import make_config
from gantrain.benchmark.cells import LAYERS, NETWORKS
from gantrain.benchmark.rows import Row
from gantrain.benchmark.session import Session
from gantrain.benchmark.timing import spread_of, time_rounds
from gantrain.builders import build_networks

BLOCK = "layers"
BATCH = {"gpu": 64, "cpu": 32}
FORMATS = {"NCHW": torch.contiguous_format, "channels_last": torch.channels_last}
PRECISIONS = {"gpu": ("float32", "tf32", "bf16"), "cpu": ("float32",)}


@dataclass(frozen=True, slots=True)
class Convolution:
    """A layer of a pair.

    Attributes:
        name: side and place.
        layer: the module, without a parametrization.
        shape: of its input (N, C, H, W).
    """

    name: str
    layer: nn.Conv2d | nn.ConvTranspose2d
    shape: tuple[int, ...]


def run(session: Session) -> None:
    """All layers of the session's pairs."""
    for network in LAYERS[session.scale.cells]:
        session.attempt(BLOCK, network, 15, partial(_layers, session, network))


def convolutions(generator: nn.Module, discriminator: nn.Module, z: Tensor) -> list[Convolution]:
    """The convolutions of a pair without weight norms, with what each is given when G turns z (N, dim) into images."""
    found: list[Convolution] = []

    def note(name: str, layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        assert isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)
        found.append(Convolution(name, layer, tuple(inputs[0].shape)))

    handles = []
    for side, network in (("G", generator), ("D", discriminator)):
        layers = [layer for layer in network.modules() if isinstance(layer, nn.Conv2d | nn.ConvTranspose2d)]
        handles += [layer.register_forward_hook(partial(note, f"{side}{k}")) for k, layer in enumerate(layers)]
    with torch.no_grad():
        discriminator(generator(z))
    for handle in handles:
        handle.remove()
    return found


@contextmanager
def precise(name: str) -> Iterator[None]:
    """float32 without tf32, or with it; of bf16 the tensors themselves are."""
    before = torch.backends.cudnn.allow_tf32
    torch.backends.cudnn.allow_tf32 = name == "tf32"
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def _layers(session: Session, network: str) -> list[Row]:
    overrides = [*NETWORKS[network], "model.d_norm=none", f"schedule.batch_size={BATCH[session.scale.cells]}"]
    config = make_config(session, overrides)
    networks = build_networks(config, 0)
    z = torch.zeros(config.schedule.batch_size, networks.latent_dim)
    rows = []
    for convolution in convolutions(networks.generator, networks.discriminator, z):
        works = {
            f"{precision} {name}": partial(_in_precision, precision, _pass(session, convolution, precision, name))
            for precision in PRECISIONS[session.scale.cells]
            for name in FORMATS
        }
        for work in works.values():
            work()
        slice_seconds = session.scale.slice_seconds / 10
        seconds = time_rounds(works, session.device, rounds=session.rounds, slice_seconds=slice_seconds)
        figures = {f"µs {name}": spread_of(taken).median * 1e6 for name, taken in seconds.items()}
        layer = convolution.layer
        kind = "up" if isinstance(layer, nn.ConvTranspose2d) else "conv"
        words = f"{convolution.name} {kind} {layer.in_channels}→{layer.out_channels}, {convolution.shape[-1]} px in"
        rows.append(Row(block=BLOCK, contest=f"{network}, B={len(z)}", cell=words, figures=figures))
    return rows


def _pass(session: Session, convolution: Convolution, precision: str, format_name: str) -> Callable[[], None]:
    """A forward and a backward pass in one format and number type."""
    dtype = torch.bfloat16 if precision == "bf16" else torch.float32
    layout = FORMATS[format_name]
    alone = copy.deepcopy(convolution.layer).to(session.device, dtype).to(memory_format=layout)
    alone.bias = None
    x = torch.randn(convolution.shape, device=session.device, dtype=dtype).to(memory_format=layout).requires_grad_()
    gradient = torch.ones_like(alone(x))

    def there_and_back() -> None:
        alone.weight.grad = x.grad = None
        alone(x).backward(gradient)

    return there_and_back


def _in_precision(precision: str, work: Callable[[], None]) -> None:
    with precise(precision):
        work()
