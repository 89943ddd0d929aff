"""Animations: GIF with Pillow, MP4 with imageio-ffmpeg. Small frames are enlarged."""

import math
from collections.abc import Iterable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

SIDE = 240
"""Minimum length of a frame's longer side in pixels; smaller frames are enlarged by an integer factor."""
PALETTE_FRAMES = 16


def save_gif(frames: Iterable[Tensor], path: Path, fps: int) -> None:
    """Writes frames (3, H, W) in [0, 1] as an endless GIF; `fps` must divide 100, since a GIF counts 1/100 s."""
    from PIL import Image

    assert 100 % fps == 0, fps
    small = [_as_bytes(frame) for frame in frames]
    # One palette for all frames and no dithering, or constant regions would flicker.
    palette = Image.fromarray(torch.cat(small[:: math.ceil(len(small) / PALETTE_FRAMES)]).numpy()).quantize(256)
    pictures = []
    for frame in small:
        picture = Image.fromarray(frame.numpy()).quantize(palette=palette, dither=Image.Dither.NONE)
        factor = _enlargement(picture.height, picture.width)
        pictures.append(picture.resize((factor * picture.width, factor * picture.height), Image.Resampling.NEAREST))
    first, *rest = pictures
    first.save(path, save_all=True, append_images=rest, duration=1000 // fps, loop=0)


def save_mp4(frames: Iterable[Tensor], path: Path, fps: int) -> None:
    """Writes frames (3, H, W) in [0, 1] as H.264; odd sides are padded with a white line.

    Raises:
        ModuleNotFoundError: imageio-ffmpeg is not installed.
        RuntimeError: ffmpeg is missing.
    """
    import imageio_ffmpeg

    writer = None
    for frame in frames:
        factor = _enlargement(*frame.shape[1:])
        large = frame.repeat_interleave(factor, dim=1).repeat_interleave(factor, dim=2)
        even = _as_bytes(F.pad(large, (0, large.shape[2] % 2, 0, large.shape[1] % 2), value=1.0))
        if writer is None:
            size = (even.shape[1], even.shape[0])
            writer = imageio_ffmpeg.write_frames(
                str(path), size, fps=fps, quality=8, macro_block_size=2, ffmpeg_log_level="error"
            )
            writer.send(None)
        writer.send(even.contiguous().numpy())
    assert writer is not None, "at least one frame"
    writer.close()


def _enlargement(height: int, width: int) -> int:
    return max(1, -(-SIDE // max(height, width)))


def _as_bytes(frame: Tensor) -> Tensor:
    """(3, H, W) in [0, 1] -> uint8 (H, W, 3), on the CPU."""
    return (frame * 255).round().to(torch.uint8).permute(1, 2, 0).cpu().contiguous()
