"""What is read of each kind of image."""

import os
import struct
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from gantrain.data.folder import load_folder
from tests.faults.images.made import chunk, encoded, good, read_or_refused


def test_one_pixel_fills_the_image(tmp_path: Path) -> None:
    for name, size in (("a.png", (1, 1)), ("b.png", (1, 3000)), ("c.png", (3000, 1))):
        Image.new("RGB", size, (9, 99, 199)).save(tmp_path / name)
    for image in load_folder(tmp_path, 32).images:
        assert image.flatten(1).unique(dim=1).flatten().tolist() == [9, 99, 199]


def test_16_bit_grey_is_scaled(tmp_path: Path) -> None:
    """Each level within one of x·255/65535, the ends exactly."""
    levels = np.linspace(0, 65535, 32 * 32).round().astype(np.uint16).reshape(32, 32)
    Image.fromarray(levels).save(tmp_path / "a.png")
    Image.fromarray(levels).save(tmp_path / "b.tiff")
    wanted = levels.astype(np.float64) * 255 / 65535
    for image in load_folder(tmp_path, 32).images.numpy().astype(np.float64):
        assert np.abs(image - wanted).max() < 1
        assert (image.min(), image.max()) == (0, 255)
        assert (np.diff(image[0].flatten()) >= 0).all()


def test_16_bit_color_is_scaled(tmp_path: Path) -> None:
    rows = b"".join(b"\0" + struct.pack(">HHH", 65535, 32896, 255) * 32 for _ in range(32))
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", 32, 32, 16, 2, 0, 0, 0))
    content = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(content)
    found = load_folder(tmp_path, 32).images[0, :, 0, 0].tolist()
    assert all(abs(level - wanted) < 1 for level, wanted in zip(found, (255, 128, 255 / 257), strict=True))


def test_cmyk_is_read_as_the_inks_say(tmp_path: Path) -> None:
    """Adobe's JPEG holds them inverted; R = 255 (1 - C)(1 - K) to rounding and the JPEG's own loss."""
    inks = [(0, 0, 0, 0), (255, 0, 0, 0), (0, 0, 0, 255), (60, 120, 30, 80)]
    for number, ink in enumerate(inks):
        Image.new("CMYK", (32, 32), ink).save(tmp_path / f"{number}.jpg", quality=100)
    for image, (*colors, black) in zip(load_folder(tmp_path, 32).images, inks, strict=True):
        wanted = [255 * (1 - color / 255) * (1 - black / 255) for color in colors]
        assert np.abs(image[:, 16, 16].numpy() - np.array(wanted)).max() <= 3


def test_bilevel_grey_and_palette(tmp_path: Path) -> None:
    Image.new("1", (32, 32), 1).save(tmp_path / "a.png")
    Image.new("L", (32, 32), 77).save(tmp_path / "b.png")
    palette = Image.new("P", (32, 32), 2)
    palette.putpalette([0, 0, 0, 1, 2, 3, 200, 100, 50])
    palette.save(tmp_path / "c.gif")
    found = load_folder(tmp_path, 32).images[:, :, 3, 3].tolist()
    assert found == [[255] * 3, [77] * 3, [200, 100, 50]]


def test_transparency_is_laid_over_white(tmp_path: Path) -> None:
    """A·color + (1 - A)·255."""
    Image.new("RGBA", (32, 32), (100, 0, 255, 51)).save(tmp_path / "a.png")
    Image.new("LA", (32, 32), (0, 0)).save(tmp_path / "b.png")
    palette = Image.new("P", (32, 32), 1)
    palette.putpalette([0, 0, 0, 10, 20, 30])
    palette.save(tmp_path / "c.png", transparency=1)
    palette.save(tmp_path / "d.png", transparency=bytes([255, 51]))
    Image.fromarray(np.full((32, 32), 4660, np.uint16)).save(tmp_path / "e.png", transparency=4660)
    found = load_folder(tmp_path, 32).images[:, :, 0, 0].numpy()
    over = [[0.2 * color + 0.8 * 255 for color in colors] for colors in ((100, 0, 255), (10, 20, 30))]
    wanted = [over[0], [255] * 3, [255] * 3, over[1], [255] * 3]
    assert np.abs(found - np.array(wanted)).max() <= 1


