"""Folders of images: classes, formats, and errors that name the files."""

import io
import os
import pickle
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from gantrain.data import DataError
from gantrain.data.folder import MAX_PIXELS, list_images, load_folder


def save(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 40), (10, 20, 30)).save(folder / name)


def noise() -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (48, 48, 3), dtype=np.uint8))


def encoded(picture: Image.Image, ending: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, ending, **options)
    return buffer.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, depth: int, color: int, rows: bytes) -> bytes:
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


@pytest.fixture
def refusal(tmp_path: Path) -> Callable[..., str]:
    """The error about one bad file next to two good ones."""

    def read(content: bytes, name: str = "a.png") -> str:
        save(tmp_path, "good.png", "good2.png")
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError) as caught:
            load_folder(tmp_path, 32)
        text = str(caught.value)
        for part in (
            "data.root: 1 of 3 files",
            "cannot be read as an image",
            "remove these files",
            repr(name)[1:-1][-20:],
        ):
            assert part in text
        assert text.isprintable()
        return text

    return read


def test_classes_are_folders_and_images_are_cropped_and_resized(tmp_path: Path) -> None:
    for name, color, size in (("cats", (250, 0, 0), (100, 60)), ("dogs", (0, 0, 250), (40, 90))):
        (tmp_path / name).mkdir()
        picture = Image.new("RGB", size, (0, 255, 0))  # green is cropped away
        side = min(size)
        left, top = (size[0] - side) // 2, (size[1] - side) // 2
        picture.paste(color, (left, top, left + side, top + side))
        picture.save(tmp_path / name / "one.png")
    Image.new("L", (1, 3000), 128).save(tmp_path / "gray.png")
    data = load_folder(tmp_path, 32)
    assert data.classes == (".", "cats", "dogs")
    by_class = {data.classes[label]: image for label, image in zip(data.labels, data.images, strict=True)}
    assert by_class["cats"].float().mean(dim=(1, 2)).tolist() == [250, 0, 0]
    assert by_class["dogs"].float().mean(dim=(1, 2)).tolist() == [0, 0, 250]
    assert by_class["."].unique().tolist() == [128]
    assert load_folder(tmp_path, 64).images.shape == (3, 3, 64, 64)


def test_resizing_is_antialiased(tmp_path: Path) -> None:
    """A fine chessboard becomes gray; without antialiasing it would keep its contrast."""
    board = (np.indices((256, 256)).sum(axis=0) % 2 * 255).astype(np.uint8)
    for name in "ab":
        Image.fromarray(board).save(tmp_path / f"{name}.png")
    assert int(load_folder(tmp_path, 32).images.float().sub(127.5).abs().max()) <= 3


def test_16_bit_images_are_scaled(tmp_path: Path) -> None:
    levels = np.linspace(0, 65535, 32 * 32).round().astype(np.uint16).reshape(32, 32)
    Image.fromarray(levels).save(tmp_path / "a.png")
    Image.fromarray(levels).save(tmp_path / "b.tiff")
    color = b"".join(b"\0" + struct.pack(">HHH", 65535, 32896, 255) * 32 for _ in range(32))
    (tmp_path / "c.png").write_bytes(png(32, 32, 16, 2, color))
    *gray, rgb = load_folder(tmp_path, 32).images.numpy().astype(np.float64)
    for image in gray:
        assert np.abs(image - levels * (255 / 65535)).max() < 1
        assert (image.min(), image.max()) == (0, 255)
    assert np.abs(rgb[:, 0, 0] - np.array([255, 128, 255 / 257])).max() < 1


def test_cmyk_is_converted(tmp_path: Path) -> None:
    """R = 255 (1 - C)(1 - K), up to rounding and the JPEG's loss."""
    inks = [(0, 0, 0, 0), (255, 0, 0, 0), (0, 0, 0, 255), (60, 120, 30, 80)]
    for number, ink in enumerate(inks):
        Image.new("CMYK", (32, 32), ink).save(tmp_path / f"{number}.jpg", quality=100)
    for image, (*colors, black) in zip(load_folder(tmp_path, 32).images, inks, strict=True):
        expected = [255 * (1 - color / 255) * (1 - black / 255) for color in colors]
        assert np.abs(image[:, 16, 16].numpy() - np.array(expected)).max() <= 3


