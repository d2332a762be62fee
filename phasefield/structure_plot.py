"""The figure of a run's structure: S(k) of some frames and the particle sizes of the last."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import xarray
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from phasefield.particles import equivalent_radius
from phasefield.plotting import PHASE_COLOURS, STYLE_TEXT, bare, plain_log, save, with_unit

TIME_COLOURS = "viridis_r"
CURVES = 5
"""Frames whose structure factor is drawn."""

DECADES = 6
"""Of S(k) that are shown below its maximum."""


def plot_structure(frames: xarray.Dataset, names: Sequence[str], path: Path) -> None:
    """Draw S(k) of the first field, and how many particles of every phase have which radius.

    Args:
        frames: of `files.open_trajectory`.
        names: of the fields.
        path: PNG file to write.
    """
    figure = Figure(figsize=(9.6, 4.1), layout="constrained")
    left, right = figure.subplots(1, 2)
    _plot_structure_factors(left, frames)
    left.set_title(f"structure factor of {names[0]}", fontsize=10, color=STYLE_TEXT)
    _plot_sizes(right, frames)
    time = float(frames["time"][-1])
    right.set_title(f"particles at t = {time:.4g} t₀", fontsize=10, color=STYLE_TEXT)
    for axes in (left, right):
        bare(axes)
    save(figure, path)


def _plot_structure_factors(axes: Axes, frames: xarray.Dataset) -> None:
    spacing = float(frames["x"][1] - frames["x"][0])
    k = frames["wave_number"].to_numpy()
    last = frames.sizes["time"] - 1
    chosen = np.unique(np.linspace(min(1, last), last, CURVES).round().astype(int))
    colours = colormaps[TIME_COLOURS](np.linspace(0.08, 0.95, len(chosen)))
    values = frames["structure_factor"].to_numpy()[chosen]
    axes.set_xlabel("wave number k (1/nm)")
    axes.set_ylabel(with_unit("S(k)", frames["structure_factor"]))
    largest = values.max()
    if not largest > 0:
        axes.text(0.5, 0.5, "no structure", ha="center", transform=axes.transAxes)
        return
    for index, value, colour in zip(chosen, values, colours, strict=True):
        shown = (value > 0) & (k <= np.pi / spacing)
        label = f"t = {float(frames['time'][index]):.4g} t₀"
        axes.plot(k[shown], value[shown], color=colour, linewidth=1.3, label=label)
    axes.set(xscale="log", yscale="log")
    axes.set_ylim(largest / 10**DECADES, 10 * largest)
    seen = k[(values > largest / 10**DECADES).any(0) & (k <= np.pi / spacing)]
    axes.set_xlim(0.9 * k[0], 1.1 * seen[-1])
    plain_log(axes.xaxis)
    _plot_porod(axes, frames)
    axes.legend(frameon=False, fontsize=8, loc="lower center")


def _plot_porod(axes: Axes, frames: xarray.Dataset) -> None:
    """The slope −(d + 1) of sharp interfaces, above the last curve."""
    dimensions = sum(axis in frames.sizes for axis in ("x", "y", "z"))
    mean = float(frames["mean_wave_number"][-1])
    if not np.isfinite(mean):
        return
    k = np.geomspace(1.5 * mean, 3.5 * mean, 2)
    value = np.interp(k[0], frames["wave_number"], frames["structure_factor"][-1])
    power = dimensions + 1
    axes.plot(k, 4 * value * (k / k[0]) ** -power, color="#888888", linewidth=1, linestyle="--")
    axes.text(k.prod() ** 0.5, 6 * value * (k[1] / k[0]) ** (-power / 2), f"$k^{{-{power}}}$")


def _plot_sizes(axes: Axes, frames: xarray.Dataset) -> None:
    dimensions = sum(axis in frames.sizes for axis in ("x", "y", "z"))
    ours = frames["particle_frame"].to_numpy() == frames.sizes["time"] - 1
    radius = equivalent_radius(frames["particle_volume"].to_numpy()[ours], dimensions)
    phase = frames["particle_phase"].to_numpy()[ours]
    axes.set(xlabel="equivalent radius (nm)", ylabel="number of particles")
    if not len(radius):
        axes.text(0.5, 0.5, "no particles", ha="center", transform=axes.transAxes)
        return
    bins = np.linspace(0, 1.02 * radius.max(), max(12, min(24, round(2 * len(radius) ** 0.5))))
    labels = frames["phase"].to_numpy()
    present = [i for i in range(1, len(labels)) if (phase == i).any()]
    axes.hist(
        [radius[phase == i] for i in present],
        bins,
        stacked=True,
        color=[PHASE_COLOURS[i % len(PHASE_COLOURS)] for i in present],
        edgecolor="white",
        linewidth=0.5,
        label=[f"{labels[i]}: {(phase == i).sum()}" for i in present],
    )
    mean = f"mean {radius.mean():.3g} nm"
    axes.axvline(radius.mean(), color=STYLE_TEXT, linewidth=1, linestyle="--", label=mean)
    axes.yaxis.set_major_locator(MaxNLocator(integer=True))
    axes.legend(frameon=False, fontsize=8)
