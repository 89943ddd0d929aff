"""Checkpoints, weights and images with anything done to them: read as before or refused in words, never run or lost.

GANTRAIN_FUZZ=N takes N times as many examples.
"""

import contextlib
import copy
import io
import math
import os
import pickle
import sys
import tarfile
import warnings
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor, nn

from gantrain import builders
from gantrain.builders.runs import take_up
from gantrain.commands.trained import load_run
from gantrain.data import DataError, ImageSet
from gantrain.data.folder import load_folder
from gantrain.failures import BAD_INPUT, words_for
from gantrain.files import UnreadableFileError, load_safely
from gantrain.training.checkpoint import BEST, LAST
from tests.commands.saved_runs import CLASSES, save_run
from tests.faults.payloads import PAYLOADS, laughing

LONGEST = 2000
EXAMPLES = 60 * int(os.environ.get("GANTRAIN_FUZZ", "1"))
fuzzed = settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    derandomize=True,
    phases=(Phase.explicit, Phase.generate, Phase.shrink),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.data_too_large],
)
WORDS = ("model.width=2", "augment=ada", "practice.history=16", "cond=projection", "log.diagnostics_every_steps=1")


WHAT_TRAINS = ("generator", "discriminator", "ema", "optimizer", "augment", "history")


# --- the readers of a run -----------------------------------------------------------------------


