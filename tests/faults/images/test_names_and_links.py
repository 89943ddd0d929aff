"""Folders as they come: odd names, links, pipes, rights, and what is left out."""

import os
from pathlib import Path

import pytest
from PIL import Image

from gantrain.data import DataError
from gantrain.data import folder as folder_module
from gantrain.data.folder import list_images, load_folder
from tests.faults.images.made import Refused, encoded, good


@pytest.mark.parametrize(
    "name",
    ["a\nb.png", "a\x1b[31m.png", "ä€🎉.png", "-rf.png", "n" * 251 + ".png", "a\u202egnp.png", " .png", "a b.png"],
)
def test_odd_names_are_read_and_shown_on_one_line(tmp_path: Path, refused: Refused, name: str) -> None:
    good(tmp_path, name, "other.png")
    assert load_folder(tmp_path, 32).images[0, :, 0, 0].tolist() == [10, 20, 30]
    (tmp_path / "other.png").unlink()
    refused(b"broken", name, names=name[-20:] if len(name) > 200 else None)


def test_a_name_that_is_not_utf8(tmp_path: Path, refused: Refused) -> None:
    name = os.fsdecode(b"\xff\xfe.png")
    good(tmp_path, name, "other.png")
    assert len(load_folder(tmp_path, 32)) == 2
    (tmp_path / "other.png").unlink()
    assert r"\udcff\udcfe.png" in refused(b"broken", name)


@pytest.mark.parametrize("name", ["cats\ndogs", os.fsdecode(b"\xff"), "\x1b[2J"])
def test_a_class_whose_name_cannot_be_printed(tmp_path: Path, name: str) -> None:
    """It would stand in tables, JSON and TensorBoard."""
    good(tmp_path, f"{name}/a.png", "b.png")
    with pytest.raises(DataError, match="names a class, and its name cannot be printed; rename it") as caught:
        load_folder(tmp_path, 32)
    assert str(caught.value).isprintable()


def test_a_root_that_is_not_utf8_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    root = tmp_path / os.fsdecode(b"\xff")
    good(root, "a.png", "b.png")
    with pytest.raises(DataError, match="is not UTF-8, and nothing can be written of it; rename it"):
        list_images(root)


@pytest.mark.parametrize("name", ["two\nlines", "r" * 250])
def test_a_root_with_another_odd_name(tmp_path: Path, name: str) -> None:
    good(tmp_path / name, "a.png", "b.png")
    found = load_folder(tmp_path / name, 32)
    assert found.name.isprintable()
    assert len(found) == 2


def test_hidden_files_and_texts_are_left_out(tmp_path: Path) -> None:
    good(tmp_path, "a.png", "b.png")
    for name in ("._a.png", ".DS_Store", ".hidden.png", ".png", "Thumbs.db", "labels.txt", "png", "a.png.bak"):
        (tmp_path / name).write_bytes(b"none")
    good(tmp_path, ".cache/c.png", "__MACOSX/d.png")
    assert [path.name for path in list_images(tmp_path)] == ["d.png", "a.png", "b.png"]


def test_endings_of_any_case(tmp_path: Path) -> None:
    for name in ("a.PNG", "b.Jpg", "c.JPEG", "d.tIFf"):
        (tmp_path / name).write_bytes(encoded(Image.new("RGB", (32, 32)), "PNG"))
    assert len(load_folder(tmp_path, 32)) == 4


def test_a_link_to_a_file(tmp_path: Path) -> None:
    good(tmp_path / "elsewhere", "x.png")
    good(tmp_path / "root", "a.png")
    (tmp_path / "root" / "b.png").symlink_to(tmp_path / "elsewhere" / "x.png")
    found = load_folder(tmp_path / "root", 32)
    assert found.images[0].equal(found.images[1])


