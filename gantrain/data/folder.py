"""Any folder of images."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor
from torchvision.transforms.v2 import functional as transforms
from tqdm import tqdm

from gantrain.data.images import DataError, ImageSet

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm")


def list_images(root: Path, key: str = "data.root") -> list[Path]:
    """The image files under `root`, sorted, hidden ones left out; errors name `key`, which the folder is the value of.

    Raises:
        DataError: `root` is no folder or holds fewer than two images.
    """
    if not root.is_dir():
        raise DataError(f"{key}={str(root)!r} is not a folder; set {key} to a folder of images")
    files = sorted(
        path
        for path in root.rglob("*")
        if path.suffix.lower() in SUFFIXES
        and not any(part.startswith(".") for part in path.relative_to(root).parts)
        and path.is_file()
    )
    if len(files) < 2:
        raise DataError(
            f"{key}={str(root)!r} holds {len(files)} images, and at least 2 are needed; "
            f"files ending in {', '.join(SUFFIXES)} are read, in the folder and the folders inside it"
        )
    return files


def load_folder(root: Path, image_size: int, key: str = "data.root") -> ImageSet:
    """Every image under `root`, centre-cropped to a square and resized (antialiased), on the CPU.

    The first folder below `root` names the class; files directly in it belong to the class `.`. Errors name `key`,
    which the folder is the value of.

    Raises:
        DataError: a file cannot be read, with its name.
    """
    files = list_images(root, key)
    names = [path.relative_to(root).parts[0] if path.parent != root else "." for path in files]
    classes = tuple(sorted(set(names)))
    number = {name: k for k, name in enumerate(classes)}
    images = torch.empty(len(files), 3, image_size, image_size, dtype=torch.uint8)
    for k, path in enumerate(tqdm(files, desc=f"reading {root}", unit="image", disable=None, leave=False)):
        images[k] = _read(path, image_size, key)
    return ImageSet(f"folder-{root.name}", images, torch.tensor([number[name] for name in names]), classes)


def _read(path: Path, image_size: int, key: str) -> Tensor:
    try:
        with Image.open(path) as file:
            picture = _as_rgb(ImageOps.exif_transpose(file))
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError, ValueError, SyntaxError) as error:
        raise DataError(
            f"{key}: {str(path)!r} cannot be read as an image ({error}); repair it or take it out of the folder"
        ) from None
    pixels = transforms.center_crop(transforms.pil_to_tensor(picture), [min(picture.size)] * 2)
    resized: Tensor = transforms.resize(pixels, [image_size, image_size], antialias=True)
    return resized


def _as_rgb(picture: Image.Image) -> Image.Image:
    """8-bit RGB: 16-bit grey keeps its upper byte, transparency is laid over white."""
    if picture.mode.startswith("I"):
        grey = np.asarray(picture).astype(np.int64)
        return Image.fromarray((grey // 256).clip(0, 255).astype(np.uint8)).convert("RGB")
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        return Image.alpha_composite(white, picture).convert("RGB")
    return picture.convert("RGB")
