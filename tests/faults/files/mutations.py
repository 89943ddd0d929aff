"""Changed files: their bytes, their archive, their content.

GANTRAIN_FUZZ=N takes N times as many examples.
"""

import contextlib
import copy
import io
import math
import os
import sys
import warnings
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.faults.payloads import laughing

EXAMPLES = 60 * int(os.environ.get("GANTRAIN_FUZZ", "1"))

fuzzed = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize=True,
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)


@dataclass(frozen=True)
class Whole:
    """What is to be mutated, which need not be shown."""

    content: Any

    def __repr__(self) -> str:
        return "…"


class Mutated:
    """What became of a file, and how, which is what is shown of it."""

    def __init__(self, content: Any, steps: list[object], equal: bool = True) -> None:
        self.content, self.steps, self.equal = content, steps, equal

    def _repr_pretty_(self, printer: Any, _: bool) -> None:
        printer.text(" ".join(f"{step!r:.200}" for step in self.steps))


@st.composite
def mutated_bytes(draw: st.DrawFn, whole: Whole) -> Mutated:
    """A truncation, flips, an insertion, a removal, an exchange or a concatenation, up to three of them."""
    content, steps = whole.content, []
    for _ in range(draw(st.integers(1, 3))):
        size = len(content)
        place = draw(st.integers(0, max(size - 1, 0)))
        kind = draw(st.sampled_from(("cut", "flip", "insert", "remove", "double", "head", "overwrite", "zeros")))
        some = draw(st.binary(min_size=1, max_size=64))
        steps.append((kind, place))
        if kind == "cut":
            content = content[:place]
        elif kind == "flip" and size:
            content = content[:place] + bytes([content[place] ^ (1 << draw(st.integers(0, 7)))]) + content[place + 1 :]
        elif kind == "insert":
            content = content[:place] + some + content[place:]
        elif kind == "remove":
            content = content[:place] + content[place + draw(st.integers(1, 5000)) :]
        elif kind == "double":
            content += content
        elif kind == "head":
            content = some + content
        elif kind == "overwrite":
            content = content[:place] + some + content[place + len(some) :]
        elif kind == "zeros":
            length = draw(st.integers(1, 5000))
            content = content[:place] + bytes(min(length, size - place)) + content[place + length :]
    return Mutated(content, steps)


@st.composite
def rezipped(draw: st.DrawFn, whole: Whole) -> Mutated:
    """The archive written anew with its records doubled, renamed, nested, packed, dropped or with other sizes."""
    kind = draw(
        st.sampled_from(
            ("twice", "absolute", "climbing", "nested", "packed", "dropped", "huge", "code", "comment", "case")
        )
    )
    content = whole.content
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        records = [(name, archive.read(name)) for name in archive.namelist()]
    number = draw(st.integers(0, len(records) - 1))
    name, inside = records[number]
    packing = zipfile.ZIP_STORED
    if kind == "twice":
        records.insert(draw(st.integers(0, len(records))), (name, draw(st.binary(max_size=len(inside) + 1))))
    elif kind == "absolute":
        records[number] = (f"/{name}", inside)
    elif kind == "climbing":
        records.append((f"archive/../../{draw(st.sampled_from(('canary', '.bashrc')))}", b"x"))
    elif kind == "nested":
        records[number] = (name, content)
    elif kind == "packed":
        packing = zipfile.ZIP_DEFLATED
        records[number] = (name, bytes(10**7))
    elif kind == "dropped":
        del records[number]
    elif kind == "code":
        records.append(("archive/code/__torch__.py", b"import os"))
    elif kind == "case":
        records.append((name.upper(), bytes(len(inside))))
    buffer = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(buffer, "w", packing) as archive:
        warnings.simplefilter("ignore")
        for known, bytes_of in records:
            archive.writestr(known, bytes_of)
        if kind == "comment":
            archive.comment = draw(st.binary(max_size=60))
    made = buffer.getvalue()
    if kind == "huge":
        sizes = len(inside).to_bytes(4, "little") * 2
        made = made.replace(sizes, (2**31 - 1).to_bytes(4, "little") * 2)
    return Mutated(made, [kind, name])