def test_bilevel_gray_palette_and_transparency(tmp_path: Path) -> None:
    """Transparency is composed over white: A·color + (1 - A)·255."""
    palette = Image.new("P", (32, 32), 1)
    palette.putpalette([0, 0, 0, 10, 20, 30])
    pictures: dict[str, tuple[Image.Image, dict[str, object], list[float]]] = {
        "a.png": (Image.new("1", (32, 32), 1), {}, [255] * 3),
        "b.png": (Image.new("L", (32, 32), 77), {}, [77] * 3),
        "c.gif": (palette, {}, [10, 20, 30]),
        "d.png": (Image.new("RGBA", (32, 32), (100, 0, 255, 51)), {}, [224, 204, 255]),
        "e.png": (Image.new("LA", (32, 32), (0, 0)), {}, [255] * 3),
        "f.png": (palette, {"transparency": 1}, [255] * 3),
        "g.png": (palette, {"transparency": bytes([255, 51])}, [206, 208, 210]),
        "h.png": (Image.fromarray(np.full((32, 32), 4660, np.uint16)), {"transparency": 4660}, [255] * 3),
    }
    for name, (picture, options, _) in pictures.items():
        picture.save(tmp_path / name, **options)
    found = load_folder(tmp_path, 32).images[:, :, 3, 3].numpy()
    assert np.abs(found - np.array([expected for *_, expected in pictures.values()])).max() <= 1


@pytest.mark.parametrize("ending", ["GIF", "PNG", "WEBP", "TIFF"])
def test_the_first_frame_of_an_animation_is_read(tmp_path: Path, ending: str) -> None:
    frames = [Image.new("RGB", (32, 32), color) for color in ((250, 0, 0), (0, 250, 0), (0, 0, 250))]
    options = {"lossless": True} if ending == "WEBP" else {}
    for name in "ab":
        path = tmp_path / f"{name}.{ending.lower()}"
        path.write_bytes(encoded(frames[0], ending, save_all=True, append_images=frames[1:], **options))
    assert load_folder(tmp_path, 32).images[0, :, 5, 5].tolist() == [250, 0, 0]


UNDO_EXIF = {
    1: lambda x: x,
    2: np.fliplr,
    3: lambda x: np.rot90(x, 2),
    4: np.flipud,
    5: np.transpose,
    6: np.rot90,
    7: lambda x: np.rot90(np.transpose(x), 2),
    8: lambda x: np.rot90(x, -1),
}
"""From the upright image to the stored one, by orientation (Exif 2.3, tag 274)."""


def test_images_are_turned_as_their_exif_says(tmp_path: Path) -> None:
    upright = (np.arange(32 * 32, dtype=np.uint32).reshape(32, 32) % 251).astype(np.uint8)
    for orientation, undo in UNDO_EXIF.items():
        exif = Image.Exif()
        exif[274] = orientation
        Image.fromarray(np.ascontiguousarray(undo(upright))).save(tmp_path / f"{orientation}.png", exif=exif)
    for image in load_folder(tmp_path, 32).images:
        assert (image[0].numpy() == upright).all()


def test_hidden_files_and_other_endings_are_ignored(tmp_path: Path) -> None:
    save(tmp_path, "a.png", "x.png/b.png", ".cache/c.png")
    (tmp_path / "d.JPeG").write_bytes(encoded(noise(), "PNG"))
    for name in ("._a.png", ".DS_Store", ".png", "labels.txt", "a.png.bak"):
        (tmp_path / name).write_bytes(b"none")
    assert [path.name for path in list_images(tmp_path)] == ["a.png", "d.JPeG", "b.png"]
    assert load_folder(tmp_path, 32).classes == (".", "x.png")


