"""Figures and an animation of a run."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from PIL import Image, ImageDraw

from idnn.files import write_atomically

PHASE_COLOURS = ("#e8e8e4", "#0072b2", "#e69f00", "#009e73", "#cc79a7")
"""Matrix, then four phases; told apart with any colour vision (Okabe & Ito 2008)."""

COMPOSITION_COLOURS = "cividis"
GIF_LIMIT = 3_000_000
"""Bytes, so that a report can embed the animation."""

_SHADES = 64
_MARGIN = 26
_STYLE_TEXT = "#333333"


def plot_microstructure(
    fields: np.ndarray,
    phases: np.ndarray,
    labels: Sequence[str],
    spacing: float,
    title: str,
    path: Path,
) -> None:
    """The first field and the phase of every cell, side by side.

    Args:
        fields: [field, x, y, z], one to three dimensions; of three, the middle plane is shown.
        phases: [x, y, z], indices into `labels`.
        labels: names of the phases.
        spacing: nm.
        title: above both.
        path: PNG file to write.
    """
    if phases.ndim == 1:
        _plot_line(fields, spacing, title, path)
        return
    value, phase = _plane(fields[0]), _plane(phases)
    figure = Figure(figsize=(10.4, 4.7))
    left, right = figure.subplots(1, 2)
    figure.subplots_adjust(left=0.01, right=0.885, bottom=0.02, top=0.88, wspace=0.36)
    extent = (0, value.shape[0] * spacing, 0, value.shape[1] * spacing)
    image = left.imshow(value.T, origin="lower", extent=extent, cmap=COMPOSITION_COLOURS)
    bar = figure.colorbar(image, cax=left.inset_axes((1.025, 0, 0.04, 1)))
    bar.outline.set_visible(False)
    bar.set_label("composition c (site fraction)")
    colours = ListedColormap(PHASE_COLOURS[: len(labels)])
    right.imshow(
        phase.T,
        origin="lower",
        extent=extent,
        cmap=colours,
        vmin=-0.5,
        vmax=len(labels) - 0.5,
        interpolation="nearest",
    )
    shares = np.bincount(phases.ravel(), minlength=len(labels)) / phases.size
    handles = [
        Patch(facecolor=colour, edgecolor="#888888", linewidth=0.5, label=f"{name}  {share:.1%}")
        for colour, name, share in zip(PHASE_COLOURS, labels, shares, strict=False)
    ]
    right.legend(
        handles=handles,
        loc="center left",
        bbox_to_anchor=(1.01, 0.5),
        frameon=False,
        handlelength=1.2,
        handleheight=1.2,
    )
    for axes, name in ((left, "composition"), (right, "phases")):
        axes.set_title(name, fontsize=10, color=_STYLE_TEXT)
        axes.set_xticks([])
        axes.set_yticks([])
        _scale_bar(axes, extent[1], extent[3])
    figure.suptitle(title, fontsize=12, y=0.975)
    _save(figure, path)


def plot_history(
    history: xarray.Dataset, names: Sequence[str], labels: Sequence[str], path: Path
) -> None:
    """Free energy, shares of the phases, drift of the mean and step size over time."""
    time = history["time"].to_numpy()
    figure = Figure(figsize=(8.6, 8.4), layout="constrained")
    panels = figure.subplots(4, 1, sharex=True)
    later = time > 0
    energy = history["free_energy"]
    panels[0].plot(time, energy, color="#0072b2")
    panels[0].set_ylabel(f"free energy ({_pretty(energy.attrs['units'])})")
    for i, label in enumerate(labels[1:], start=1):
        panels[1].plot(time, 100 * history[f"share_{i}"], color=PHASE_COLOURS[i], label=label)
    panels[1].set_ylabel("share of volume (%)")
    panels[1].legend(frameon=False, ncols=2, loc="upper left")
    mean = history[f"mean_{names[0]}"].to_numpy()
    panels[2].plot(time, mean - mean[0], color="#d55e00")
    panels[2].set_ylabel(f"drift of mean {names[0]}")
    panels[3].plot(time[later], np.diff(time), color="#555555")
    panels[3].set_yscale("log")
    panels[3].set_ylabel("step (t₀)")
    panels[3].set_xlabel("time (t₀)")
    if later.any():
        panels[3].set_xscale("log")
        panels[3].set_xlim(time[later][0], time[-1])
    for axes in panels:
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(color="#dddddd", linewidth=0.6)
    figure.align_ylabels()
    _save(figure, path)


def animate(
    frames: Sequence[tuple[float, np.ndarray, np.ndarray]], length: float, path: Path
) -> int:
    """A looping GIF of the first field (left) and the phases (right); returns its size in bytes.

    Args:
        frames: time, field [x, y, z] and phases [x, y, z] of every picture.
        length: edge of the box along x, nm.
        path: GIF file to write; every second picture is left out until it is below `GIF_LIMIT`.
    """
    low = min(float(field.min()) for _, field, _ in frames)
    high = max(float(field.max()) for _, field, _ in frames)
    pictures = [
        _picture(time, _plane(field), _plane(phase), (low, high), length)
        for time, field, phase in frames
    ]
    content = _gif(pictures)
    while len(content) > GIF_LIMIT and len(pictures) > 2:
        pictures = pictures[::-2][::-1]
        content = _gif(pictures)
    write_atomically(path, content)
    return len(content)


def _picture(
    time: float, field: np.ndarray, phase: np.ndarray, limits: tuple[float, float], length: float
) -> Image.Image:
    """One picture in palette colours: phases first, then shades of the field, then text colours."""
    scale = max(1, round(300 / max(field.shape)))
    step = max(1, max(field.shape) // 400)
    low, high = limits
    shade = ((field - low) / max(high - low, 1e-12) * (_SHADES - 1)).round().astype(np.uint8)
    both = [
        np.kron(array[::step, ::step].T[::-1], np.ones((scale, scale), np.uint8))
        for array in (shade + len(PHASE_COLOURS), phase.astype(np.uint8))
    ]
    white, dark = len(PHASE_COLOURS) + _SHADES, len(PHASE_COLOURS) + _SHADES + 1
    height, width = both[0].shape
    canvas = np.full((height + _MARGIN, 2 * width + 6), white, np.uint8)
    canvas[_MARGIN:, :width], canvas[_MARGIN:, width + 6 :] = both
    image = Image.fromarray(canvas, mode=None)
    image.putpalette(_palette())
    draw = ImageDraw.Draw(image)
    draw.text((4, 6), f"composition, {length:g} nm wide", fill=dark)
    draw.text((width + 10, 6), f"phases, t = {time:.4g} t0", fill=dark)
    return image


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


def _plot_line(fields: np.ndarray, spacing: float, title: str, path: Path) -> None:
    figure = Figure(figsize=(8.0, 4.0), layout="constrained")
    axes = figure.subplots()
    x = (np.arange(fields.shape[1]) + 0.5) * spacing
    for i, values in enumerate(fields):
        axes.plot(x, values, color=(*PHASE_COLOURS[1:], "#333333")[i % 5], label=f"field {i}")
    axes.set(xlabel="x (nm)", ylabel="field value", title=title, xlim=(0, x[-1] + spacing / 2))
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    _save(figure, path)


def _scale_bar(axes: Axes, width: float, height: float) -> None:
    """A bar of a round length near a fifth of the picture."""
    power = 10 ** np.floor(np.log10(width / 5))
    length = float(power * max(n for n in (1, 2, 5) if n * power <= width / 5))
    x, y, pad = 0.04 * width, 0.04 * height, 0.016 * width
    box = Rectangle(
        (x - pad, y - pad),
        length + 2 * pad,
        0.085 * height,
        facecolor="white",
        alpha=0.85,
        linewidth=0,
    )
    axes.add_patch(box)
    axes.add_patch(Rectangle((x, y), length, 0.012 * height, facecolor="black", linewidth=0))
    axes.text(
        x + length / 2, y + 0.02 * height, f"{length:g} nm", ha="center", va="bottom", fontsize=8
    )


def _plane(values: np.ndarray) -> np.ndarray:
    """The middle plane of three dimensions; a strip of one."""
    if values.ndim == 1:
        return np.repeat(values[:, None], max(4, len(values) // 8), axis=1)
    return values if values.ndim == 2 else values[:, :, values.shape[2] // 2]


def _pretty(unit: str) -> str:
    return unit.replace("2", "²")


def _save(figure: Figure, path: Path) -> None:
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=150, bbox_inches="tight")
    write_atomically(path, stream.getvalue())
