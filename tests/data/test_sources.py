"""Where images come from: the embedded digits, CIFAR-10, any folder."""

import socket
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import CIFAR10

from gantrain.data import DataError
from gantrain.data.cifar10 import cifar10_root, load_cifar10, prepare_cifar10
from gantrain.data.digits import DigitClassifier, _scans, held_out_accuracy, load_stacked_digits
from gantrain.data.folder import load_folder


def test_stacked_digits_cover_the_modes_evenly() -> None:
    data = load_stacked_digits("train")
    assert data.images.shape == (25_000, 3, 32, 32)
    assert data.images.dtype == torch.uint8
    counts = torch.bincount(data.labels, minlength=1000)
    assert len(counts) == 1000
    assert int(counts.min()) > 0
    assert float(counts.float().mean()) == 25.0
    assert torch.equal(data.images, load_stacked_digits("train").images)


def test_training_and_held_out_scans_are_disjoint() -> None:
    train, test = _scans("train")[0], _scans("test")[0]
    assert len(train) + len(test) == 1797
    seen = {scan.numpy().tobytes() for scan in train}
    assert len(seen & {scan.numpy().tobytes() for scan in test}) <= 1  # UCI's set has few, if any, doubles


def test_the_labels_are_the_three_channels_digits() -> None:
    data = load_stacked_digits("test")
    read = DigitClassifier().modes(data.images[:500])
    assert float((read == data.labels[:500]).float().mean()) > 0.9


def test_the_classifier_reads_held_out_digits() -> None:
    assert held_out_accuracy(DigitClassifier()) >= 0.95


# --- CIFAR-10 ------------------------------------------------------------------------------------


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


@pytest.mark.cifar10
def test_a_damaged_batch_is_named(cifar10: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / CIFAR10.base_folder
    folder.mkdir()
    for file in (cifar10 / CIFAR10.base_folder).iterdir():
        (folder / file.name).symlink_to(file.resolve())
    (folder / "data_batch_3").unlink()
    (folder / "data_batch_3").write_bytes(b"cut off")
    _no_network(monkeypatch)
    with pytest.raises(DataError, match="holds a damaged CIFAR-10"):
        prepare_cifar10(tmp_path)


def test_no_cifar10_and_no_network_gives_the_ways_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _no_network(monkeypatch)
    with pytest.raises(DataError) as caught:
        prepare_cifar10(tmp_path / "new")
    assert not (tmp_path / "new").exists()
    for words in ("holds no CIFAR-10", "cifar-10-python.tar.gz", "GANTRAIN_DATA", "data=digits"):
        assert words in str(caught.value)


def test_the_root_comes_from_the_key_then_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert cifar10_root(None) == Path("data")
    monkeypatch.setenv("GANTRAIN_DATA", "/somewhere")
    assert cifar10_root(None) == Path("/somewhere")
    assert cifar10_root("/else") == Path("/else")


def _no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise OSError("no network in tests")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


# --- folders -------------------------------------------------------------------------------------


def test_a_folder_of_classes_cropped_and_resized(tmp_path: Path) -> None:
    for name, color, size in (("cats", (250, 0, 0), (100, 60)), ("dogs", (0, 0, 250), (40, 90))):
        (tmp_path / name).mkdir()
        picture = Image.new("RGB", size, (0, 255, 0))
        side = min(size)
        left, top = (size[0] - side) // 2, (size[1] - side) // 2
        picture.paste(color, (left, top, left + side, top + side))  # green is what the crop takes off
        picture.save(tmp_path / name / "one.png")
    Image.new("L", (32, 32), 128).save(tmp_path / "grey.png")
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / ".hidden.png").write_bytes(b"")
    data = load_folder(tmp_path, 32)
    assert data.classes == (".", "cats", "dogs")
    assert data.images.shape == (3, 3, 32, 32)
    by_class = {data.classes[label]: image for label, image in zip(data.labels, data.images, strict=True)}
    assert by_class["cats"].float().mean(dim=(1, 2)).tolist() == [250, 0, 0]
    assert by_class["dogs"].float().mean(dim=(1, 2)).tolist() == [0, 0, 250]
    assert by_class["."].unique().tolist() == [128]
    assert load_folder(tmp_path, 64).images.shape == (3, 3, 64, 64)


def test_16_bit_grey_and_transparency(tmp_path: Path) -> None:
    Image.fromarray(np.full((32, 32), 128 * 256, dtype=np.uint16)).save(tmp_path / "a.png")
    Image.new("RGBA", (32, 32), (0, 0, 0, 0)).save(tmp_path / "b.png")
    grey, clear = load_folder(tmp_path, 32).images
    assert grey.unique().tolist() == [128]
    assert clear.unique().tolist() == [255]


def test_resizing_is_antialiased(tmp_path: Path) -> None:
    """A fine chessboard becomes grey; without antialiasing it would keep its contrast."""
    board = (np.indices((256, 256)).sum(axis=0) % 2 * 255).astype(np.uint8)
    for name in "ab":
        Image.fromarray(board).save(tmp_path / f"{name}.png")
    assert int(load_folder(tmp_path, 32).images.float().sub(127.5).abs().max()) <= 3


@pytest.mark.parametrize("damage", ["empty", "text", "cut"])
def test_an_unreadable_file_is_named(tmp_path: Path, damage: str) -> None:
    Image.effect_noise((64, 64), 80).save(tmp_path / "good.png")
    whole = (tmp_path / "good.png").read_bytes()
    content = {"empty": b"", "text": b"this is no image", "cut": whole[: len(whole) // 2]}[damage]
    (tmp_path / "broken.png").write_bytes(content)
    with pytest.raises(DataError, match=r"broken\.png' cannot be read as an image"):
        load_folder(tmp_path, 32)
