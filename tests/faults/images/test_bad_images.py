"""Images that cannot be read: refused before training, with the file's name."""

import io
import pickle
import zipfile
import zlib
from pathlib import Path

import pytest
from PIL import Image, ImageOps

from gantrain.data import DataError
from gantrain.data.folder import MOST_PIXELS, load_folder
from tests.faults.images.made import Refused, chunk, encoded, good, noise, png, read_or_refused
from tests.faults.payloads import Payload


@pytest.mark.parametrize("ending", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_truncated_image(refused: Refused, ending: str, share: float) -> None:
    whole = encoded(noise(), ending)
    refused(whole[: int(len(whole) * share)])


def test_an_empty_file(refused: Refused) -> None:
    assert "it is empty" in refused(b"")


def archive() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as zipped:
        zipped.writestr("a.png", encoded(noise(), "PNG"))
    return buffer.getvalue()


OTHERS = {
    "text": b"not an image\n" * 20,
    "a pickle": pickle.dumps([1, 2, 3]),
    "a zip": archive(),
    "HTML": b"<html><body>404</body></html>",
    "PostScript, which Pillow has Ghostscript run": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\nshowpage\n",
    "a PDF": b"%PDF-1.7\n%%EOF",
    "an icon": encoded(Image.new("RGB", (32, 32)), "ICO"),
}


@pytest.mark.parametrize("kind", OTHERS)
def test_something_else_with_an_images_ending(refused: Refused, kind: str) -> None:
    assert "it holds something else" in refused(OTHERS[kind])


def test_a_pickle_that_runs_code_is_not_unpickled(refused: Refused, tmp_path: Path) -> None:
    canary = tmp_path / "canary"
    refused(pickle.dumps(Payload(canary)))
    assert not canary.exists()


@pytest.mark.parametrize(("width", "height"), [(100_000, 100_000), (2**31 - 1, 2**31 - 1), (20_000, 5_000)])
def test_a_header_that_promises_too_many_pixels(refused: Refused, width: int, height: int) -> None:
    assert f"at most {MOST_PIXELS:,} pixels" in refused(png(width, height))


def test_20000_by_20000_pixels_are_refused_before_they_are_unpacked(
    refused: Refused, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = encoded(Image.new("1", (20_000, 20_000)), "PNG")
    assert len(content) < 100_000
    turned, unpacked = ImageOps.exif_transpose, []

    def noted(picture: Image.Image) -> Image.Image:
        unpacked.append(picture.size)
        return turned(picture)

    monkeypatch.setattr(ImageOps, "exif_transpose", noted)
    assert f"at most {MOST_PIXELS:,} pixels" in refused(content)
    assert unpacked == [(40, 40)] * 2


@pytest.mark.parametrize("kind", [b"zTXt", b"iCCP", b"iTXt"])
def test_a_text_or_profile_that_inflates_without_end(tmp_path: Path, kind: bytes) -> None:
    """It is refused, or left out: 256 MB are never made of 250 kB."""
    import tracemalloc

    packed = zlib.compress(bytes(2**28), 9)
    head = {b"zTXt": b"x\0\0", b"iCCP": b"x\0\0", b"iTXt": b"x\0\1\0\0\0"}[kind]
    good(tmp_path, "good.png")
    (tmp_path / "a.png").write_bytes(png(2, 2, chunk(kind, head + packed)))
    tracemalloc.start()
    read_or_refused(tmp_path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2**26


@pytest.mark.parametrize(
    "picture", [Image.new("F", (40, 40), 0.5), Image.new("I", (40, 40), 70_000), Image.new("I", (40, 40), -1)]
)
def test_numbers_of_no_known_range(refused: Refused, picture: Image.Image) -> None:
    """A TIFF of floats in [0, 1] would be black."""
    assert "neither of 8 bits nor of 16" in refused(encoded(picture, "TIFF"), "a.tiff")


def test_the_first_of_many_and_how_many_there_are(tmp_path: Path) -> None:
    good(tmp_path, "good.png", "good2.png")
    for number in range(30):
        (tmp_path / f"bad{number:02d}.png").write_bytes(b"bad")
    with pytest.raises(DataError) as caught:
        load_folder(tmp_path, 32)
    words = str(caught.value)
    assert "30 of 32 files" in words
    assert "and 26 more" in words
    assert [f"bad{number:02d}" in words for number in range(30)] == [True] * 4 + [False] * 26
