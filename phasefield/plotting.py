"""Figures of a run."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import FormatStrFormatter, LogLocator, NullFormatter

from idnn.files import write_atomically

PHASE_COLOURS = ("#e8e8e4", "#0072b2", "#e69f00", "#009e73", "#cc79a7")
"""Matrix, then four phases; told apart with any colour vision (Okabe & Ito 2008)."""

COMPOSITION_COLOURS = "cividis"
SHOWN_TIMES = 1e-5
"""Steps before this share of the whole time are not drawn."""

STYLE_TEXT = "#333333"


def plot_microstructure(
    fields: np.ndarray,
    phases: np.ndarray,
    names: Sequence[str],
    labels: Sequence[str],
    spacing: float,
    title: str,
    path: Path,
) -> None:
    """The first field and the phase of every cell, side by side.

    Args:
        fields: [field, x, y, z], one to three dimensions; of three, the middle plane is shown.
        phases: [x, y, z], indices into `labels`.
        names: of the fields.
        labels: names of the phases.
        spacing: nm.
        title: above both.
        path: PNG file to write.
    """
    if phases.ndim == 1:
        _plot_line(fields, names, spacing, title, path)
        return
    value, phase = middle_plane(fields[0]), middle_plane(phases)
    figure = Figure(figsize=(10.4, 4.7))
    left, right = figure.subplots(1, 2)
    figure.subplots_adjust(left=0.01, right=0.885, bottom=0.02, top=0.88, wspace=0.36)
    extent = (0, value.shape[0] * spacing, 0, value.shape[1] * spacing)
    image = left.imshow(value.T, origin="lower", extent=extent, cmap=COMPOSITION_COLOURS)
    bar = figure.colorbar(image, cax=left.inset_axes((1.025, 0, 0.04, 1)))
    bar.outline.set_visible(False)
    bar.set_label(described(names[0]))
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
    for axes, name in ((left, short_name(names[0])), (right, "phases")):
        axes.set_title(name, fontsize=10, color=STYLE_TEXT)
        axes.set_xticks([])
        axes.set_yticks([])
        _scale_bar(axes, extent[1], extent[3])
    figure.suptitle(title, fontsize=12, y=0.975)
    save(figure, path)


def plot_history(history: xarray.Dataset, frames: xarray.Dataset, path: Path) -> None:
    """Energy and step of every step; shares, interfaces, lengths and particles of every frame."""
    figure = Figure(figsize=(8.4, 7.8), layout="constrained")
    panels = figure.subplots(3, 2, sharex=True)
    (energy, step), (share, area), (size, number) = panels
    time, units = history["time"].to_numpy(), history["free_energy"].attrs["units"]
    shown = time >= SHOWN_TIMES * time[-1]
    energy.plot(time[shown], history["free_energy"][shown], color="#0072b2")
    energy.set_ylabel(f"free energy ({_pretty(units)})")
    step.plot(time[1:][shown[1:]], np.diff(time)[shown[1:]], color="#555555", linewidth=1)
    step.set(ylabel="step (t₀)", yscale="log")
    later = frames.isel(time=frames["time"].to_numpy() > 0)
    for i, label in enumerate(later["phase"].to_numpy()[1:], start=1):
        colour = PHASE_COLOURS[i % len(PHASE_COLOURS)]
        _points(share, 100 * later["share"][:, i], colour, str(label))
    share.set(ylabel="share of volume (%)", ylim=(0, None))
    share.legend(frameon=False, fontsize=8, loc="upper left")
    _points(area, later["interface_area"], "#009e73")
    area.set_ylabel(with_unit("interface area", later["interface_area"]))
    _points(size, later["characteristic_length"], "#cc79a7", "2π/⟨k⟩")
    _points(size, later["mean_radius"], "#d55e00", "mean particle radius")
    size.set_ylabel("length (nm)")
    size.legend(frameon=False, fontsize=8, loc="upper left")
    _points(number, later["particles"], "#e69f00")
    number.set(ylabel="number of particles", ylim=(0, None))
    for axes in (area, size):
        _logarithmic(axes)
    for axes in panels[-1]:
        axes.set_xlabel("time (t₀)")
    if len(time) > 1:
        first = min(max(time[1], SHOWN_TIMES * time[-1]), later["time"].to_numpy()[0])
        energy.set(xscale="log", xlim=(first, 1.15 * time[-1]))
    for axes in panels.flat:
        bare(axes)
    figure.align_ylabels()
    save(figure, path)


def _points(axes: Axes, values: xarray.DataArray, colour: str, label: str = "") -> None:
    """Values of frames: dots joined by a line."""
    style = {"marker": "o", "markersize": 2.6, "linewidth": 1.2}
    axes.plot(values["time"].to_numpy(), values.to_numpy(), color=colour, label=label, **style)


def _logarithmic(axes: Axes) -> None:
    """A logarithmic ordinate, if there is anything positive to show."""
    values = np.concatenate([np.asarray(line.get_ydata(), float) for line in axes.lines])
    positive = values[np.isfinite(values) & (values > 0)]
    if len(positive):
        axes.set(yscale="log", ylim=(positive.min() / 1.2, positive.max() * 1.3))
        plain_log(axes.yaxis)


def _plot_line(
    fields: np.ndarray, names: Sequence[str], spacing: float, title: str, path: Path
) -> None:
    figure = Figure(figsize=(8.0, 4.0), layout="constrained")
    axes = figure.subplots()
    x = (np.arange(fields.shape[1]) + 0.5) * spacing
    for i, values in enumerate(fields):
        axes.plot(x, values, color=(*PHASE_COLOURS[1:], "#333333")[i % 5], label=names[i])
    axes.set(xlabel="x (nm)", ylabel="field value", title=title, xlim=(0, x[-1] + spacing / 2))
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    save(figure, path)


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


def middle_plane(values: np.ndarray) -> np.ndarray:
    """The middle plane of three dimensions; a strip of one."""
    if values.ndim == 1:
        return np.repeat(values[:, None], max(4, len(values) // 8), axis=1)
    return values if values.ndim == 2 else values[:, :, values.shape[2] // 2]


def plain_log(axis: Axis) -> None:
    """1, 2, 5, 10, … written out along a logarithmic axis."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FormatStrFormatter("%g"))
    axis.set_minor_formatter(NullFormatter())


def bare(axes: Axes) -> None:
    """No frame at the top and the right, a faint grid."""
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(color="#dddddd", linewidth=0.6)
    axes.set_axisbelow(True)


def described(name: str) -> str:
    """A field in words, for an axis."""
    return {"c": "composition c (site fraction)"}.get(name, name)


def short_name(name: str) -> str:
    """A field in a word, for a title."""
    return {"c": "composition"}.get(name, name)


def with_unit(name: str, values: xarray.DataArray) -> str:
    """A quantity and its unit, for an axis."""
    unit = values.attrs["units"]
    return name if unit == "1" else f"{name} ({_pretty(unit)})"


def _pretty(unit: str) -> str:
    return unit.replace("2", "²").replace("3", "³")


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=150, bbox_inches="tight")
    write_atomically(path, stream.getvalue())
