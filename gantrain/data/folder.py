"""Any folder of images."""

import os
import stat
import sys
import warnings
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from torchvision.transforms.v2 import functional as transforms
from tqdm import tqdm

from gantrain.data.images import DataError, ImageSet

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm")
FORMATS = ("PNG", "JPEG", "WEBP", "BMP", "GIF", "TIFF", "PPM")
"""Pillow looks at the content, and would start Ghostscript on PostScript by the name of a.png."""
MOST_PIXELS = 89_478_485
"""Of an image; Pillow warns of more."""
NAMED = 4
"""Files that an error names."""


def list_images(root: Path, key: str = "data.root") -> list[Path]:
    """The image files under `root`, sorted, hidden ones left out; errors name `key`, which the folder is the value of.

    Links to files are followed, links to folders are not.

    Raises:
        DataError: `root` is no folder, holds fewer than two images, or what ends like an image and is no file.
    """
    return _listed(root, key)[0]


def load_folder(root: Path, image_size: int, key: str = "data.root") -> ImageSet:
    """Every image under `root`, centre-cropped to a square and resized (antialiased), on the CPU.

    The first folder below `root` names the class; files directly in it belong to the class `.`, folders without
    images are none. Of an animation the first frame is taken; images stand as their EXIF says. Errors name `key`,
    which the folder is the value of.

    Raises:
        DataError: files that cannot be read, with the names of the first, or a class whose name cannot be printed.
    """
    files, left_out = _listed(root, key)
    names = [path.relative_to(root).parts[0] if path.parent != root else "." for path in files]
    classes = tuple(sorted(set(names)))
    for name in classes:
        if not name.isprintable():
            raise DataError(f"{key}: the folder {name!r} names a class, and its name cannot be printed; rename it")
    for what in left_out:
        print(f"gantrain: {key}={str(root)!r}: {what}", file=sys.stderr)
    number = {name: k for k, name in enumerate(classes)}
    images = torch.empty(len(files), 3, image_size, image_size, dtype=torch.uint8)
    unread = []
    for k, path in enumerate(tqdm(files, desc=f"reading {root.name!r}", unit="image", disable=None, leave=False)):
        try:
            images[k] = _read(path, image_size)
        except Exception as error:  # a damaged file makes Pillow raise nearly anything; all of it means the same
            unread.append((path, error))
    if unread:
        raise _refusal(root, key, unread, len(files))
    name = root.name if root.name.isprintable() else ascii(root.name)[1:-1]
    return ImageSet(f"folder-{name}", images, torch.tensor([number[name] for name in names]), classes)


def _listed(root: Path, key: str) -> tuple[list[Path], list[str]]:
    """The image files under `root`, sorted, and what else there is that one may take for images, in words."""
    try:
        str(root).encode()
    except UnicodeEncodeError:
        raise DataError(f"{key}={str(root)!r} is not UTF-8, and nothing can be written of it; rename it") from None
    if not os.path.isdir(root):
        raise DataError(f"{key}={str(root)!r} is not a folder; set {key} to a folder of images")
    files: list[Path] = []
    folders: list[Path] = []
    links: list[Path] = []
    waiting = [root]
    while waiting:
        folder = waiting.pop()
        try:
            with os.scandir(folder) as entries:
                visible = [entry for entry in entries if not entry.name.startswith(".")]
        except OSError as error:
            raise DataError(f"{key}: the folder {_shown(folder)} cannot be listed ({error.strerror})") from None
        for entry in visible:
            path = folder / entry.name
            if entry.is_dir(follow_symlinks=False):
                folders.append(path)
                waiting.append(path)
            elif os.path.isdir(path):
                links.append(path)
            elif path.suffix.lower() in SUFFIXES:
                files.append(path)
    files.sort()
    unread = [(path, why) for path in files if (why := _is_no_file(path)) is not None]
    if unread:
        raise _refusal(root, key, unread, len(files))
    classes = {root / path.relative_to(root).parts[0] for path in files}
    left_out = [
        f"{len(paths):,} {what} ({_shown(min(paths))} first)"
        for paths, what in (
            (links, "links to folders are not followed"),
            ([path for path in folders if path.parent == root and path not in classes], "folders hold no image"),
        )
        if paths
    ]
    if len(files) < 2:
        raise DataError(
            f"{key}={str(root)!r} holds {len(files)} images, and at least 2 are needed; files ending in "
            f"{', '.join(SUFFIXES)} are read, in the folder and the folders inside it{'; '.join(['', *left_out])}"
        )
    return files, left_out


def _refusal(root: Path, key: str, unread: list[tuple[Path, Exception]], count: int) -> DataError:
    """Names the first files, with what is the matter with each."""
    first = [
        f"{_shown(path)} cannot be read as an image ({' '.join(str(error).split())[:120] or type(error).__name__})"
        for path, error in unread[:NAMED]
    ]
    more = [f"and {len(unread) - NAMED:,} more"] if len(unread) > NAMED else []
    return DataError(
        f"{key}: {len(unread):,} of {count:,} files in {_shown(root)} are no images: {'; '.join(first + more)}. "
        f"A file ending in {', '.join(SUFFIXES)} must hold an image of at most {MOST_PIXELS:,} pixels: repair these "
        "or take them out of the folder"
    )


def _shown(path: Path) -> str:
    """A name on one line, whatever is in it; the middle of a long one left out."""
    name = repr(str(path))
    return name if len(name) <= 200 else f"{name[:60]}…{name[-120:]}"


def _is_no_file(path: Path) -> Exception | None:
    """Why a path cannot be opened as a file, if so."""
    try:
        mode = path.stat().st_mode
    except OSError as error:
        missing = isinstance(error, FileNotFoundError) and path.is_symlink()
        return OSError("it is a link to nothing") if missing else OSError(error.strerror)
    return None if stat.S_ISREG(mode) else OSError("it is no file")


def _read(path: Path, image_size: int) -> Tensor:
    # A pipe that has taken a file's place since the folder was listed would be waited for.
    handle = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    with os.fdopen(handle, "rb") as content, warnings.catch_warnings():
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError("it is no file")
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # refused here
        try:
            with Image.open(content, formats=FORMATS) as file:
                if file.width * file.height > MOST_PIXELS:
                    raise ValueError(f"it has {file.width:,} × {file.height:,} pixels")
                picture = _as_rgb(ImageOps.exif_transpose(file))
        except UnidentifiedImageError:
            raise ValueError("it is empty" if os.fstat(handle).st_size == 0 else "it holds something else") from None
    pixels = transforms.center_crop(transforms.pil_to_tensor(picture), [min(picture.size)] * 2)
    resized: Tensor = transforms.resize(pixels, [image_size, image_size], antialias=True)
    return resized


def _as_rgb(picture: Image.Image) -> Image.Image:
    """8-bit RGB: 16 bits keep the upper byte, transparency is laid over white.

    Raises:
        ValueError: its numbers have no known range.
    """
    if picture.mode == "F" or picture.mode.startswith("I"):
        levels = np.asarray(picture)
        if picture.mode == "F" or levels.min() < 0 or levels.max() > 65535:
            raise ValueError("its numbers are neither of 8 bits nor of 16")
        grey = (levels >> 8).astype(np.uint8)
        if isinstance(clear := picture.info.get("transparency"), int):
            grey[levels == clear] = 255
        return Image.fromarray(grey).convert("RGB")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        return Image.alpha_composite(white, picture).convert("RGB")
    return picture.convert("RGB")
