"""Images as they come, made byte by byte."""

import io
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from gantrain.data import DataError
from gantrain.data.folder import load_folder

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
