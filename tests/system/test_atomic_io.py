"""Files and folders appear complete, under a free name, or not at all."""

from pathlib import Path

import pytest

from gantrain.system.atomic_io import create_atomically, replace_text, set_aside


@pytest.mark.parametrize("folder", [False, True])
def test_nothing_is_visible_before_the_end(folder: bool, tmp_path: Path) -> None:
    with create_atomically(tmp_path / "new") as place:
        if folder:
            place.mkdir()
            place = place / "inside"
        place.write_text("complete")
        assert not (tmp_path / "new").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
    assert (tmp_path / "new" / "inside" if folder else tmp_path / "new").read_text() == "complete"


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    def interrupted() -> None:
        with create_atomically(tmp_path / "new") as place:
            place.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    (tmp_path / "text").write_text("before")
    with pytest.raises(UnicodeEncodeError):
        replace_text(tmp_path / "text", "after\udcff")
    assert [path.name for path in tmp_path.iterdir()] == ["text"]
    assert (tmp_path / "text").read_text() == "before"


def test_a_file_created_meanwhile_is_not_overwritten(tmp_path: Path) -> None:
    def raced() -> None:
        with create_atomically(tmp_path / "new") as place:
            place.write_text("ours")
            (tmp_path / "new").write_text("theirs")

    with pytest.raises(FileExistsError, match="will not be overwritten"):
        raced()
    assert (tmp_path / "new").read_text() == "theirs"
    assert [path.name for path in tmp_path.iterdir()] == ["new"]


def test_files_set_aside_keep_different_names(tmp_path: Path) -> None:
    for text in ("one", "two", "three"):
        (tmp_path / "a").write_text(text)
        set_aside(tmp_path / "a")
    found = {path.name: path.read_text() for path in tmp_path.iterdir()}
    assert found == {"a.damaged": "one", "a.damaged.2": "two", "a.damaged.3": "three"}
