"""What a folder with one bad image is told."""

from pathlib import Path

import pytest

from gantrain.data import DataError
from gantrain.data.folder import load_folder
from tests.faults.images.made import Refused, good


@pytest.fixture
def refused(tmp_path: Path) -> Refused:
    """The one error about a.png (or another name) beside two good images."""

    def read(content: bytes, name: str = "a.png", *, names: str | None = None) -> str:
        good(tmp_path, "good.png", "good2.png")
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError) as caught:
            load_folder(tmp_path, 32)
        words = str(caught.value)
        for part in ("data.root: 1 of 3 files", "cannot be read as an image", "take them out", names or repr(name)[1:]):
            assert part in words
        assert len(words) < 2000
        assert words.isprintable()
        return words

    return read
