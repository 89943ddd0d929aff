"""Files appear whole, under a name that was free, or not at all."""

from pathlib import Path

import pytest

from gantrain.atomic_io import create_atomically


@pytest.mark.parametrize("folder", [False, True])
def test_nothing_is_seen_before_the_end(folder: bool, tmp_path: Path) -> None:
    with create_atomically(tmp_path / "new") as place:
        if folder:
            place.mkdir()
            place = place / "inside"
        place.write_text("whole")
        assert not (tmp_path / "new").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
    assert (tmp_path / "new" / "inside" if folder else tmp_path / "new").read_text() == "whole"


def test_what_fails_leaves_nothing(tmp_path: Path) -> None:
    def interrupted() -> None:
        with create_atomically(tmp_path / "new") as place:
            place.write_text("half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert list(tmp_path.iterdir()) == []


def test_what_came_in_between_stays(tmp_path: Path) -> None:
    def raced() -> None:
        with create_atomically(tmp_path / "new") as place:
            place.write_text("ours")
            (tmp_path / "new").write_text("theirs")

    with pytest.raises(FileExistsError, match="nothing is overwritten"):
        raced()
    assert (tmp_path / "new").read_text() == "theirs"
    assert [path.name for path in tmp_path.iterdir()] == ["new"]
