"""Figures of energies and their cluster expansion, for the report."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sampling.energies import EnergySet
from sampling.expansion import ClusterExpansion
from sampling.fit import Fit
from sampling.groundstates import GroundStates
from sampling.hull import lower_hull
from sampling.style import COLOURS, new_figure

BLUE, ORANGE, GREEN = COLOURS[:3]
GREY = "#8C8C8C"
MARKERS = {1: "s", 2: "o", 3: "^", 4: "D", 5: "v", 6: "P"}


def hull_figure(energies: EnergySet, fit: Fit, states: GroundStates) -> Figure:
    """Formation energy over composition: computed, predicted, and the two convex hulls."""
    figure, axes = _axes(6.4, 4.6)
    x, computed = energies.fractions, energies.formation_energies
    ours = lower_hull(x, computed)
    axes.plot(
        states.fractions, states.energies, ".", color=GREY, ms=3, alpha=0.5, zorder=1,
        label=f"predicted, {len(states.names)} orderings",
    )  # fmt: skip
    axes.plot(x, computed, "o", mfc="none", color=BLUE, ms=4, zorder=2, label="computed")
    axes.plot(x[ours], computed[ours], "-", color=BLUE, lw=1.6, label="hull, computed")
    vertices = states.vertices
    axes.plot(
        states.fractions[vertices], states.energies[vertices], "s--", color=ORANGE, lw=1.4, ms=5,
        label="hull, predicted",
    )  # fmt: skip
    for i in vertices:
        _label_vertex(axes, states, int(i))
    axes.axvspan(0, fit.settings.x_focus, color=GREEN, alpha=0.07, lw=0, label="range of focus")
    axes.set_xlim(-0.02, 1.02)
    low = float(min(states.energies.min(), computed.min()))
    axes.set_ylim(1.18 * low, -0.5 * low)
    axes.set_xlabel(f"{energies.lattice.species[1]} fraction")
    axes.set_ylabel("formation energy (eV/atom)")
    axes.legend(frameon=False, fontsize=8, loc="upper center", ncols=2)
    return figure


def parity_figure(energies: EnergySet, fit: Fit) -> Figure:
    """Leave-one-out predictions against computed energies: all, and errors near the hull."""
    figure = new_figure(7.6, 3.8)
    left, right = figure.subplots(1, 2)
    computed, validation = energies.formation_energies, fit.cross_validation
    predicted = validation.predictions
    focus = energies.fractions <= fit.settings.x_focus + 1e-9
    symbol = energies.lattice.species[1]
    groups = ((~focus, GREY, ">", "x"), (focus, BLUE, "≤", "o"))
    for chosen, colour, sign, marker in groups:
        label = f"x({symbol}) {sign} {fit.settings.x_focus:g}"
        left.plot(computed[chosen], predicted[chosen], marker, ms=4, color=colour, mfc="none",
                  label=label)  # fmt: skip
        right.plot(computed[chosen], 1e3 * (predicted - computed)[chosen], marker, ms=4,
                   color=colour, mfc="none", label=label)  # fmt: skip
    ends = [computed.min(), computed.max()]
    left.plot(ends, ends, "-", color="black", lw=0.8)
    right.axhline(0, color="black", lw=0.8)
    left.set_ylabel("predicted without it (eV/atom)")
    right.set_ylabel("predicted − computed (meV/atom)")
    reach = 1e3 * float(np.quantile(np.abs(predicted - computed), 0.98)) * 1.3
    right.set_ylim(-reach, reach)
    for axes in (left, right):
        axes.set_xlabel("computed formation energy (eV/atom)")
        axes.spines[["top", "right"]].set_visible(False)
    left.legend(frameon=False, fontsize=8, loc="upper left")
    right.set_title(
        f"RMSE {1e3 * validation.rmse_full:.1f} meV/atom; x ≤ {fit.settings.x_focus:g}: "
        f"{1e3 * validation.rmse_focus:.1f}; near the hull: {1e3 * validation.rmse_hull:.1f}",
        fontsize=8,
    )
    return figure


def eci_figure(expansion: ClusterExpansion) -> Figure:
    """Interactions of two and more sites over cluster radius, with standard errors."""
    figure, axes = _axes(6.4, 3.8)
    names = {2: "pairs", 3: "triplets", 4: "quadruplets"}
    shown = [i for i, orbit in enumerate(expansion.orbits) if orbit.order > 1]
    palette = {2: BLUE, 3: ORANGE, 4: GREEN}
    for order in sorted({expansion.orbits[i].order for i in shown}):
        chosen = [i for i in shown if expansion.orbits[i].order == order]
        index = np.array(chosen) + 1
        axes.errorbar(
            [expansion.orbits[i].radius for i in chosen], 1e3 * expansion.eci[index],
            1e3 * expansion.stderr[index], fmt=MARKERS.get(order, "o"), capsize=3, ms=5,
            color=palette.get(order, GREY), label=names.get(order, f"{order} sites"),
        )  # fmt: skip
    axes.axhline(0, color="black", lw=0.8)
    axes.set_xlabel("mean distance of the cluster's sites from its centre (Å)")
    axes.set_ylabel("interaction (meV per cluster)")
    axes.legend(frameon=False, fontsize=8)
    return figure


def _axes(width: float, height: float) -> tuple[Figure, Axes]:
    figure = new_figure(width, height)
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _label_vertex(axes: Axes, states: GroundStates, i: int) -> None:
    label = states.names[i].replace("_", "")
    axes.annotate(
        label, (states.fractions[i], states.energies[i]), xytext=(0, -13),
        textcoords="offset points", ha="center", fontsize=7, color=ORANGE,
        bbox={"boxstyle": "round,pad=0.1", "fc": "white", "ec": "none", "alpha": 0.8},
    )  # fmt: skip
