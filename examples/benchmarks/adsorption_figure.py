"""Learning curves of adsorption."""

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
from adsorption_table import TARGETS

STYLES = {
    "mean": ("mean", "0.7", ":", ""),
    "ridge": ("ridge, 6 descriptors", "C2", "--", "s"),
    "trees": ("trees, 6 descriptors", "C2", "-", "s"),
    "histogram_ridge": ("ridge, energy histogram", "C4", "--", "D"),
    "histogram_trees": ("trees, energy histogram", "C4", "-", "D"),
    "cgcnn": ("crystal graph (CGCNN)", "C1", "-", "^"),
    "cgcnn_density": ("CGCNN with density", "C1", "--", "^"),
    "ours": ("attention", "C0", "-", "o"),
    "ours_field": ("attention, coarse energies", "C3", "-", "o"),
}
"""Label, colour, line and marker; models without are not drawn."""

TITLES = {
    "log10_henry": "log₁₀ of Henry coefficient",
    "heat": "heat of adsorption",
    "uptake_5.8bar": "uptake at 5.8 bar",
    "uptake_65bar": "uptake at 65 bar",
}
UNITS = dict(zip(TARGETS, ("", " (kJ/mol)", " (mol/kg)", " (mol/kg)"), strict=True))


def plot(mae: dict[str, Any], path: Path) -> None:
    """Mean absolute error over the number of crystals learned; a row of panels for each split."""
    splits = list(dict.fromkeys(kind for m in mae.values() for t in m.values() for kind in t))
    figure, panels = plt.subplots(
        len(splits),
        len(TARGETS),
        figsize=(13, 1.2 + 3 * len(splits)),
        sharex=True,
        squeeze=False,
        layout="constrained",
    )
    for row, kind in zip(panels, splits, strict=True):
        for axes, target in zip(row, TARGETS, strict=True):
            for model, (label, colour, line, marker) in STYLES.items():
                curve = mae.get(model, {}).get(target, {}).get(kind)
                if curve is None:
                    continue
                sizes = [int(size) for size in curve]
                errors = [pair[0] for pair in curve.values()]
                bars = [pair[1] or 0.0 for pair in curve.values()]
                axes.errorbar(
                    sizes,
                    errors,
                    bars,
                    label=label,
                    color=colour,
                    ls=line,
                    marker=marker,
                    ms=4,
                    lw=1.3,
                    capsize=2,
                )
                axes.set(xscale="log", yscale="log")
                axes.set_xticks(sizes, [str(size) for size in sizes])
                axes.minorticks_off()
            axes.set_title(f"{TITLES[target]}, {kind}", fontsize=10)
            axes.set_ylabel(f"MAE{UNITS[target]}")
            low, high = axes.get_ylim()
            ticks = [t for e in range(-3, 3) for t in (10**e, 2 * 10**e, 5 * 10**e)]
            ticks = [t for t in ticks if low <= t <= high]
            axes.set_yticks(ticks, [f"{t:g}" for t in ticks])
    for axes in panels[-1]:
        axes.set_xlabel("crystals learned")
    handles, labels = panels[0, 0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=5, fontsize=9, frameon=False)
    figure.savefig(path, dpi=150)
    plt.close(figure)
