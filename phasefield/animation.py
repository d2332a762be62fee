"""Animations of a run: a GIF for reports, and an MP4 where imageio-ffmpeg is installed."""

import io
import os
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import to_rgb
from PIL import Image, ImageDraw, ImageFont

from idnn.files import write_atomically
from phasefield.plotting import COMPOSITION_COLOURS, PHASE_COLOURS, middle_plane, short_name

GIF_LIMIT = 3_000_000
"""Bytes, so that a report can embed the animation."""

GIF_PIXELS, VIDEO_PIXELS = 300, 720
"""Height of a picture, about."""

VIDEO_RATE = 8
"""Pictures per second."""

_SHADES = 64
_WHITE, _DARK = len(PHASE_COLOURS) + _SHADES, len(PHASE_COLOURS) + _SHADES + 1

Frame = tuple[float, np.ndarray, np.ndarray]
"""Time, field [x, y, z] and phases [x, y, z] of one picture."""


class MissingPackage(RuntimeError):
    """An optional package is not installed."""


def animate(frames: Sequence[Frame], name: str, length: float, path: Path) -> int:
    """A looping GIF of the first field (left) and the phases (right); returns its size in bytes.

    Args:
        frames: one per picture.
        name: of the field.
        length: edge of the box along x, nm.
        path: GIF file to write; every second picture is left out until it is below `GIF_LIMIT`.
    """
    pictures = list(_pictures(frames, name, length, GIF_PIXELS))
    content = _gif(pictures)
    while len(content) > GIF_LIMIT and len(pictures) > 2:
        pictures = pictures[::-2][::-1]
        content = _gif(pictures)
    write_atomically(path, content)
    return len(content)


def require_video() -> ModuleType:
    """The package that writes videos.

    Raises:
        MissingPackage: it is not installed.
    """
    try:
        return import_module("imageio_ffmpeg")
    except ImportError as error:
        raise MissingPackage(
            "`--mp4` needs imageio-ffmpeg, which is not installed: "
            "pip install 'scalebridge[video]'."
        ) from error


def write_video(frames: Sequence[Frame], name: str, length: float, path: Path) -> None:
    """An MP4 (H.264) of the same pictures as `animate`, larger; the last stays for two seconds.

    Raises:
        MissingPackage: imageio-ffmpeg is not installed.
    """
    ffmpeg = require_video()
    pictures = [_even(p.convert("RGB")) for p in _pictures(frames, name, length, VIDEO_PIXELS)]
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    writer = ffmpeg.write_frames(
        str(temporary),
        pictures[0].size,
        fps=VIDEO_RATE,
        quality=8,
        macro_block_size=2,
        output_params=["-f", "mp4"],
    )
    try:
        writer.send(None)
        for picture in [*pictures, *[pictures[-1]] * (2 * VIDEO_RATE)]:
            writer.send(picture.tobytes())
        writer.close()
        temporary.replace(path)
    finally:
        writer.close()
        temporary.unlink(missing_ok=True)


def _pictures(
    frames: Sequence[Frame], name: str, length: float, pixels: int
) -> Iterator[Image.Image]:
    low = min(float(field.min()) for _, field, _ in frames)
    high = max(float(field.max()) for _, field, _ in frames)
    left = f"{short_name(name)}, {length:g} nm wide"
    for time, field, phase in frames:
        shade = ((field - low) / max(high - low, 1e-12) * (_SHADES - 1)).round()
        yield _picture(
            _enlarged(middle_plane(shade.astype(np.uint8) + len(PHASE_COLOURS)), pixels),
            _enlarged(middle_plane(phase.astype(np.uint8)), pixels),
            (left, f"phases, t = {time:.4g} t0"),
        )


def _enlarged(plane: np.ndarray, pixels: int) -> np.ndarray:
    """Near `pixels` high and wide at most, rows downwards."""
    step = max(1, max(plane.shape) // (pixels * 4 // 3))
    scale = max(1, round(pixels / max(plane.shape)))
    return np.kron(plane[::step, ::step].T[::-1], np.ones((scale, scale), np.uint8))


def _picture(left: np.ndarray, right: np.ndarray, captions: tuple[str, str]) -> Image.Image:
    """One picture in palette colours: phases first, then shades of the field, then text colours."""
    height, width = left.shape
    size = max(11, height // 26)
    margin, gap = round(2.2 * size), 6
    canvas = np.full((height + margin, 2 * width + gap), _WHITE, np.uint8)
    canvas[margin:, :width], canvas[margin:, width + gap :] = left, right
    image = Image.fromarray(canvas, mode=None)
    image.putpalette(_palette())
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(size)
    for x, caption in zip((4, width + gap + 4), captions, strict=True):
        draw.text((x, margin / 2), caption, fill=_DARK, font=font, anchor="lm")
    return image


def _even(image: Image.Image) -> Image.Image:
    """With even edges, as the codec wants them."""
    canvas = Image.new(
        "RGB", (image.width + image.width % 2, image.height + image.height % 2), "white"
    )
    canvas.paste(image)
    return canvas


def _gif(pictures: Sequence[Image.Image]) -> bytes:
    stream = io.BytesIO()
    durations = [120] * (len(pictures) - 1) + [1500]
    pictures[0].save(
        stream,
        format="GIF",
        save_all=True,
        append_images=list(pictures[1:]),
        duration=durations,
        loop=0,
        optimize=False,
        disposal=1,
    )
    return stream.getvalue()


def _palette() -> list[int]:
    shades = colormaps[COMPOSITION_COLOURS](np.linspace(0, 1, _SHADES))[:, :3]
    colours = [to_rgb(c) for c in PHASE_COLOURS] + shades.tolist() + [(1, 1, 1), to_rgb("#333333")]
    return [round(255 * channel) for colour in colours for channel in colour]