@pytest.mark.parametrize("kind", ["dangling", "loop"])
def test_a_link_to_nothing(tmp_path: Path, kind: str) -> None:
    good(tmp_path, "a.png", "b.png")
    (tmp_path / "x.png").symlink_to("x.png" if kind == "loop" else "gone.png")
    with pytest.raises(DataError, match=r"1 of 3 files .*x\.png' cannot be read as an image \(.+\)"):
        list_images(tmp_path)


def test_links_to_folders_are_not_followed_which_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good(tmp_path, "cats/a.png", "cats/b.png")
    (tmp_path / "cats" / "round").symlink_to(tmp_path)
    (tmp_path / "dogs").symlink_to("cats")
    assert load_folder(tmp_path, 32).classes == ("cats",)
    assert "2 links to folders are not followed" in capsys.readouterr().err
    for path in list_images(tmp_path):
        path.unlink()
    with pytest.raises(DataError, match=r"holds 0 images.*links to folders are not followed"):
        list_images(tmp_path)


def test_a_folder_with_an_images_ending_is_a_folder(tmp_path: Path) -> None:
    good(tmp_path, "x.png/a.png", "b.png")
    assert load_folder(tmp_path, 32).classes == (".", "x.png")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes here")
def test_a_pipe_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good(tmp_path, "a.png", "b.png")
    os.mkfifo(tmp_path / "x.png")
    with pytest.raises(DataError, match=r"x\.png' cannot be read as an image \(it is no file\)"):
        list_images(tmp_path)
    monkeypatch.setattr(folder_module, "_is_no_file", lambda _: None)  # it took a file's place after the listing
    with pytest.raises(DataError, match=r"x\.png' cannot be read as an image \(it is no file\)"):
        load_folder(tmp_path, 32)


@pytest.mark.skipif(hasattr(os, "geteuid") and os.geteuid() == 0, reason="root reads everything")
def test_a_file_or_folder_that_may_not_be_read(tmp_path: Path) -> None:
    good(tmp_path, "a.png", "b.png", "c/d.png")
    (tmp_path / "b.png").chmod(0)
    with pytest.raises(DataError, match=r"b\.png' cannot be read as an image .*Permission denied"):
        load_folder(tmp_path, 32)
    (tmp_path / "b.png").chmod(0o600)
    (tmp_path / "c").chmod(0)
    try:
        with pytest.raises(DataError, match="c' cannot be listed"):
            load_folder(tmp_path, 32)
    finally:
        (tmp_path / "c").chmod(0o700)


def test_empty_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(DataError, match="holds 0 images, and at least 2 are needed"):
        load_folder(tmp_path, 32)
    good(tmp_path, "cats/a.png", "cats/b.png")
    (tmp_path / "dogs").mkdir()
    assert load_folder(tmp_path, 32).classes == ("cats",)
    assert "1 folders hold no image" in (said := capsys.readouterr().err)
    assert "dogs'" in said


@pytest.mark.parametrize("change", ["vanishes", "is cut"])
def test_a_file_that_changes_after_the_listing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: str) -> None:
    good(tmp_path, "a.png", "b.png", "c.png")
    listed = folder_module._listed

    def and_then(root: Path, key: str) -> tuple[list[Path], list[str]]:
        found = listed(root, key)
        if change == "vanishes":
            (root / "b.png").unlink()
        else:
            os.truncate(root / "b.png", 60)
        return found

    monkeypatch.setattr(folder_module, "_listed", and_then)
    with pytest.raises(DataError, match=r"1 of 3 files .*b\.png' cannot be read as an image"):
        load_folder(tmp_path, 32)


def test_folders_nested_beyond_pythons_recursion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    good(tmp_path, "a.png", "b.png")
    monkeypatch.chdir(tmp_path)
    for _ in range(1_100):
        os.mkdir("d")
        os.chdir("d")
    Image.new("RGB", (40, 40)).save("deep.png")
    try:
        assert len(load_folder(tmp_path, 32)) == 3
    finally:
        os.unlink("deep.png")  # pytest's own cleaning would go as deep as Python's recursion
        for _ in range(1_100):
            os.chdir("..")
            os.rmdir("d")
