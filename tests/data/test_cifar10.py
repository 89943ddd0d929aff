"""CIFAR-10: the published files, and files that are not."""

import hashlib
import pickle
import socket
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.datasets import CIFAR10

from gantrain.data import DataError
from gantrain.data.cifar10 import cifar10_root, load_cifar10, prepare_cifar10
from tests.faults.payloads import Payload

BATCHES = [f"data_batch_{number}" for number in range(1, 6)]


@pytest.mark.cifar10
def test_cifar10_is_the_published_set(cifar10: Path) -> None:
    prepare_cifar10(cifar10)
    train, test = load_cifar10(cifar10, "train"), load_cifar10(cifar10, "test")
    assert train.images.shape == (50_000, 3, 32, 32)
    assert test.images.shape == (10_000, 3, 32, 32)
    assert torch.bincount(train.labels).tolist() == [5000] * 10
    assert train.classes[6] == "frog"
    assert train.labels[0] == 6  # the first training image is a frog
    image, label = CIFAR10(str(cifar10), train=True)[77]
    assert np.array_equal(np.asarray(image), train.images[77].permute(1, 2, 0).numpy())
    assert label == train.labels[77]


def test_the_root_comes_from_the_key_then_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert cifar10_root(None) == Path("data")
    monkeypatch.setenv("GANTRAIN_DATA", "/somewhere")
    assert cifar10_root(None) == Path("/somewhere")
    assert cifar10_root("/else") == Path("/else")


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no network in tests\nof two lines")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_network: None) -> Path:
    """A folder with batches of four images, whose md5 sums torchvision knows as the published ones."""
    folder = tmp_path / "data" / CIFAR10.base_folder
    folder.mkdir(parents=True)
    draw = np.random.default_rng(0)

    def write(name: str, content: object) -> list[str]:
        (folder / name).write_bytes(pickle.dumps(content))
        return [name, hashlib.md5((folder / name).read_bytes()).hexdigest()]

    def batch() -> dict[str, object]:
        return {"data": draw.integers(0, 256, (4, 3072), dtype=np.uint8), "labels": [0, 1, 2, 3]}

    monkeypatch.setattr(CIFAR10, "train_list", [write(name, batch()) for name in BATCHES])
    monkeypatch.setattr(CIFAR10, "test_list", [write("test_batch", batch())])
    _, md5 = write("batches.meta", {"label_names": list("abcdefghij")})
    monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": md5})
    return folder.parent


DAMAGES: dict[str, Callable[[Path], object]] = {
    "truncated": lambda file: file.write_bytes(file.read_bytes()[:-9]),
    "deleted": Path.unlink,
    "a pickle that runs code": lambda file: file.write_bytes(pickle.dumps(Payload(file.with_name("canary")))),
}


@pytest.mark.parametrize("name", [BATCHES[2], "test_batch", "batches.meta"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_file_is_refused_before_it_is_unpickled(published: Path, damage: str, name: str) -> None:
    prepare_cifar10(published)
    assert load_cifar10(published, "train").images.shape == (20, 3, 32, 32)
    file = published / CIFAR10.base_folder / name
    DAMAGES[damage](file)
    others = {path: path.read_bytes() for path in file.parent.iterdir()}
    with pytest.raises(DataError, match="contains a damaged CIFAR-10, and downloading it failed") as caught:
        prepare_cifar10(published)
    assert "no network in tests of two lines" in str(caught.value)
    with pytest.raises(DataError, match="have changed since the start"):
        load_cifar10(published, "train")
    assert {path: path.read_bytes() for path in file.parent.iterdir()} == others  # no canary, nothing deleted


def test_without_files_and_network_the_error_says_what_to_do(tmp_path: Path, no_network: None) -> None:
    with pytest.raises(DataError) as caught:
        prepare_cifar10(tmp_path / "new")
    assert not (tmp_path / "new").exists()
    for words in ("contains no CIFAR-10", "cifar-10-python.tar.gz", "GANTRAIN_DATA", "data=digits"):
        assert words in str(caught.value)


def test_a_download_has_a_timeout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    timeouts = []

    def download(*_: object, **__: object) -> None:
        timeouts.append(socket.getdefaulttimeout())
        raise TimeoutError("timed out")

    monkeypatch.setattr("torchvision.datasets.utils.download_and_extract_archive", download)
    with pytest.raises(DataError, match="timed out"):
        prepare_cifar10(tmp_path)
    assert timeouts == [60.0]
    assert socket.getdefaulttimeout() is None