def images_drawn(run: Path, network: str) -> list[Tensor]:
    """What sample, evaluate and export work with."""
    trained = load_run(run, network=network, checkpoint="last")
    z = torch.randn(4, trained.networks.latent_dim, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(4)
    with torch.no_grad():
        images = trained.networks.generator(z, labels)
        return [images, *trained.networks.discriminator(images, labels)]


def a_step_further(run: Path) -> list[Tensor]:
    """What resume= does before its first row of scalars."""
    config, state = builders.resumed_config(run, {"schedule.steps": 9})
    trainer = builders.build_trainer(config, shades(), [], torch.device("cpu"))
    take_up(trainer, state, run)
    trainer.iteration.run()
    changed = trainer.iteration.tensors()
    return [value.clone() for name, value in changed.items() if name.startswith(WHAT_TRAINS)]


def shades() -> ImageSet:
    labels = torch.arange(60) % len(CLASSES)
    pixels = (labels * 60).view(-1, 1, 1, 1).expand(-1, 3, 32, 32).to(torch.uint8).contiguous()
    return ImageSet("shades", pixels, labels, CLASSES)


READERS: dict[str, Callable[[Path], list[Tensor]]] = {
    "sample": lambda run: images_drawn(run, "ema"),
    "evaluate network=raw": lambda run: images_drawn(run, "raw"),
    "resume": a_step_further,
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_run(tmp_path_factory.mktemp("fuzzed") / "run", *WORDS)


@pytest.fixture(scope="module")
def whole(run: Path) -> bytes:
    return (run / LAST).read_bytes()


@pytest.fixture(scope="module")
def usual(run: Path, whole: bytes) -> dict[str, list[Tensor]]:
    """What each reader makes of the whole file."""
    found = {name: read(run) for name, read in READERS.items()}
    assert all(len(tensors) > 2 for tensors in found.values())
    return found


@pytest.fixture(autouse=True)
def _unharmed(run: Path, whole: bytes) -> Iterator[None]:
    """No example's file for the next test."""
    yield
    (run / LAST).write_bytes(whole)


def as_before_or_refused(run: Path, name: str, usual: dict[str, list[Tensor]], *, equal: bool = True) -> str | None:
    """Reads it by one of the readers; the words of the refusal, if it was one. The file stays as it is."""
    before = (run / LAST).read_bytes()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            found = READERS[name](run)
        except Exception as error:
            told = words_for(error)
            if told is None:
                raise
            code, words = told
            assert code == BAD_INPUT
            assert 0 < len(words) <= LONGEST
            refusal = words
        else:
            refusal = None
            if equal:
                assert len(found) == len(usual[name])
                assert all(torch.equal(*pair) for pair in zip(found, usual[name], strict=True))
    assert (run / LAST).read_bytes() == before
    assert sorted(path.name for path in run.iterdir()) == [LAST]
    return refusal


# --- (a) bytes ------------------------------------------------------------------------------------


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


@pytest.mark.parametrize("name", READERS)
def test_a_checkpoint_of_any_bytes(name: str, run: Path, whole: bytes, usual: dict[str, list[Tensor]]) -> None:
    @fuzzed
    @given(mutated_bytes(Whole(whole)))
    def check(mutated: Mutated) -> None:
        (run / LAST).write_bytes(mutated.content)
        as_before_or_refused(run, name, usual)

    check()


@pytest.mark.parametrize("by_old_torch", [False, True])
def test_a_file_of_weights_of_any_bytes(tmp_path: Path, by_old_torch: bool) -> None:
    """What load_safely gives is what was written; of the form without checksums, that nothing else comes of it."""
    state = {"fc.weight": torch.arange(12.0).view(4, 3), "bn.seen": torch.tensor(3)}
    buffer = io.BytesIO()
    torch.save(state, buffer, _use_new_zipfile_serialization=not by_old_torch)
    file = tmp_path / "weights.pth"

    @settings(fuzzed, max_examples=3 * EXAMPLES)
    @given(mutated_bytes(Whole(buffer.getvalue())))
    def check(mutated: Mutated) -> None:
        file.write_bytes(mutated.content)
        refusal = ""
        try:
            found = load_safely(file, by_old_torch=by_old_torch)
        except UnreadableFileError as error:
            refusal = str(error)
        assert file.read_bytes() == mutated.content
        if refusal or by_old_torch:
            assert len(refusal) < LONGEST
        else:
            assert found.keys() == state.keys()
            assert all(torch.equal(found[key], state[key]) for key in state)

    check()


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


@pytest.mark.parametrize("name", ["sample", "resume"])
def test_an_archive_with_tricks(name: str, run: Path, whole: bytes, usual: dict[str, list[Tensor]]) -> None:
    @fuzzed
    @given(rezipped(Whole(whole)))
    def check(mutated: Mutated) -> None:
        (run / LAST).write_bytes(mutated.content)
        as_before_or_refused(run, name, usual)

    check()
    assert not (run.parent / "canary").exists()


# --- (b) content ----------------------------------------------------------------------------------


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


NUMBERS = (("step",), ("ema_updates",), ("iteration", "d_updates"), ("batches", "cursor"), ("batches", "epoch"))
NUMBERS += (("iteration", "augment", "seen"), ("iteration", "history", "filled"), ("diagnostics", "gradient"))
"""Other numbers in their place are as good, and another run."""


@pytest.mark.parametrize("name", READERS)
def test_a_checkpoint_of_any_content(name: str, run: Path, whole: bytes, usual: dict[str, list[Tensor]]) -> None:
    content = torch.load(io.BytesIO(whole), weights_only=True)

    @settings(fuzzed, max_examples=2 * EXAMPLES)
    @given(mutated_content(Whole(content)))
    def check(mutated: Mutated) -> None:
        with deeper_recursion():
            torch.save(mutated.content, run / LAST)
        as_before_or_refused(run, name, usual, equal=mutated.equal)

    check()


# --- (c) code -------------------------------------------------------------------------------------


def by_torch(content: object, *, legacy: bool) -> bytes:
    buffer = io.BytesIO()
    torch.save(content, buffer, _use_new_zipfile_serialization=not legacy)
    return buffer.getvalue()


def tarred(content: bytes) -> bytes:
    """The form of torch before 0.1.10."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in ("sys_info", "pickle", "storages", "tensors"):
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def with_pickle(whole: bytes, pickled: bytes) -> bytes:
    """The archive with another pickle and checksums that agree."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(whole)) as archive, zipfile.ZipFile(buffer, "w") as made:
        for name in archive.namelist():
            made.writestr(name, pickled if name.endswith("data.pkl") else archive.read(name))
    return buffer.getvalue()


def scripted() -> bytes:
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(nn.Linear(2, 2)), buffer)
    return buffer.getvalue()


def hostile_files(whole: bytes, canary: Path) -> dict[str, bytes]:
    content = torch.load(io.BytesIO(whole), weights_only=True)
    found = {"TorchScript": scripted(), "nothing but a tar": tarred(b"none")}
    for kind in PAYLOADS:
        payload = kind(canary)
        for protocol in range(6):
            found[f"{kind.__name__}, a raw pickle of protocol {protocol}"] = pickle.dumps(payload, protocol)
            found[f"{kind.__name__}, protocol {protocol} in the archive"] = with_pickle(
                whole, pickle.dumps(payload, protocol)
            )
        found[f"{kind.__name__} in a checkpoint"] = by_torch({**content, "figures": payload}, legacy=False)
        found[f"{kind.__name__} in a checkpoint of the old form"] = by_torch({**content, "x": payload}, legacy=True)
        found[f"{kind.__name__} in a tar"] = tarred(pickle.dumps(payload, 2))
    name = str(canary).encode()
    for words, pickled in {
        "a global alone": b"cos\nsystem\n.",
        "reduce": b"cposix\nsystem\n(Vtouch " + name + b"\ntR.",
        "inst": b"(Vtouch " + name + b"\nios\nsystem\n.",
        "obj": b"(cos\nsystem\nVtouch " + name + b"\no.",
        "newobj": b"\x80\x02cbuiltins\neval\n(V1\nt\x81.",
        "a loader of torch's": b"ctorch.serialization\nload\n(V" + name + b"\ntR.",
        "another global of torch's": b"ctorch\n_load_global_deps\n(tR.",
        "a global by attribute": b"\x80\x04\x8c\x05torch\x8c\x0eos.path.exists\x93.",
        "build": b"ccollections\nOrderedDict\n(tR(Va\nVb\ndb.",
        "more memory than there is": b"\x80\x02cbuiltins\nbytearray\n\x8a\x06\x00\x00\x00\x00\x00\x10\x85R.",
        "an extension": b"\x82\x01.",
    }.items():
        found[f"by hand, {words}"] = with_pickle(whole, pickled)
    return found


def test_code_is_refused_unopened(run: Path, whole: bytes, usual: dict[str, list[Tensor]], tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    for kind, content in hostile_files(whole, canary).items():
        (run / LAST).write_bytes(content)
        for name in READERS:
            assert as_before_or_refused(run, name, usual) is not None, (kind, name)
            assert not canary.exists(), (kind, name)
        (tmp_path / "weights.pth").write_bytes(content)
        with pytest.raises(UnreadableFileError):
            load_safely(tmp_path / "weights.pth", by_old_torch=True)
        assert not canary.exists(), kind


def test_torch_itself_opens_none_of_them(
    run: Path, whole: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are refused by what is in them, before torch has them in its hands."""
    files = hostile_files(whole, tmp_path / "canary")

    def opened(*_: object, **__: object) -> None:
        pytest.fail("torch.load was called")

    monkeypatch.setattr(torch, "load", opened)
    for kind, content in files.items():
        if kind == "by hand, build":  # of what tensors need, so that it is torch that refuses it
            continue
        (run / LAST).write_bytes(content)
        with pytest.raises(UnreadableFileError):
            load_safely(run / LAST)


def test_best_is_read_as_last_is(run: Path, whole: bytes) -> None:
    (run / BEST).write_bytes(whole[:-100])
    try:
        with pytest.raises(builders.USER_ERRORS, match=r"best\.pt' cannot be read as a checkpoint"):
            load_run(run, checkpoint="best")
    finally:
        (run / BEST).unlink()


# --- images ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("ending", ["PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "PPM"])
def test_an_image_of_any_bytes(tmp_path: Path, ending: str) -> None:
    buffer = io.BytesIO()
    exif = Image.Exif()
    exif[274] = 6
    options = {"exif": exif} if ending in ("PNG", "JPEG", "WEBP", "TIFF") else {}
    Image.effect_noise((20, 14), 80).convert("RGB").save(buffer, ending, **options)
    Image.new("RGB", (8, 8)).save(tmp_path / "good.png")
    file = tmp_path / "a.png"

    @fuzzed
    @given(mutated_bytes(Whole(buffer.getvalue())))
    @example(Mutated(buffer.getvalue(), []))
    def check(mutated: Mutated) -> None:
        file.write_bytes(mutated.content)
        refusal = ""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                assert load_folder(tmp_path, 8).images.shape == (2, 3, 8, 8)
            except DataError as error:
                refusal = str(error)
        assert file.read_bytes() == mutated.content
        assert not refusal or "a.png' cannot be read as an image" in refusal
        assert refusal.isprintable()
        assert len(refusal) < LONGEST

    check()
