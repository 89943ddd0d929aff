"""CIFAR-10's batches are pickles: what is not the published file is never unpickled."""

import hashlib
import pickle
import socket
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from torchvision.datasets import CIFAR10

from gantrain.data import DataError, cifar10
from gantrain.data.cifar10 import load_cifar10, prepare_cifar10
from tests.faults.payloads import Payload

NAMES = [f"data_batch_{number}" for number in range(1, 6)]


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder whose batches of four images stand for the published ones, torchvision knows their md5; no network."""
    folder = tmp_path / "data" / CIFAR10.base_folder
    folder.mkdir(parents=True)
    draw = np.random.default_rng(0)

    def write(name: str, content: object) -> str:
        (folder / name).write_bytes(pickle.dumps(content))
        return hashlib.md5((folder / name).read_bytes()).hexdigest()

    def batch() -> dict[str, object]:
        return {"data": draw.integers(0, 256, (4, 3072), dtype=np.uint8), "labels": [0, 1, 2, 3]}

    monkeypatch.setattr(CIFAR10, "train_list", [[name, write(name, batch())] for name in NAMES])
    monkeypatch.setattr(CIFAR10, "test_list", [["test_batch", write("test_batch", batch())]])
    md5 = write("batches.meta", {"label_names": list("abcdefghij")})
    monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": md5})

    def refuse(*_: object, **__: object) -> None:
        raise OSError("no network in tests\nof two lines")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    return folder.parent


def flip(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def replace_by_a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


DAMAGES: dict[str, Callable[[Path], object]] = {
    "truncated": lambda file: file.write_bytes(file.read_bytes()[:-9]),
    "empty": lambda file: file.write_bytes(b""),
    "a flipped bit": flip,
    "deleted": Path.unlink,
    "a folder": replace_by_a_folder,
    "a pickle that runs code": lambda file: file.write_bytes(pickle.dumps(Payload(file.with_name("canary")))),
}


@pytest.mark.parametrize("name", [NAMES[0], NAMES[4], "test_batch", "batches.meta"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_batch_is_refused_before_it_is_unpickled(published: Path, damage: str, name: str) -> None:
    prepare_cifar10(published)
    assert load_cifar10(published, "train").images.shape == (20, 3, 32, 32)
    file = published / CIFAR10.base_folder / name
    DAMAGES[damage](file)
    others = {path: path.read_bytes() for path in file.parent.iterdir() if path.is_file()}
    with pytest.raises(DataError, match="holds a damaged CIFAR-10, and it cannot be downloaded") as caught:
        prepare_cifar10(published)
    for words in ("no network in tests of two lines", "cifar-10-python.tar.gz", "data=digits"):
        assert words in str(caught.value)
    with pytest.raises(DataError, match="changed since it was looked at"):
        load_cifar10(published, "train")
    assert not (file.parent / "canary").exists()
    assert {path: path.read_bytes() for path in file.parent.iterdir() if path.is_file()} == others


def test_another_archive_is_not_unpacked(published: Path) -> None:
    for file in (published / CIFAR10.base_folder).iterdir():
        file.unlink()
    with tarfile.open(published / CIFAR10.filename, "w:gz") as archive:
        archive.add(__file__, "../outside")
    whole = (published / CIFAR10.filename).read_bytes()
    with pytest.raises(DataError, match="cannot be downloaded"):
        prepare_cifar10(published)
    assert not (published.parent / "outside").exists()
    assert (published / CIFAR10.filename).read_bytes() == whole


def test_a_download_gives_up_on_a_silent_server(published: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It asks with a limit of time, and leaves the process's own as it was."""
    limits = []

    def asked(*_: object, **__: object) -> None:
        limits.append(socket.getdefaulttimeout())
        raise TimeoutError("timed out")

    monkeypatch.setattr(cifar10, "download_and_extract_archive", asked)
    (published / CIFAR10.base_folder / NAMES[2]).unlink()
    with pytest.raises(DataError, match="timed out"):
        prepare_cifar10(published)
    assert limits[0] is not None
    assert socket.getdefaulttimeout() is None