def test_links_to_files_are_followed_and_links_to_folders_are_reported(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    save(tmp_path / "set", "cats/a.png", "cats/b.png")
    save(tmp_path / "elsewhere", "c.png")
    (tmp_path / "set" / "cats" / "c.png").symlink_to(tmp_path / "elsewhere" / "c.png")
    (tmp_path / "set" / "cats" / "loop").symlink_to(tmp_path)
    (tmp_path / "set" / "empty").mkdir()
    data = load_folder(tmp_path / "set", 32)
    assert (len(data), data.classes) == (3, ("cats",))
    assert "1 links to folders are not followed" in caplog.text
    assert "1 folders contain no image" in caplog.text
    for path in list_images(tmp_path / "set"):
        path.unlink()
    with pytest.raises(DataError, match=r"contains 0 images, but at least 2 are needed.*are not followed"):
        list_images(tmp_path / "set")


@pytest.mark.parametrize(
    "name", ["a\nb.png", "a\x1b[31m.png", "ä€🎉.png", "n" * 251 + ".png", os.fsdecode(b"\xff.png")]
)
def test_odd_file_names_are_read_and_shown_on_one_line(tmp_path: Path, refusal: Callable[..., str], name: str) -> None:
    save(tmp_path, name, "other.png")
    assert load_folder(tmp_path, 32).images[0, :, 0, 0].tolist() == [10, 20, 30]
    (tmp_path / "other.png").unlink()
    refusal(b"broken", name)


@pytest.mark.parametrize("ending", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP"])
def test_a_truncated_image_is_refused(refusal: Callable[..., str], ending: str) -> None:
    content = encoded(noise(), ending)
    refusal(content[: len(content) // 2])


NOT_IMAGES = {
    "nothing": (b"", "empty"),
    "text": (b"not an image\n" * 20, "not an image format"),
    "a pickle": (pickle.dumps([1, 2, 3]), "not an image format"),
    "PostScript, for which Pillow runs Ghostscript": (b"%!PS-Adobe-3.0 EPSF-3.0\nshowpage\n", "not an image format"),
    "too many pixels": (png(100_000, 100_000, 8, 0, b"\0\7"), f"at most {MAX_PIXELS:,} pixels"),
    "floats": (encoded(Image.new("F", (40, 40), 0.5), "TIFF"), "neither 8-bit nor 16-bit"),
    "32 bits": (encoded(Image.new("I", (40, 40), 70_000), "TIFF"), "neither 8-bit nor 16-bit"),
}


@pytest.mark.parametrize("kind", NOT_IMAGES)
def test_other_files_with_the_ending_of_an_image_are_refused(refusal: Callable[..., str], kind: str) -> None:
    content, expected = NOT_IMAGES[kind]
    assert expected in refusal(content)


def test_a_broken_link_is_refused(tmp_path: Path) -> None:
    save(tmp_path, "a.png", "b.png")
    (tmp_path / "x.png").symlink_to("gone.png")
    with pytest.raises(DataError, match=r"1 of 3 files .*x\.png' cannot be read as an image \(.*No such file"):
        load_folder(tmp_path, 32)


def test_the_error_counts_bad_files_and_names_the_first(tmp_path: Path) -> None:
    save(tmp_path, "good.png", "good2.png")
    for number in range(30):
        (tmp_path / f"bad{number:02d}.png").write_bytes(b"bad")
    with pytest.raises(DataError, match=r"30 of 32 files .*bad00.*bad03.*and 26 more"):
        load_folder(tmp_path, 32)


def test_training_refuses_bad_images_before_it_starts(command: Callable[..., tuple[int, str]], tmp_path: Path) -> None:
    save(tmp_path, "set/b.png", "set/c.png")
    (tmp_path / "set" / "a.png").write_bytes(b"no image")
    code, text = command("data=folder", "data.root=set", "metrics=none", "device=cpu")
    assert code == 2, text
    assert "gantrain: error: data.root: " in text
    assert "Traceback" not in text
    assert not list((tmp_path / "outputs").rglob("*.pt"))