@pytest.mark.parametrize("ending", ["GIF", "PNG", "WEBP", "TIFF"])
def test_the_first_frame_of_an_animation(tmp_path: Path, ending: str) -> None:
    frames = [Image.new("RGB", (32, 32), color) for color in ((250, 0, 0), (0, 250, 0), (0, 0, 250))]
    options = {"lossless": True} if ending == "WEBP" else {}
    content = encoded(frames[0], ending, save_all=True, append_images=frames[1:], **options)
    for name in ("a", "b"):
        (tmp_path / f"{name}.{ending.lower()}").write_bytes(content)
    with Image.open(tmp_path / f"a.{ending.lower()}") as file:
        assert file.n_frames == 3
    assert load_folder(tmp_path, 32).images[0, :, 5, 5].tolist() == [250, 0, 0]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_images_stand_as_their_exif_says(tmp_path: Path, orientation: int) -> None:
    """Against the definition: where row 0 and column 0 of the file lie in the image (Exif 2.3, tag 274)."""
    upright = np.arange(32 * 32, dtype=np.uint32).reshape(32, 32) % 251
    undo = {
        1: lambda x: x,
        2: np.fliplr,
        3: lambda x: np.rot90(x, 2),
        4: np.flipud,
        5: np.transpose,
        6: lambda x: np.rot90(x, 1),
        7: lambda x: np.rot90(np.transpose(x), 2),
        8: lambda x: np.rot90(x, -1),
    }
    exif = Image.Exif()
    exif[274] = orientation
    stored = np.ascontiguousarray(undo[orientation](upright.astype(np.uint8)))
    Image.fromarray(stored).save(tmp_path / "a.png", exif=exif)
    good(tmp_path, "b.png")
    assert (load_folder(tmp_path, 32).images[0, 0].numpy() == upright).all()


@pytest.mark.parametrize(
    "exif", [b"Exif\0\0MM\0*\xff\xff\xff\xff", b"Exif\0\0", b"\0" * 40, b"Exif\0\0II*\0\x08\0\0\0\xff\xff"]
)
def test_a_broken_exif_is_no_reason_for_a_traceback(tmp_path: Path, exif: bytes) -> None:
    good(tmp_path, "b.png")
    Image.new("RGB", (32, 32), (7, 7, 7)).save(tmp_path / "a.jpg", exif=exif, quality=100)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        read_or_refused(tmp_path)


def test_a_changed_file_is_another_set(tmp_path: Path) -> None:
    """What is cached is known by the pixels, so that nothing stale is found of a file that was changed."""
    from gantrain.cache import tensor_digest

    good(tmp_path, "a.png", "b.png")
    before = tensor_digest(load_folder(tmp_path, 32).images)
    stamp = (tmp_path / "a.png").stat()
    ImageOps.invert(Image.open(tmp_path / "a.png").convert("RGB")).save(tmp_path / "a.png")
    os.utime(tmp_path / "a.png", ns=(stamp.st_atime_ns, stamp.st_mtime_ns))
    assert tensor_digest(load_folder(tmp_path, 32).images) != before


@pytest.mark.parametrize("words", [("a.png", b"no image"), (os.fsdecode(b"\xffdir/x.png"), None)])
def test_training_refuses_before_it_begins(
    command: Callable[..., tuple[int, str]], tmp_path: Path, words: tuple[str, bytes | None]
) -> None:
    name, content = words
    good(tmp_path, "set/b.png", "set/c.png", f"set/{name}")
    if content is not None:
        (tmp_path / "set" / name).write_bytes(content)
    code, said = command("data=folder", "data.root=set", "metrics=none", "device=cpu")
    assert code == 2, said
    assert said.startswith("gantrain: error: data.root: ")
    assert "Traceback" not in said
    assert not list((tmp_path / "outputs").rglob("*.pt"))
