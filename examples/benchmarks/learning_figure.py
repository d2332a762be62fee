"""The figure of `learning.py`."""

from pathlib import Path
from typing import Any

from matplotlib.axes import Axes

from sampling.style import COLOURS, new_figure

MARKERS, HATCHES = "os^D", ("", "//", "..", "xx")
MARKS = {"200_exact": 60, "1000_exact": 30, "1000_noisy": 50}
"""J/mol, what was aimed at."""


def plot(report: dict[str, Any], path: Path) -> None:
    """Panels of those parts that were run; shapes and hatches tell them apart in grey as well."""
    drawn = {
        "fit": _errors,
        "literature": _speed,
        "temperature": _tie_lines,
        "evaluation": _evaluation,
    }
    figure = new_figure(9.0, 7.0)
    for panel, (name, draw) in zip(figure.subplots(2, 2).flat, drawn.items(), strict=True):
        if name in report:
            draw(panel, report[name])
        else:
            panel.set_axis_off()
    figure.savefig(path)


def _errors(panel: Axes, part: dict[str, Any]) -> None:
    for i, (name, mark) in enumerate(MARKS.items()):
        middle, low, high = part[name]["rmse"]
        panel.bar(i, middle, color=COLOURS[i], hatch=HATCHES[i], edgecolor="black", width=0.6)
        panel.errorbar(i, middle, [[middle - low], [high - middle]], color="black", capsize=4)
        panel.plot([i - 0.4, i + 0.4], [mark, mark], "k--", label="aim" if i == 0 else None)
        panel.annotate(f"{middle:.0f}", (i, high), (0, 4), textcoords="offset points", ha="center")
    labels = ["200 exact", "1,000 exact", "1,000, σ = 500 J/mol"]
    panel.set_xticks(range(len(labels)), labels)
    panel.set(ylabel="RMSE of ∂G/∂η, J/mol", title="Committee of eight, 1273 K (5 seeds)")
    panel.legend()


def _speed(panel: Axes, part: dict[str, Any]) -> None:
    for i, (name, run) in enumerate(part["runs"].items()):
        published = name == "published"
        (cpu, *cpus), (rmse, *rmses) = run["cpu_s"], run["rmse"]
        panel.errorbar(
            cpu, rmse, [[rmse - rmses[0]], [rmses[1] - rmse]], [[cpu - cpus[0]], [cpus[1] - cpu]],
            marker="s" if published else "o", color=COLOURS[0 if published else 1], capsize=3,
            ls="", label="published recipe" if published else "one network" if i == 1 else None,
        )  # fmt: skip
        if not published:
            note = f"{name} iterations"
            panel.annotate(note, (cpu, rmse), (6, 4), textcoords="offset points", fontsize=8)
    panel.set(xscale="log", yscale="log", xlabel="CPU seconds", ylabel="RMSE of ∂G/∂η, J/mol")
    panel.set_title("1,000 exact points, one thread")
    panel.legend()


def _tie_lines(panel: Axes, part: dict[str, Any]) -> None:
    for side, (phase, marker) in enumerate((("γ", "o"), ("γ′", "s"))):
        lines = part["with_energies"]["lines"]
        shift = [8 * (line["seed"] - 3) + 4 * side for line in lines]
        panel.errorbar(
            [line["kelvin"] + s for line, s in zip(lines, shift, strict=True)],
            [1e3 * line["error"][side] for line in lines],
            [2e3 * line["sigma"][side] for line in lines],
            marker=marker, ms=4, ls="", capsize=2, color=COLOURS[side], label=f"{phase} end ± 2σ",
        )  # fmt: skip
    panel.axhspan(-2, 2, color="0.9", zorder=0, label="aim")
    panel.set(xlabel="T, K", ylabel="error of composition, 10⁻³")
    panel.set_title("Tie-lines at temperatures without data")
    panel.legend(fontsize=8)


def _evaluation(panel: Axes, part: dict[str, Any]) -> None:
    for i, dtype in enumerate(("float64", "float32")):
        times = part[f"gelu {dtype}"]["ns_per_point"]
        for k, (middle, low, high) in enumerate(times.values()):
            where = k + 0.4 * i - 0.2
            panel.bar(
                where, middle, 0.38, color=COLOURS[i], hatch=HATCHES[i], edgecolor="black",
                label=dtype if k == 0 else None,
            )  # fmt: skip
            panel.errorbar(where, middle, [[middle - low], [high - middle]], color="k", capsize=3)
    names = [name.replace(", ", ",\n") for name in part["gelu float64"]["ns_per_point"]]
    panel.set_xticks(range(len(names)), names)
    panel.set(ylabel="ns per point, f and ∂f/∂η", title="One member, 2 × 32 units, one thread")
    panel.legend()
