"""Folders of images as they come: what is read of each kind of file, what is refused, and how that is said."""

import io
import os
import pickle
import re
import struct
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps

from gantrain.data import DataError
from gantrain.data import folder as folder_module
from gantrain.data.folder import MOST_PIXELS, list_images, load_folder
from tests.faults.payloads import Payload

Refused = Callable[..., str]


def good(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (40, 40), (10, 20, 30)).save(folder / name)


def noise(mode: str = "RGB", size: int = 48) -> Image.Image:
    pixels = np.random.default_rng(0).integers(0, 256, (size, size, len(mode)), dtype=np.uint8)
    return Image.fromarray(pixels, mode) if len(mode) > 1 else Image.fromarray(pixels[..., 0])


def encoded(picture: Image.Image, ending: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, ending, **options)
    return buffer.getvalue()


def chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png(width: int, height: int, *chunks: bytes) -> bytes:
    """A grey PNG of that header, whose pixels are those of a 2 × 2 image."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = chunk(b"IDAT", zlib.compress(b"\0\7\7" * 2))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join(chunks) + pixels + chunk(b"IEND", b"")


def read_or_refused(folder: Path) -> None:
    """Its first image is all of level 7, or it is refused by name."""
    try:
        found = load_folder(folder, 32)
    except DataError as error:
        if re.search(r"/a\.(png|jpg)' cannot be read as an image", str(error)) is None:
            raise
    else:
        assert found.images[0].unique().tolist() == [7]


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


# --- refused, with the file's name --------------------------------------------------------------


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


# --- names and kinds of files -------------------------------------------------------------------


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


# --- what is read of each kind ------------------------------------------------------------------


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


def test_16_bit_colour_is_scaled(tmp_path: Path) -> None:
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
    for image, (*colours, black) in zip(load_folder(tmp_path, 32).images, inks, strict=True):
        wanted = [255 * (1 - colour / 255) * (1 - black / 255) for colour in colours]
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
    """A·colour + (1 - A)·255."""
    Image.new("RGBA", (32, 32), (100, 0, 255, 51)).save(tmp_path / "a.png")
    Image.new("LA", (32, 32), (0, 0)).save(tmp_path / "b.png")
    palette = Image.new("P", (32, 32), 1)
    palette.putpalette([0, 0, 0, 10, 20, 30])
    palette.save(tmp_path / "c.png", transparency=1)
    palette.save(tmp_path / "d.png", transparency=bytes([255, 51]))
    Image.fromarray(np.full((32, 32), 4660, np.uint16)).save(tmp_path / "e.png", transparency=4660)
    found = load_folder(tmp_path, 32).images[:, :, 0, 0].numpy()
    over = [[0.2 * colour + 0.8 * 255 for colour in colours] for colours in ((100, 0, 255), (10, 20, 30))]
    wanted = [over[0], [255] * 3, [255] * 3, over[1], [255] * 3]
    assert np.abs(found - np.array(wanted)).max() <= 1


@pytest.mark.parametrize("ending", ["GIF", "PNG", "WEBP", "TIFF"])
def test_the_first_frame_of_an_animation(tmp_path: Path, ending: str) -> None:
    frames = [Image.new("RGB", (32, 32), colour) for colour in ((250, 0, 0), (0, 250, 0), (0, 0, 250))]
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
    from gantrain.files import tensor_digest

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
