"""The figure of `learning_mc.py`."""

import json
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from sampling.style import COLOURS, new_figure

REGIONS = {
    "convex": ("o", COLOURS[0], 1.5),
    "elsewhere": ("s", COLOURS[1], 3.0),
}
"""Marker, colour and the χ that was aimed at."""

ENDS = {"γ": "x_gamma", "γ′": "x_gamma_prime"}
REFERENCE = Path(__file__).parents[1] / "ni_al" / "reference" / "dft.json"


def plot(report: dict[str, Any], path: Path) -> None:
    """Above χ of every variant, below the tie-line for every filling."""
    figure = new_figure(10.5, 8.4)
    grid = figure.add_gridspec(2, 1, height_ratios=(2, 1))
    above, below = figure.add_subfigure(grid[0]), figure.add_subfigure(grid[1])
    variants = report["variants"]
    panels = above.subplots(1, len(variants["default"]), sharex=True, sharey=True)
    for panel, kelvin in zip(panels, variants["default"], strict=True):
        _variants(panel, {name: tests[kelvin] for name, tests in variants.items()})
        panel.set_title(f"{kelvin} K")
    above.legend(*panels[0].get_legend_handles_labels(), ncols=3, loc="outside upper center")
    lines = report["tie_lines"]
    panels = below.subplots(1, 2 * len(lines), sharey=True)
    for i, (kelvin, found) in enumerate(lines.items()):
        exact = json.loads(REFERENCE.read_text())["boundaries"][kelvin]
        for end, (phase, name) in enumerate(ENDS.items()):
            panel = panels[2 * i + end]
            panel.axvline(exact[name][0], color="black", lw=0.9, label="atomistic free energies")
            _fillings(panel, found, end)
            panel.set_title(f"{phase} end of the tie-line, {kelvin} K")
    panels[0].legend(fontsize=8)
    figure.savefig(path)


def _variants(panel: Axes, tests: dict[str, Any]) -> None:
    """Full symbols: the second test."""
    for region, (marker, colour, aim) in REGIONS.items():
        for test, full in (("first", False), ("second", True)):
            found = [each[test].get(region) for each in tests.values()]
            rows = [(i, each["chi"]) for i, each in enumerate(found) if each]
            panel.plot(
                [chi for _, chi in rows], [i for i, _ in rows], marker, color=colour, ms=5,
                mfc=colour if full else "none", label=f"{region}, {test} test",
            )  # fmt: skip
        panel.axvline(aim, color=colour, lw=0.9, ls=":" if region == "convex" else "--")
    panel.set(xscale="log", xlabel="χ of μ at held-out points", xlim=(0.5, 6))
    panel.set_xticks(ticks := [0.5, 1, 1.5, 2, 3, 5], [f"{tick:g}" for tick in ticks], minor=False)
    panel.minorticks_off()
    panel.set_yticks(range(len(tests)), list(tests))
    panel.set_ylim(len(tests) - 0.5, -0.5)
    panel.grid(axis="y", lw=0.3)


def _fillings(panel: Axes, found: dict[str, Any], end: int) -> None:
    """One end of the tie-line ± 2σ."""
    known = [(i, row) for i, row in enumerate(found.values()) if row["x"] is not None]
    panel.errorbar(
        [row["x"][end] for _, row in known], [i for i, _ in known],
        xerr=[2 * row["sigma"][end] for _, row in known],
        marker="o", ms=4, ls="", capsize=3, color=COLOURS[2],
    )  # fmt: skip
    panel.set_yticks(range(len(found)), list(found))
    panel.set_ylim(len(found) - 0.5, -0.5)
    for i, row in enumerate(found.values()):
        if row["x"] is None:
            panel.text(0.5, i, "none", transform=panel.get_yaxis_transform(), va="center")
    panel.set_xlabel("x, ± 2σ")
    panel.grid(axis="y", lw=0.3)
