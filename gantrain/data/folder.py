"""Any folder of images."""

import logging
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from gantrain.data.images import DataError, ImageSet
from gantrain.data.spec import DatasetSpec

if TYPE_CHECKING:
    from PIL import Image

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm")
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
"""Formats that Pillow may open; without this list it would run Ghostscript on PostScript named a.png."""
MAX_PIXELS = 89_478_485
"""Largest size of an image; above it Pillow warns of a decompression bomb."""
NAMED_FILES = 4
"""Number of files that an error names."""

log = logging.getLogger(__name__)


def list_images(root: Path, key: str = "data.root") -> list[Path]:
    """The image files under `root`, sorted, without hidden ones.

    Links to files are followed, links to folders are not.

    Args:
        root: the folder.
        key: configuration key that names the folder, for errors.

    Raises:
        DataError: `root` is not a folder, or has fewer than two images.
    """
    return _list(root, key)[0]


def load_folder(root: Path, image_size: int, key: str = "data.root") -> ImageSet:
    """Every image under `root`, center-cropped to a square and resized with antialiasing, on the CPU.

    The class of an image is the first folder below `root`, or `.` for files directly in it; folders without images are
    not classes. EXIF orientation is applied; of an animation, the first frame is read.

    Args:
        root: the folder.
        image_size: height and width in pixels.
        key: configuration key that names the folder, for errors.

    Raises:
        DataError: files that cannot be read; the message names the first.
    """
    from tqdm import tqdm

    files, ignored = _list(root, key)
    names = [path.relative_to(root).parts[0] if path.parent != root else "." for path in files]
    classes = tuple(sorted(set(names)))
    for what in ignored:
        log.warning("%s=%r: %s", key, str(root), what)
    images = torch.empty(len(files), 3, image_size, image_size, dtype=torch.uint8)
    unreadable: list[tuple[Path, Exception]] = []
    for k, path in enumerate(tqdm(files, desc=f"reading {root.name!r}", unit="image", disable=None, leave=False)):
        try:
            images[k] = _read(path, image_size)
        except Exception as error:  # Pillow raises many kinds of exceptions for damaged files
            unreadable.append((path, error))
    if unreadable:
        raise _unreadable_error(root, key, unreadable, len(files))
    return ImageSet(f"folder-{root.name}", images, torch.tensor([classes.index(name) for name in names]), classes)


def _list(root: Path, key: str) -> tuple[list[Path], list[str]]:
    """The image files under `root`, sorted, and descriptions of what was ignored."""
    if not os.path.isdir(root):
        raise DataError(f"{key}={str(root)!r} is not a folder; set {key} to a folder of images")
    files: list[Path] = []
    folders: list[Path] = []
    links: list[Path] = []
    pending = [root]
    while pending:
        folder = pending.pop()
        try:
            with os.scandir(folder) as entries:
                visible = [entry for entry in entries if not entry.name.startswith(".")]
        except OSError as error:
            raise DataError(f"{key}: the folder {_shown(folder)} cannot be listed ({error.strerror})") from None
        for entry in visible:
            path = folder / entry.name
            if entry.is_dir(follow_symlinks=False):
                folders.append(path)
                pending.append(path)
            elif os.path.isdir(path):
                links.append(path)
            elif path.suffix.lower() in SUFFIXES:
                files.append(path)
    files.sort()
    classes = {root / path.relative_to(root).parts[0] for path in files}
    empty = [path for path in folders if path.parent == root and path not in classes]
    kinds = ((links, "links to folders are not followed"), (empty, "folders contain no image"))
    ignored = [f"{len(paths):,} {what} ({_shown(min(paths))} first)" for paths, what in kinds if paths]
    if len(files) < 2:
        raise DataError(
            f"{key}={str(root)!r} contains {len(files)} images, but at least 2 are needed; files ending in "
            f"{', '.join(SUFFIXES)} are read, in the folder and the folders inside it{'; '.join(['', *ignored])}"
        )
    return files, ignored


def _unreadable_error(root: Path, key: str, unreadable: list[tuple[Path, Exception]], count: int) -> DataError:
    """An error that names the first files and their reasons."""
    first = [
        f"{_shown(path)} cannot be read as an image ({' '.join(str(error).split())[:120] or type(error).__name__})"
        for path, error in unreadable[:NAMED_FILES]
    ]
    more = [f"and {len(unreadable) - NAMED_FILES:,} more"] if len(unreadable) > NAMED_FILES else []
    return DataError(
        f"{key}: {len(unreadable):,} of {count:,} files in {_shown(root)} are not images: {'; '.join(first + more)}. "
        f"A file ending in {', '.join(SUFFIXES)} must contain an image of at most {MAX_PIXELS:,} pixels: repair "
        "or remove these files"
    )


def _shown(path: Path) -> str:
    """A printable form of the name; the middle of a long one is left out."""
    name = repr(str(path))
    return name if len(name) <= 200 else f"{name[:60]}…{name[-120:]}"


def _read(path: Path, image_size: int) -> Tensor:
    """uint8 (3, image_size, image_size)."""
    from PIL import Image, ImageOps, UnidentifiedImageError
    from torchvision.transforms.v2 import functional as transforms

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # checked below
        try:
            with Image.open(path, formats=FORMATS) as file:
                if file.width * file.height > MAX_PIXELS:
                    raise ValueError(f"it has {file.width:,} × {file.height:,} pixels")
                picture = _to_rgb(ImageOps.exif_transpose(file))
        except UnidentifiedImageError:
            raise ValueError("the file is empty" if path.stat().st_size == 0 else "not an image format") from None
    pixels = transforms.center_crop(transforms.pil_to_tensor(picture), [min(picture.size)] * 2)
    resized: Tensor = transforms.resize(pixels, [image_size, image_size], antialias=True)
    return resized


def _to_rgb(picture: "Image.Image") -> "Image.Image":
    """8-bit RGB: the upper byte of 16 bits, transparency composed over white; ValueError for other ranges."""
    from PIL import Image

    if picture.mode == "F" or picture.mode.startswith("I"):
        levels = np.asarray(picture)
        if picture.mode == "F" or levels.min() < 0 or levels.max() > 65535:
            raise ValueError("pixel values are neither 8-bit nor 16-bit")
        gray = (levels >> 8).astype(np.uint8)
        if isinstance(clear := picture.info.get("transparency"), int):
            gray[levels == clear] = 255
        return Image.fromarray(gray).convert("RGB")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        return Image.alpha_composite(white, picture).convert("RGB")
    return picture.convert("RGB")


SPEC = DatasetSpec(
    name="folder",
    title="images in data.root",
    load=lambda options, split: load_folder(Path(options.root), options.image_size),
    prepare=lambda options: list_images(Path(options.root)),
    splits=("train",),
    needs_root=True,
    note="A folder of images. **Name the source and license of the images here before you share it.**",
)
