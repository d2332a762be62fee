"""The figure of `active_learning.py`."""

from pathlib import Path
from statistics import median
from typing import Any

from matplotlib.axes import Axes

from sampling.style import new_figure


def plot(report: dict[str, Any], path: Path) -> None:
    """Error against points by strategy, and what the stopping rule saw in twenty runs."""
    figure = new_figure(9.6, 4.0)
    left, right = figure.subplots(1, 2)
    if "strategies" in report:
        _strategies(left, report)
    if "stopping" in report:
        _stopping(right, report["stopping"])
    figure.savefig(path)


def _strategies(axes: Axes, report: dict[str, Any]) -> None:
    """Every run's larger error of both ends, and the median number of points needed."""
    for k, (name, found) in enumerate(report["strategies"].items()):
        runs = [v for key, v in report["histories"].items() if key.rsplit(" ", 1)[0] == name]
        for i, rows in enumerate(runs):
            x = [row["points"] for row in rows]
            y = [1e3 * max(map(abs, row["error"])) for row in rows]
            label = f"{name}: {found['median']:.0f}" if i == 0 else None
            axes.plot(x, y, color=f"C{k}", lw=0.8, alpha=0.7, label=label)
    axes.axhline(1.0, color="0.4", lw=0.8, ls=":")
    axes.set(xscale="log", yscale="log", xlabel="points", ylabel="error of the tie-line / 10⁻³")
    axes.legend(frameon=False, title="median of points needed", fontsize="small")


def _stopping(axes: Axes, found: dict[str, Any]) -> None:
    """Errors and σ of both ends, root mean square over the runs; where they stopped."""
    for end, name in enumerate(("γ", "γ′")):
        for key, style in (("rms_error_in_1e-3", "-"), ("rms_sigma_in_1e-3", "--")):
            what = "error" if style == "-" else "calibrated σ"
            values = [row[end] for row in found[key]]
            axes.plot(found["points"], values, style, color=f"C{end}", label=f"{what} of {name}")
    for (sure, rule), style in zip(found["by"].items(), ("-", "--", "-."), strict=True):
        stops = [s for s in rule["stops"] if s is not None]
        if stops:
            label = f"median stop at {float(sure):g} σ, {rule['early']} early"
            axes.axvline(median(stops), color="0.2", lw=0.8, ls=style, label=label)
    if found["optimum"] is not None:
        axes.axvline(found["optimum"], color="0.2", lw=0.8, ls=":", label="optimum")
    axes.set(xscale="log", yscale="log", xlabel="points", ylabel="10⁻³", title="twenty runs, ours")
    axes.legend(frameon=False, fontsize="small")