def paths_of(content: object, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if path:
        yield path
    if isinstance(content, dict):
        for key, inner in content.items():
            yield from paths_of(inner, (*path, key))


def deep(levels: int) -> list[Any]:
    found: list[Any] = []
    for _ in range(levels):
        found = [found]
    return found


def cyclic() -> list[Any]:
    found: list[Any] = []
    found.append(found)
    return found


OTHERS: tuple[object, ...] = (
    *(None, True, -1, 0, 2**70, 1.5, math.nan, math.inf, -math.inf, "", "text", "x" * 100_000, "\x1b[2J\n", "\udcff"),
    *([], {}, [None], {"a": 1}, {1: 2}, (1, 2), [1] * 5, deep(1000), laughing(), cyclic(), b"bytes", torch.float32),
    *(
        torch.zeros(()),
        torch.zeros(0),
        torch.full((3,), math.nan),
        torch.zeros(1).expand(10**12),
        torch.zeros(2).bool(),
    ),
)


@contextlib.contextmanager
def deeper_recursion() -> Iterator[None]:
    """Writing what is nested a thousand deep needs it, reading does not."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(20_000)
    try:
        yield
    finally:
        sys.setrecursionlimit(before)


def changed_tensors(value: Tensor) -> dict[str, object]:
    """Ways in which a tensor may be another."""
    found: dict[str, object] = {
        "complex": value.to(torch.complex64),
        "float64": value.double(),
        "int8": value.to(torch.int8),
        "a row more": torch.cat((value, value)) if value.ndim else value[None],
        "flat": value.flatten() if value.ndim > 1 else value[None],
        "empty": value.flatten()[:0],
        "one value expanded": value.flatten()[:1].expand(value.shape) if value.numel() and value.ndim else value,
        "a parameter": nn.Parameter(value) if value.is_floating_point() else value,
        "sparse": value.to_sparse() if value.is_floating_point() and value.ndim else value,
    }
    if value.is_floating_point():
        found["NaN"] = torch.full_like(value, math.nan)
        infinite = value.clone(memory_format=torch.contiguous_format)
        infinite.view(-1)[-1:] = math.inf
        found["one infinite"] = infinite
    return found


@st.composite
def mutated_content(draw: st.DrawFn, whole: Whole) -> Mutated:
    """The content with one to two entries dropped, renamed, doubled or replaced; whether that should change nothing."""
    content = copy.deepcopy(whole.content)
    equal, steps = True, []
    for _ in range(draw(st.integers(1, 2))):
        top = draw(st.sampled_from([key for key, value in content.items()] or [""]))
        path = draw(st.sampled_from([path for path in paths_of(content) if path[0] == top] or [("format",)]))
        place: Any = content
        for key in path[:-1]:
            place = place[key]
        value = place.get(path[-1])
        kind = draw(st.sampled_from(("drop", "rename", "replace", "replace", "tensor", "tensor")))
        steps += [kind, path]
        if kind == "drop":
            place.pop(path[-1], None)
        elif kind == "rename":
            place[f"{path[-1]}_"] = place.pop(path[-1], None)
        elif kind == "tensor" and isinstance(value, Tensor):
            changed = changed_tensors(value)
            how = draw(st.sampled_from(sorted(changed)))
            place[path[-1]] = changed[how]
            steps.append(how)
            equal = equal and how != "one value expanded"  # is its own mathematics, where it is of the same shape
        else:
            number = draw(st.integers(0, len(OTHERS) - 1))
            place[path[-1]] = OTHERS[number]
            steps.append(f"OTHERS[{number}]")
        equal = equal and path[0] != "config"  # keys that are not there have their defaults: of before they were keys
        equal = equal and path not in NUMBERS
    return Mutated(content, steps, equal)


NUMBERS = (
    *(("step",), ("ema_updates",), ("train_step", "d_updates"), ("batches", "cursor"), ("batches", "epoch")),
    *(("train_step", "augment", "seen"), ("train_step", "history", "filled"), ("diagnostics", "gradient")),
)
"""Other numbers in their place are as good, and another run."""
